//! One operation with its inputs, as the correctness run and the bench take it.

use super::Op;
use crate::error::Result;
use crate::tensor::HostBuffer;

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
type Fill = Box<dyn Fn() -> Vec<Vec<u32>> + Send + Sync>;

/// One operation with its inputs.
pub struct Case {
    /// The operation.
    pub op: Box<dyn Op>,
    /// The least effort that includes it.
    pub effort: Effort,
    fill: Fill,
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
    /// Out of memory.
    pub fn operands(&self) -> Result<Vec<HostBuffer>> {
        let given = (self.fill)();
        let mut buffers = Vec::with_capacity(given.len());
        for (spec, words) in self.op.operands().iter().zip(&given) {
            let mut buffer = HostBuffer::zeroed(spec.words + GUARD as u64)?;
            buffer.words_mut().fill(SENTINEL);
            let len = words.len().min(spec.words as usize);
            buffer.words_mut()[..len].copy_from_slice(&words[..len]);
            buffers.push(buffer);
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
