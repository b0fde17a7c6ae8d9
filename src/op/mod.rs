//! What an operation is: a value, its shapes, types and rounding, nothing of any device; the contract that its
//! results keep, and the cases that hold it to the contract. Knows no kernel.

mod args;
mod case;
pub mod contract;
pub mod data;
mod judge;
mod key;
pub(crate) mod rows;
mod rule;
pub mod run;
mod scalar;
mod sums;
mod variant;

pub(crate) use args::check_f64;
pub use args::{Arg, Args, Lent, NamedArgs};
pub use case::{BenchCase, Case, Effort, Entry, Fill, awkward_shapes};
pub use contract::{Arithmetic, Class, Comparison, Stored, Verdict};
pub use judge::{Judge, Kept, Output, Sum, Sums};
pub use key::OpKey;
pub use rows::Within;
pub use rule::{Contract, Rule};
pub use scalar::Scalar;
pub use sums::{Factors, SumRow};
pub use variant::{NoVariants, Table, Variant, Variants};

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::Generator;
use crate::gpu::{Access, Gpu, Offsets, OperandSpec, Plan, PlanRequest, StepValues};
use crate::tensor::DType;

/// What an operation costs, for ceilings and for the cap on work per submit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// Floating-point operations (a multiply-add is two).
    pub flops: f64,
    /// Integer operations that rounding, encoding and drawing take, where they bind.
    pub int_ops: f64,
    /// Whether every product is of two bf16 values, so that bf16 units may serve.
    pub bf16: bool,
    /// Bytes that must move at least once: every operand read once and written once.
    pub bytes: f64,
}

impl Work {
    /// So many floating-point operations over so many bytes.
    #[must_use]
    pub const fn new(flops: f64, bytes: f64) -> Self {
        Self {
            flops,
            int_ops: 0.0,
            bf16: false,
            bytes,
        }
    }

    /// The fewest integer operations that rounding one f32 to bf16 takes on any machine: with rotate
    /// instructions a Threefry block is 153 operations for eight draws; Philox's 20 wide products and their
    /// sums are counted as one operation each. What binds is then a true ceiling.
    #[must_use]
    pub fn rounding_ops(rounding: Rounding, generator: Generator) -> f64 {
        match (rounding, generator) {
            (Rounding::Stochastic, Generator::Threefry) => 153.0 / 8.0 + 2.0,
            (Rounding::Stochastic, Generator::Philox) => 100.0 / 8.0 + 2.0,
            (Rounding::Nearest | Rounding::TowardZero, _) => 3.0,
        }
    }
}

/// An operation: a plain value that can be checked, planned on a GPU, and run on the CPU device and on the
/// reference. All operands are `u32` words laid out as the operation's fields say, the same on every device.
pub trait Op: OpKey + std::fmt::Debug + Send + Sync {
    /// Its name, unique among operations: `matmul`.
    fn name(&self) -> &'static str;

    /// The case in a few words, for tables: shapes, types, options.
    fn describe(&self) -> String {
        format!("{self:?}")
    }

    /// The operands, in the order every method takes them.
    fn operands(&self) -> Vec<OperandSpec>;

    /// Checks shapes, types, sizes and options. Every error that does not depend on a device is found here.
    ///
    /// # Errors
    /// A typed error that names the operation, the offending value and the limit.
    fn check(&self) -> Result<()>;

