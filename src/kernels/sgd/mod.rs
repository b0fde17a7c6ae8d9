//! `sgd`: one fused step of stochastic gradient descent with momentum and weight decay.
//!
//! One variant, `eights`: eight columns of a row per invocation, so that one draw serves eight roundings; any
//! leading dimension, any offset. It moves 6 (all bf16) to 22 bytes per weight and is bound by memory.
//!
//! # The bound
//! With u the unit roundoff (2^-23 on GPUs, where either neighbour may be returned, or fused), eta for whatever
//! is flushed:
//!
//! - v' = mu v + (g + decay w) has at most three roundings on any path (product, inner sum, outer sum): off by
//!   V = ((1 + u)^3 - 1) (abs(mu v) + abs(g) + abs(decay w)) + eta (4 + abs(mu) + abs(decay) + abs(v) + abs(w));
//!   a gradient that is multiplied by a factor f is such a product too, and costs eta (1 + abs(f) + abs(g)) more;
//! - w' = w - rate v' has two more (product, difference): off by
//!   abs(rate) V (1 + u)^2 + ((1 + u)^2 - 1) (abs(w) + abs(rate v')) + eta (3 + abs(rate) + abs(v')).
//!
//! With compensated weights the same holds of u - c, u = -rate v', in place of w - rate v', with -c for w; what
//! follows is derived in `src/kernels/shared/kahan.rs`.
//!
//! In f64 the CPU device does the reference's own operations, bit for bit.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod judge;
mod reference;
#[cfg(test)]
mod tests;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Access, Gpu, OperandSpec, StepValues};
use crate::op::{Args, Contract, Op, Table, Work, check_floats};
use crate::tensor::{DType, View};

/// `v <- mu v + (g + decay w)`, `w <- w - rate v`. Operands: `g`, `w`, `v`, then `copy` if `copy_ld` is given, `c` if
/// `compensation_ld` is, then `w_kept` and `v_kept` with `keep_f32`. The step values hold the scalars `learning_rate`
/// (rate), `momentum` (mu) and `weight_decay` (decay), and `gradient_factor` where [`Sgd::gradient_factor`] says so.
///
/// Composite class; the bound is derived in `src/kernels/sgd/mod.rs`. The arithmetic is f32; stored bf16 is rounded to
/// nearest or stochastically, weights and momentum each with a stream of their own at index `row * cols + col`;
/// `w` takes `v` as it was before rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sgd {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Type of the gradient: `F32`, `Bf16`, or `F64` where all are.
    pub g: DType,
    /// Elements from one row of `g` to the next: at least `cols`, even for bf16.
    pub g_ld: usize,
    /// Type of the weights: `F32`, `Bf16` or `F64`.
    pub w: DType,
    /// Elements from one row of `w` to the next: at least `cols`, even for bf16.
    pub w_ld: usize,
    /// Type of the momentum: `F32`, `Bf16` or `F64`.
    pub v: DType,
    /// Elements from one row of `v` to the next: at least `cols`, even for bf16.
    pub v_ld: usize,
    /// Also store the new weights as bf16 to nearest, with this leading dimension; `w` is then the f32 master.
    pub copy_ld: Option<usize>,
    /// Keep what updates of bf16 weights lose in a bf16 operand `c` with this leading dimension, zero at first (Kahan):
    /// `y = rb(u - c)`, `s = rb(w + y)`, `c = rb(rb(s - w) - y)`, `w = s` with `u = -rate v`; rb rounds to bf16. Then
    /// `w_kept` holds u - c.
    pub compensation_ld: Option<usize>,
    /// How `y` is rounded, by draws of the weights' stream if it draws; the other three are to nearest.
    pub y_rounding: Rounding,
    /// How weights without compensation, and momentum, are rounded to bf16.
    pub rounding: Rounding,
    /// The generator of stochastic rounding.
    pub generator: Generator,
    /// The weights' stream.
    pub w_stream: u32,
    /// The momentum's stream, another one.
    pub v_stream: u32,
    /// Blocks of eight elements before the first, where the weights are a piece of more: [`Draw::first_block`].
    pub first_block: u64,
    /// Multiply the gradient by the step value `gradient_factor` before anything else: the product is rounded once to f32
    /// (f64 where all are), so that with a factor of 1 the results are those without one.
    pub gradient_factor: bool,
    /// Also write both results before rounding as f32 to two last operands (rows * cols): a test build.
    pub keep_f32: bool,
    /// Seed, step number and scalars outside a program.
    pub step: StepValues,
}

