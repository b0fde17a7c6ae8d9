//! `accumulate`: a matrix added to a sum that stays, as gradients of micro-batches are. Bound by memory.
//!
//! # The bound
//! One addition, within one rounding of either neighbour (u = 2^-23; 2^-24 on the CPU device): off by u abs(x + sum) + 3
//! eta, where eta is what flushing the operands and the result may cost. Nothing is promised where a finite sum may
//! overflow. In f64 the CPU device does the reference's own operation, bit for bit.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{
    Args, Arithmetic, Contract, Judge, Kept, Op, Output, Table, Within, Work, check_floats, check_rounding,
};
use crate::tensor::{DType, View};

const OP: &str = "accumulate";

/// `sum <- sum + x`, or `sum <- x` where the step value `keep` is 0: what the sum held is not read then. Operands: `x`,
/// `sum`, and with `keep_f32` `kept`.
///
/// Composite class; the bound is derived in `src/kernels/accumulate/mod.rs`. The addition is f32; a bf16 sum is rounded to
/// nearest, or stochastically by the bits at index `row * cols + col`.
///
/// | variant | when | why |
/// |---|---|---|
/// | `eights` | f32, bf16 | eight columns of a row per invocation share a draw; any leading dimension, any offset |
///
/// ```
/// use fewbit::Device;
/// use fewbit::kernels::Accumulate;
/// use fewbit::tensor::DType;
///
/// let device = Device::cpu();
/// let x = device.from_f32(&[1, 2], &[1.0, 2.0])?;
/// let mut sum = device.from_f32(&[1, 2], &[0.5, 0.5])?;
/// let add = Accumulate::new(1, 2, DType::F32, DType::F32);
/// device.run(&add, &mut [(&x).into(), (&mut sum).into()])?;
/// assert_eq!(sum.read_blocking()?, [1.5, 2.5]);
/// # Ok::<(), fewbit::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Accumulate {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Type of `x`: `F32`, `Bf16`, or `F64` where the sum is.
    pub x: DType,
    /// Elements from one row of `x` to the next: at least `cols`, even for bf16.
    pub x_ld: usize,
    /// Type of the sum: `F32`, `Bf16` or `F64`.
    pub sum: DType,
    /// Elements from one row of the sum to the next: at least `cols`, even for bf16.
    pub sum_ld: usize,
    /// How a bf16 sum is rounded.
    pub rounding: Rounding,
    /// Where the bits of stochastic rounding come from; the index is `row * cols + col`.
    pub draw: Draw,
    /// The step value `keep` outside a program: `true` is 1.
    pub keep: bool,
    /// Also write the sum before rounding as f32 to a last operand (rows * cols): a test build.
    pub keep_f32: bool,
}

impl Accumulate {
    /// The step scalar that is 0 where a sum begins anew.
    pub const KEEP: &'static str = "keep";