    /// The contract that its results keep: the exact class unless it says otherwise.
    fn contract(&self) -> Contract<'_> {
        Contract::Exact
    }

    /// The class of the numerics contract that its results are in.
    fn class(&self) -> Class {
        self.contract().class()
    }

    /// What it costs; by default no arithmetic, and every operand moved once in each direction it is used.
    fn work(&self) -> Work {
        let moved = |spec: &OperandSpec| match spec.access {
            Access::Read | Access::Write => spec.words as f64,
            Access::Update => 2.0 * spec.words as f64,
        };
        Work {
            bytes: 4.0 * self.operands().iter().map(moved).sum::<f64>(),
            ..Work::default()
        }
    }

    /// Seed, step number and scalars that it starts with.
    fn step_values(&self) -> StepValues {
        StepValues::default()
    }

    /// Its variants on a GPU.
    fn table(&self) -> &'static dyn Table {
        &NoVariants
    }

    /// The variants that serve this operation on this GPU, with operands that start at such offsets, the
    /// preferred one first.
    fn variants(&self, gpu: &Gpu, offsets: Offsets) -> Vec<&'static str> {
        self.table().serving(self.as_op(), gpu, offsets)
    }

    /// Cases that a tuner may treat alike: the best variant of one is taken for all. By default only the very
    /// same case.
    fn family(&self) -> String {
        self.describe()
    }

    /// What no GPU can do, whatever the variant (f64, say), or what this one cannot.
    ///
    /// # Errors
    /// [`Error::Unsupported`], mostly.
    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        Ok(())
    }

    /// Makes one variant of it ready for a GPU: compiles or finds its pipelines, lays out its dispatches.
    /// Creates no buffer and submits nothing. Callers use [`Op::plan`], which has checked the operation and
    /// chosen `variant` among [`Op::variants`].
    ///
    /// # Errors
    /// A limit of this device, or a compile error.
    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Plan> {
        self.table().plan(self.as_op(), gpu, variant, offsets)
    }

    /// Makes it ready for a GPU: the variant that the request names; else the one that a tuner found fastest on
    /// this adapter (see [`Gpu::set_tuning`]), then the preferred ones in turn. A variant that does not compile
    /// is dropped with a warning and the next one serves; in a browser, where compilers answer later, its error
    /// comes from [`Plan::ready`].
    ///
    /// # Errors
    /// Whatever [`Op::check`] finds, a limit of this device, [`Error::Value`] for a variant that does not serve
    /// this case, or the compile error of the last variant that is left.
    fn plan(&self, gpu: &Gpu, request: &PlanRequest) -> Result<Plan> {
        self.check()?;
        self.check_gpu(gpu)?;
        let mut variants = self.variants(gpu, request.offsets);
        match request.variant {
            Some(name) => variants.retain(|variant| *variant == name),
            None => gpu.prefer_tuned(self.name(), || self.family(), &mut variants),
        }
        let last = variants.len().saturating_sub(1);
        for (i, &variant) in variants.iter().enumerate() {
            match self.plan_variant(gpu, variant, request.offsets) {
                Err(Error::Compile { kernel, message, .. }) if i < last => {
                    log::warn!(
                        "{}: variant {variant} is dropped: {kernel}: {message}",
                        self.name()
                    );
                }
                outcome => return outcome,
            }
        }
        let value = request.variant.unwrap_or("none").to_string();
        Err(Error::Value {
            op: self.name(),
            what: "variant",
            value,
            expected: variant::EXPECTED,
        })
    }

    /// Runs it on the native CPU device.
    ///
    /// # Errors
    /// Whatever [`Op::check`] finds, or operands of the wrong number or size.
    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()>;

    /// Runs the specification: sequential and obvious.
    ///
    /// # Errors
    /// Whatever [`Op::check`] finds, or operands of the wrong number or size.
    fn reference(&self, args: Args<'_>) -> Result<()>;

    /// Judges a device's results by the operation's contract.
    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        self.contract().judge(self.as_op(), comparison)
    }
}

/// A size to the power of two below it: cases a tuner may treat alike.
pub(crate) fn about(size: usize) -> String {
    match size {
        0 => "0".to_string(),
        _ => format!("~{}", 1u64 << size.ilog2()),
    }
}

/// Checks an extent against a limit.
pub(crate) fn check_limit(op: &'static str, what: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit {
        Err(Error::Limit {
            op,
            what,
            value,
            limit,
        })
    } else {
        Ok(())
    }
}

/// Checks types of floats: f32 and bf16 in any mixture, or f64 throughout.
pub(crate) fn check_floats(op: &'static str, operands: &[(&'static str, DType)]) -> Result<()> {
    let wide = operands.iter().any(|(_, dtype)| *dtype == DType::F64);
    for &(operand, got) in operands {
        let (fits, expected) = match got {
            DType::F64 => (true, "f64"),
            DType::F32 | DType::Bf16 if wide => (false, "f64, as the other operands"),
            DType::F32 | DType::Bf16 => (true, "f32"),
            DType::U32 | DType::U16 => (false, "f32, bf16, or f64 throughout"),
        };
        if !fits {
            return Err(Error::DType {
                op,
                operand,
                expected,
                got,
            });
        }
    }
    Ok(())
}

/// Results are rounded to nearest or stochastically; toward zero is for encoding into blocks.
pub(crate) fn check_rounding(op: &'static str, rounding: Rounding) -> Result<()> {
    match rounding {
        Rounding::Nearest | Rounding::Stochastic => Ok(()),
        Rounding::TowardZero => {
            let what = "rounding toward zero".to_string();
            Err(Error::Unsupported {
                op,
                what,
                device: "any device",
            })
        }
    }
}

/// WGSL has no f64.
pub(crate) fn no_f64_on_gpu(op: &'static str, operands: &[(&'static str, DType)]) -> Result<()> {
    match operands.iter().find(|(_, dtype)| *dtype == DType::F64) {
        Some((operand, _)) => Err(Error::Unsupported {
            op,
            what: format!("f64 ({operand})"),
            device: "a GPU (WGSL has no f64)",
        }),
        None => Ok(()),
    }
}
