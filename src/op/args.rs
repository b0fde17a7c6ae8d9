//! Operands of the CPU device and the reference: borrowed words.

use super::Op;
use crate::error::{Error, Result};
use crate::gpu::{OperandSpec, StepValues};

/// One borrowed operand.
#[derive(Debug)]
pub enum Arg<'a> {
    /// An operand that is only read.
    Read(&'a [u32]),
    /// An operand that is written or updated in place.
    Write(&'a mut [u32]),
}

impl Arg<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(words) => words.len(),
            Self::Write(words) => words.len(),
        }
    }
}

/// One operand that [`Args::take`] has handed to an operation, under its name there.
#[derive(Debug)]
pub struct Lent<'a> {
    op: &'static str,
    operand: &'static str,
    words: Arg<'a>,
}

impl<'a> Lent<'a> {
    /// The words, to read.
    #[must_use]
    pub fn read(self) -> &'a [u32] {
        match self.words {
            Arg::Read(words) => words,
            Arg::Write(words) => words,
        }
    }

    /// The words, to write.
    ///
    /// # Errors
    /// [`Error::Usage`] for an operand that was lent to be read: the operation's own list of operands
    /// ([`Op::operands`]) says that it is not written.
    pub fn write(self) -> Result<&'a mut [u32]> {
        match self.words {
            Arg::Write(words) => Ok(words),
            Arg::Read(_) => Err(Error::Usage {
                op: self.op,
                operand: self.operand,
                usage: "write",
            }),
        }
    }
}

/// All operands of one run, and its step values.
#[derive(Debug)]
pub struct Args<'a> {
    operands: Vec<Arg<'a>>,
    /// Seed, step number and scalars of this run.
    pub step: StepValues,
}

impl<'a> Args<'a> {
    /// Operands in the operation's order.
    #[must_use]
    pub fn new(operands: Vec<Arg<'a>>, step: StepValues) -> Self {
        Self { operands, step }
    }

    /// The operands one by one, once the operation has been checked and every operand has been found to be
    /// long enough and writable where it is written.
    ///
    /// # Errors
    /// Whatever [`Op::check`] finds; [`Error::Operands`], [`Error::TooSmall`] or [`Error::Usage`].
    pub fn take<const N: usize>(self, op: &dyn Op) -> Result<[Lent<'a>; N]> {
        let specs = self.checked(op)?;
        let got = self.operands.len();
        if got != N {
            return Err(Error::Operands {
                op: op.name(),
                expected: N,
                got,
            });
        }
        // Both have N, so that no place is left to the default.
        let mut operands = specs.iter().zip(self.operands);
        Ok(std::array::from_fn(|_| {
            let (operand, words) = operands
                .next()
                .map_or(("", Arg::Read(&[])), |(spec, words)| (spec.name, words));
            Lent {
                op: op.name(),
                operand,
                words,
            }
        }))
    }

    /// The same by their names, for operations of which some operands are not always there.
    ///
    /// # Errors
    /// See [`Args::take`].
    pub fn named(self, op: &dyn Op) -> Result<NamedArgs<'a>> {
        let specs = self.checked(op)?;
        let names = specs.iter().map(|spec| spec.name);
        let lent = names.zip(self.operands).map(|(operand, words)| Lent {
            op: op.name(),
            operand,
            words,
        });
        Ok(NamedArgs { lent: lent.collect() })
    }

    /// What the operation says of its operands, which these fit.
    fn checked(&self, op: &dyn Op) -> Result<Vec<OperandSpec>> {
        op.check()?;
        let (name, specs) = (op.name(), op.operands());
        let got = self.operands.len();
        if got != specs.len() {
            return Err(Error::Operands {
                op: name,
                expected: specs.len(),
                got,
            });
        }
        for (spec, operand) in specs.iter().zip(&self.operands) {
            if (operand.len() as u64) < spec.words {
                let (needed, got) = (spec.words * 4, operand.len() as u64 * 4);
                return Err(Error::TooSmall {
                    op: name,
                    operand: spec.name,
                    needed,
                    got,
                });
            }
            if spec.is_written() && matches!(operand, Arg::Read(_)) {
                return Err(Error::Usage {
                    op: name,
                    operand: spec.name,
                    usage: "write",
                });
            }
        }
        Ok(specs)
    }
}

/// The operands of one run by their names ([`Args::named`]).
#[derive(Debug)]
pub struct NamedArgs<'a> {
    lent: Vec<Lent<'a>>,
}

impl<'a> NamedArgs<'a> {
    fn take(&mut self, operand: &str) -> Option<Lent<'a>> {
        let at = self.lent.iter().position(|lent| lent.operand == operand)?;
        Some(self.lent.swap_remove(at))
    }

    /// The words of an operand, to read; none where it is not there.
    #[must_use]
    pub fn read(&mut self, operand: &str) -> &'a [u32] {
        self.take(operand).map_or(&[], Lent::read)
    }

    /// The words of an operand, to write; none where it is not there.
    ///
    /// # Errors
    /// See [`Lent::write`].
    pub fn write(&mut self, operand: &str) -> Result<&'a mut [u32]> {
        self.take(operand).map_or_else(|| Ok(&mut [][..]), Lent::write)
    }
}

/// Checks that words can be viewed as `f64` values.
///
/// # Errors
/// [`Error::Alignment`] when a caller's slice does not start on 8 bytes, or holds half a value.
pub(crate) fn check_f64(op: &'static str, operand: &'static str, words: &[u32]) -> Result<()> {
    let (what, value) = ("address or length", words.as_ptr() as u64);
    match bytemuck::try_cast_slice::<u32, f64>(words) {
        Ok(_) => Ok(()),
        // An absent operand is an empty slice at no particular address.
        Err(_) if words.is_empty() => Ok(()),
        Err(_) => Err(Error::Alignment {
            op,
            operand,
            what,
            value,
            multiple: 8,
        }),
    }
}