/// The operands of [`Sgd`], as the reference takes them; absent ones are empty.
#[derive(Debug)]
pub struct SgdOperands<'a> {
    /// The gradient.
    pub g: &'a [u32],
    /// The weights.
    pub w: &'a mut [u32],
    /// The momentum.
    pub v: &'a mut [u32],
    /// The bf16 copy of the weights.
    pub copy: &'a mut [u32],
    /// The weights' compensation.
    pub c: &'a mut [u32],
    /// The weights before rounding.
    pub w_kept: &'a mut [u32],
    /// The momentum before rounding.
    pub v_kept: &'a mut [u32],
}

const OP: &str = "sgd";

impl Sgd {
    /// `rows` x `cols` weights of types `g`, `w` and `v` with the leading dimensions a `Tensor` uses, rounded to
    /// nearest.
    #[must_use]
    pub fn new(rows: usize, cols: usize, [g, w, v]: [DType; 3]) -> Self {
        let ld = |dtype: DType| dtype.row_ld(cols);
        Self {
            rows,
            cols,
            g,
            g_ld: ld(g),
            w,
            w_ld: ld(w),
            v,
            v_ld: ld(v),
            copy_ld: None,
            compensation_ld: None,
            y_rounding: Rounding::Nearest,
            rounding: Rounding::Nearest,
            generator: Generator::Threefry,
            w_stream: 0,
            v_stream: 1,
            first_block: 0,
            gradient_factor: false,
            keep_f32: false,
            step: StepValues::default()
                .with("learning_rate", 0.01)
                .with("momentum", 0.0)
                .with("weight_decay", 0.0)
                .with("gradient_factor", 1.0),
        }
    }

    /// Where weights and momentum draw from at a step.
    #[must_use]
    pub fn draws(&self, step: &StepValues) -> (Draw, Draw) {
        let draw = |stream| Draw {
            generator: self.generator,
            seed: step.seed,
            stream,
            step: step.number,
            first_block: self.first_block,
        };
        (draw(self.w_stream), draw(self.v_stream))
    }

    /// How weights are rounded, or what they move by.
    fn w_rounding(&self) -> Rounding {
        match self.compensation_ld {
            Some(_) => self.y_rounding,
            None => self.rounding,
        }
    }

    /// Whether weights and momentum draw.
    fn drawn(&self) -> [bool; 2] {
        let drawn = |dtype: DType, rounding| dtype == DType::Bf16 && rounding == Rounding::Stochastic;
        [drawn(self.w, self.w_rounding()), drawn(self.v, self.rounding)]
    }