    /// Rows as far apart as those of tensors, rounded to nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, x: DType, sum: DType) -> Self {
        Self {
            rows,
            cols,
            x,
            x_ld: x.row_ld(cols),
            sum,
            sum_ld: sum.row_ld(cols),
            rounding: Rounding::Nearest,
            draw: Draw::default(),
            keep: true,
            keep_f32: false,
        }
    }

    /// With a bf16 sum rounded like this.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding, draw: Draw) -> Self {
        Self {
            rounding,
            draw,
            ..self
        }
    }

    /// Whether it draws.
    fn is_drawn(&self) -> bool {
        self.sum == DType::Bf16 && self.rounding == Rounding::Stochastic
    }

    /// Where it draws from at a step, and whether the sum is kept.
    fn at(&self, step: &StepValues) -> Result<(Draw, bool)> {
        Ok((step.draw(self.draw), step.get(OP, Self::KEEP)? != 0.0))
    }

    fn x(&self) -> View {
        View::new(self.x, self.rows, self.cols, self.x_ld)
    }

    fn sum(&self) -> View {
        View::new(self.sum, self.rows, self.cols, self.sum_ld)
    }

    fn kept(&self) -> Option<View> {
        let view = View::new(DType::F32, self.rows, self.cols, self.cols);
        self.keep_f32.then_some(view)
    }

    fn views(&self) -> Vec<View> {
        [self.x(), self.sum()].into_iter().chain(self.kept()).collect()
    }

    /// A sum and how far a device may be from it.
    fn within(exact: f64, arithmetic: &Arithmetic) -> Within {
        let off = arithmetic.unit * exact.abs() + 3.0 * arithmetic.eta;
        let bound = match exact.is_finite() {
            true if exact.abs() + off > f64::from(f32::MAX) => f64::INFINITY,
            true => off,
            false => 0.0,
        };
        Within { exact, bound }
    }

    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let Ok((draw, keep)) = self.at(judge.step()) else {
            // Without its scalar the operation did not run either.
            return judge;
        };
        let arithmetic = judge.arithmetic();
        let (x, before) = ((self.x(), judge.before("x")), (self.sum(), judge.before("sum")));
        let within = |row, col| {
            let value = |(view, words): (View, &[u32])| view.load(words, row, col);
            let start = if keep { value(before) } else { 0.0 };
            Self::within(start + value(x), arithmetic)
        };
        let rounded = |bits: u32, index: u64| match self.sum {
            DType::Bf16 => u32::from(bf16::encode(bits, self.rounding, draw.bits(index))) << 16,
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
        };
        let kept = self.kept().map(|view| Kept {
            operand: "kept",
            view,
            rounded: &rounded,
        });
        let judge = judge.composite(Output::new("sum", self.sum()), within, kept);
        match self.kept() {
            Some(view) => judge.composite(Output::new("kept", view), within, None),
            None => judge,
        }
    }
}

impl Op for Accumulate {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounding = match self.sum {
            DType::Bf16 => format!(" {}", self.rounding),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => String::new(),
        };
        let anew = if self.keep { "" } else { " anew" };
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} {} to {}{rounding}{anew}{kept}",
            self.rows, self.cols, self.x, self.sum
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut all = vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::update("sum", self.sum().words()),
        ];
        all.extend(self.kept().map(|view| OperandSpec::write("kept", view.words())));
        all
    }

    fn check(&self) -> Result<()> {
        check_floats(OP, &[("x", self.x), ("sum", self.sum)])?;
        check_rounding(OP, self.rounding)?;
        self.x().check(OP, "x")?;
        self.sum().check(OP, "sum")?;
        self.kept().map_or(Ok(()), |view| view.check(OP, "kept"))
    }

    fn contract(&self) -> Contract<'_> {
        // In f64 the devices do the reference's own operation.
        match self.sum {
            DType::F64 => Contract::Exact,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                Contract::composite(|judge| self.judge(judge))
            }
        }
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        let bits = self.x.bits() + 2 * self.sum.bits();
        Work {
            bf16: false,
            flops: elements,
            int_ops: match self.sum {
                DType::Bf16 => elements * Work::rounding_ops(self.rounding, self.draw.generator),
                DType::F64 | DType::F32 | DType::U32 | DType::U16 => 0.0,
            },
            bytes: elements * f64::from(bits) / 8.0,
        }
    }

    fn step_values(&self) -> StepValues {
        let keep = if self.keep { 1.0 } else { 0.0 };
        StepValues::new(self.draw.seed, self.draw.step).with(Self::KEEP, keep)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("x", self.x), ("sum", self.sum)])
    }

    fn cpu(&self, cpu: &Cpu, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        let mut args = args.named(self)?;
        let operands = cpu::Operands {
            x: args.read("x"),
            sum: args.write("sum")?,
            kept: args.write("kept")?,
        };
        cpu::accumulate(cpu, self, self.at(&step)?, operands);
        Ok(())
    }

    fn reference(&self, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        let mut args = args.named(self)?;
        let (x, sum, kept) = (args.read("x"), args.write("sum")?, args.write("kept")?);
        reference::accumulate(self, self.at(&step)?, x, sum, kept);
        Ok(())
    }
}
