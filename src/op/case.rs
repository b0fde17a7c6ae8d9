//! One operation with its inputs, as the correctness run and the bench take it.

use super::data::Source;
use super::{Op, Table};
use crate::error::{Error, Result};
use crate::format::bf16;
use crate::gpu::Access;
use crate::tensor::{HostBuffer, alloc};

/// Words of sentinel past the end of every operand: a kernel that writes there fails.
const GUARD: usize = 16;
const SENTINEL: u32 = 0xfee1_dead;

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Representative and awkward shapes, seconds.
    Quick,
    /// With at least one shape of 512 or more in each dimension, or 1 M elements, per kernel.
    Full,
}

/// Makes the words of every operand.
type Make = Box<dyn Fn() -> Vec<Vec<u32>> + Send + Sync>;

/// One operation with its inputs.
pub struct Case {
    /// The operation.
    pub op: Box<dyn Op>,
    /// The least effort that includes it.
    pub effort: Effort,
    fill: Make,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Case({} {})", self.op.name(), self.op.describe())
    }
}

impl Case {
    /// A case whose operands' words `fill` makes, in the operation's order; an operand that is only written
    /// may be left empty and starts as sentinels, so that words a kernel fails to write are found.
    pub fn new<O: Op + 'static>(
        effort: Effort,
        op: O,
        fill: impl Fn() -> Vec<Vec<u32>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            op: Box::new(op),
            effort,
            fill: Box::new(fill),
        }
    }

    /// The operands before the run, each followed by guard words.
    ///
    /// # Errors
    /// Another number of operands than the operation has, one that is read and too short, or out of memory.
    pub fn operands(&self) -> Result<Vec<HostBuffer>> {
        let specs = self.op.operands();
        let mut buffers = Vec::with_capacity(specs.len());
        for spec in &specs {
            buffers.push(HostBuffer::zeroed(spec.words.saturating_add(GUARD as u64))?);
        }
        // The lists that `fill` makes cannot fail softly: as much again is asked for, and given back, beforehand.
        for spec in &specs {
            alloc::reserved::<u32>("check", spec.words as usize)?;
        }
        let given = (self.fill)();
        if given.len() != specs.len() {
            return Err(Error::Operands {
                op: self.op.name(),
                expected: specs.len(),
                got: given.len(),
            });
        }
        for (at, ((spec, words), buffer)) in (0u32..).zip(specs.iter().zip(&given).zip(&mut buffers)) {
            // Sentinels in place of operands would be checked as if they were meant.
            if spec.access != Access::Write && (words.len() as u64) < spec.words {
                return Err(Error::TooSmall {
                    op: self.op.name(),
                    operand: spec.name,
                    needed: spec.words * 4,
                    got: words.len() as u64 * 4,
                });
            }
            buffer.words_mut().fill(SENTINEL);
            // Others behind each operand: a kernel that copies one operand's guard words to another's is found.
            buffer.words_mut()[spec.words as usize..].fill(SENTINEL ^ (at << 4));
            let len = words.len().min(spec.words as usize);
            buffer.words_mut()[..len].copy_from_slice(&words[..len]);
        }
        Ok(buffers)
    }
}

/// A case to measure that is made when it is: large sparse matrices take seconds and gigabytes.
pub struct BenchCase {
    kernel: &'static str,
    make: Box<dyn FnOnce() -> Case + Send>,
}

impl std::fmt::Debug for BenchCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BenchCase({})", self.kernel)
    }
}

impl BenchCase {
    /// A case of the kernel of that name.
    pub fn new(kernel: &'static str, make: impl FnOnce() -> Case + Send + 'static) -> Self {
        Self {
            kernel,
            make: Box::new(make),
        }
    }

    /// The name of its operation.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The case.
    #[must_use]
    pub fn make(self) -> Case {
        (self.make)()
    }
}

impl From<Case> for BenchCase {
    fn from(case: Case) -> Self {
        Self::new(case.op.name(), move || case)
    }
}

/// What an operand holds before a timed run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Fill {
    /// f32 values in -1..1.
    F32,
    /// Packed bf16 values in -1..1.
    Bf16,
    /// Class numbers below this.
    Labels(u32),
    /// Nothing: the operation only writes it.
    Out,
}

impl Fill {
    fn words(self, seed: u64, len: usize) -> Vec<u32> {
        let mut source = Source::new(seed);
        match self {
            Self::F32 => (0..len).map(|_| source.unit().to_bits()).collect(),
            Self::Bf16 => (0..len)
                .map(|_| bf16::pack(source.bf16(), source.bf16()))
                .collect(),
            Self::Labels(classes) => (0..len).map(|_| source.below(classes)).collect(),
            Self::Out => Vec::new(),
        }
    }
}

impl Case {
    /// A case to measure: what its operands hold, in the operation's order.
    pub fn timed<O: Op + 'static>(op: O, fills: &'static [Fill]) -> Self {
        let words: Vec<u64> = op.operands().iter().map(|operand| operand.words).collect();
        Self::new(Effort::Full, op, move || {
            let operand = |(seed, (fill, words)): (u64, (&Fill, &u64))| fill.words(seed, *words as usize);
            (1..).zip(fills.iter().zip(&words)).map(operand).collect()
        })
    }
}

/// Odd shapes of about `n` x `n`, a single row of it, and a tiny one: the rows and columns of awkward cases to measure.
#[must_use]
pub fn awkward_shapes(n: usize) -> [(usize, usize); 3] {
    [(n | 1, n.saturating_sub(1) | 1), (1, n), (3, 5)]
}

/// One row of a list of operations: what tests, the correctness run, the bench and the tuner take from it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The operation's name.
    pub name: &'static str,
    /// Its variants.
    pub table: &'static dyn Table,
    /// Its cases up to an effort, among those of other operations of its folder.
    pub cases: fn(Effort) -> Vec<Case>,
    /// What is measured at size `n`: matrices of `n` x `n`, runs of `n * n` elements, batches of `n` rows.
    pub bench: fn(usize) -> Vec<BenchCase>,
    /// What is measured beside that: see [`awkward_shapes`].
    pub awkward: fn(usize) -> Vec<BenchCase>,
}

impl Entry {
    /// Its cases up to an effort.
    #[must_use]
    pub fn cases(&self, effort: Effort) -> Vec<Case> {
        let mut cases = (self.cases)(effort);
        cases.retain(|case| case.op.name() == self.name && case.effort <= effort);
        cases
    }

    /// The cases to time at size `n`.
    #[must_use]
    pub fn bench(&self, n: usize) -> Vec<BenchCase> {
        self.only((self.bench)(n))
    }

    /// The awkward cases to time at size `n`.
    #[must_use]
    pub fn awkward(&self, n: usize) -> Vec<BenchCase> {
        self.only((self.awkward)(n))
    }

    fn only(&self, mut cases: Vec<BenchCase>) -> Vec<BenchCase> {
        cases.retain(|case| case.kernel() == self.name);
        cases
    }
}