    fn take<'a>(&self, args: Args<'a>) -> Result<SgdOperands<'a>> {
        let mut args = args.named(self)?;
        Ok(SgdOperands {
            g: args.read("g"),
            w: args.write("w")?,
            v: args.write("v")?,
            copy: args.write("copy")?,
            c: args.write("c")?,
            w_kept: args.write("w_kept")?,
            v_kept: args.write("v_kept")?,
        })
    }

    fn g(&self) -> View {
        View::new(self.g, self.rows, self.cols, self.g_ld)
    }

    fn w(&self) -> View {
        View::new(self.w, self.rows, self.cols, self.w_ld)
    }

    fn v(&self) -> View {
        View::new(self.v, self.rows, self.cols, self.v_ld)
    }

    fn copy(&self) -> Option<View> {
        let view = |ld| View::new(DType::Bf16, self.rows, self.cols, ld);
        self.copy_ld.map(view)
    }

    fn compensation(&self) -> Option<View> {
        let view = |ld| View::new(DType::Bf16, self.rows, self.cols, ld);
        self.compensation_ld.map(view)
    }

    /// The layout of the results before rounding.
    fn kept(&self) -> Option<View> {
        let view = View::new(DType::F32, self.rows, self.cols, self.cols);
        self.keep_f32.then_some(view)
    }

    /// Every operand's name, access and layout, in order.
    fn layouts(&self) -> Vec<(&'static str, Access, View)> {
        let mut all = vec![
            ("g", Access::Read, self.g()),
            ("w", Access::Update, self.w()),
            ("v", Access::Update, self.v()),
        ];
        all.extend(self.copy().map(|view| ("copy", Access::Write, view)));
        all.extend(self.compensation().map(|view| ("c", Access::Update, view)));
        let kept = self.kept().into_iter();
        all.extend(kept.flat_map(|view| ["w_kept", "v_kept"].map(|name| (name, Access::Write, view))));
        all
    }

    fn views(&self) -> Vec<View> {
        self.layouts().into_iter().map(|(_, _, view)| view).collect()
    }
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let copy = if self.copy_ld.is_some() {
            " with bf16 copy"
        } else {
            ""
        };
        let compensated = match self.compensation_ld {
            Some(_) => format!(" compensated {}", self.y_rounding),
            None => String::new(),
        };
        let factor = if self.gradient_factor { " factor" } else { "" };
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} g {} w {} v {} {}{copy}{compensated}{factor}{kept}",
            self.rows, self.cols, self.g, self.w, self.v, self.rounding
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let spec = |(name, access, view): (&'static str, Access, View)| OperandSpec {
            name,
            access,
            words: view.words(),
        };
        self.layouts().into_iter().map(spec).collect()
    }

    fn check(&self) -> Result<()> {
        for (operand, _, view) in self.layouts() {
            view.check(OP, operand)?;
        }
        let types = [("g", self.g), ("w", self.w), ("v", self.v)];
        check_floats(OP, &types)?;
        crate::op::check_rounding(OP, self.rounding)?;
        crate::op::check_rounding(OP, self.y_rounding)?;
        if self.copy_ld.is_some() && self.w != DType::F32 {
            return Err(Error::DType {
                op: OP,
                operand: "w",
                expected: "f32, the master of a bf16 copy",
                got: self.w,
            });
        }
        if self.compensation_ld.is_some() && self.w != DType::Bf16 {
            return Err(Error::DType {
                op: OP,
                operand: "w",
                expected: "bf16, whose updates are compensated",
                got: self.w,
            });
        }
        if self.drawn() == [true; 2] && self.w_stream == self.v_stream {
            return Err(Error::Value {
                op: OP,
                what: "stream of weights and momentum",
                value: self.w_stream.to_string(),
                expected: "two streams, so that their roundings share no bits",
            });
        }
        Ok(())
    }

    fn contract(&self) -> Contract<'_> {
        // In f64 the devices do the reference's own operations.
        match self.w {
            DType::F64 => Contract::Exact,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                Contract::composite(|judge| self.judge(judge))
            }
        }
    }

    fn work(&self) -> Work {
        let elements = self.rows as f64 * self.cols as f64;
        let beside = |ld: Option<usize>| if ld.is_some() { 16 } else { 0 };
        let bits = self.g.bits()
            + 2 * (self.w.bits() + self.v.bits())
            + beside(self.copy_ld)
            + 2 * beside(self.compensation_ld);
        let ops = |dtype, rounding| match dtype {
            DType::Bf16 => Work::rounding_ops(rounding, self.generator),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => 0.0,
        };
        let more = match self.compensation_ld {
            Some(_) => 3.0 * Work::rounding_ops(Rounding::Nearest, self.generator),
            None => 0.0,
        };
        let int_ops = ops(self.w, self.w_rounding()) + ops(self.v, self.rounding) + more;
        Work {
            bf16: false,
            flops: elements * 6.0,
            int_ops: elements * int_ops,
            bytes: elements * f64::from(bits) / 8.0,
        }
    }

    fn step_values(&self) -> StepValues {
        self.step.clone()
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("g", self.g), ("w", self.w), ("v", self.v)])
    }

    fn cpu(&self, cpu: &Cpu, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        cpu::sgd(cpu, self, &step, &self.rates(&step)?, self.take(args)?);
        Ok(())
    }

    fn reference(&self, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        reference::sgd(self, self.draws(&step), &self.rates(&step)?, self.take(args)?);
        Ok(())
    }
}

/// The scalars of one step.
#[derive(Clone, Copy, Debug)]
struct Rates {
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    /// Where there is one.
    factor: Option<f32>,
}

impl Sgd {
    fn rates(&self, step: &StepValues) -> Result<Rates> {
        let factor = self.gradient_factor.then(|| step.get(OP, "gradient_factor"));
        Ok(Rates {
            learning_rate: step.get(OP, "learning_rate")?,
            momentum: step.get(OP, "momentum")?,
            weight_decay: step.get(OP, "weight_decay")?,
            factor: factor.transpose()?,
        })
    }
}
