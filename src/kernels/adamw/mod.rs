//! `adamw`: one fused step of AdamW: both moments and the weights, decay decoupled from the gradient.
//!
//! One variant, `eights`: eight columns of a row per invocation, so that one draw serves eight roundings; any
//! leading dimension, any offset. It moves 14 (all bf16) to 28 bytes per weight and is bound by memory.
//!
//! # The bound
//! WGSL: additions, subtractions and products within one rounding of either neighbour or fused (u = 2^-23; 2^-24 on
//! the CPU device), division within 2.5 ulp, sqrt inherited from 1 / inverseSqrt(x), 2 ulp and 2.5 ulp: within 5
//! ulp. One ulp is at most 2^-23 of a result that is no subnormal; eta is what flushing may cost. The bound is carried
//! along with the value, operation by operation (`bound.rs`), in the order of the shader. With A the bound of `a`:
//!
//! - `a + b` is off by A + B + u (abs(a + b) + A + B) + 3 eta;
//! - `a b` by P = abs(a) B + abs(b) A + A B, and P + u (abs(a b) + P) + eta (1 + abs(a) + A + abs(b) + B);
//! - `n / d`, d > D, by (abs(n) + N + eta) / (d - D) (1 + 2.5 * 2^-23) - abs(n) / d + eta: the other side is nearer;
//! - `sqrt(p)` by the further one of sqrt(p + P) (1 + 5 * 2^-23) and sqrt(max(p - P, 0)) (1 - 5 * 2^-23), + eta.
//!
//! With compensated weights the same holds of what they move by, with -c for the first w; what follows is derived in
//! `src/kernels/shared/kahan.rs`, for a compensated second moment too.
//!
//! Nothing is promised where a finite value may overflow on the way, and where a divisor may be below 2^-126 or above
//! 2^126. In f64 the CPU device does the reference's own operations, bit for bit.

mod bound;
pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod judge;
mod rates;
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
use rates::Rates;

/// `m <- beta1 m + (1 - beta1) g`, `v <- beta2 v + (1 - beta2) g g`, `w <- w - rate (m c1 / (sqrt(v c2) + epsilon) +
/// decay w)`: step and decay are one update, rounded once. Operands: `g`, `w`, `m`, `v`, then `copy` if `copy_ld` is
/// given, `c` if `compensation_ld` is, then `w_kept`, `m_kept` and `v_kept` with `keep_f32`.
///
/// The step values hold the scalars `learning_rate` (rate), `beta1`, `beta2`, `epsilon`, `weight_decay` (decay), and
/// the corrections of the moments' bias, `correction1` (c1) and `correction2` (c2): [`AdamW::correct`] sets these two
/// from the optimizer's own count of steps, which a skipped step does not advance. `gradient_factor` is one more where
/// [`AdamW::gradient_factor`] says so.
///
/// Composite class; the bound is derived in `src/kernels/adamw/mod.rs`. The arithmetic is f32; what is stored as bf16
/// is rounded to nearest or stochastically, weights and moments each with a stream of their own at index `row * cols +
/// col`; `w` takes `m` and `v` as they were before rounding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AdamW {
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
    /// Type of the first moment: `F32`, `Bf16` or `F64`.
    pub m: DType,
    /// Elements from one row of `m` to the next: at least `cols`, even for bf16.
    pub m_ld: usize,
    /// Type of the second moment: `F32`, `Bf16` or `F64`.
    pub v: DType,
    /// Elements from one row of `v` to the next: at least `cols`, even for bf16; pairs with `v_compensated`.
    pub v_ld: usize,
    /// Also store the new weights as bf16 to nearest, with this leading dimension; `w` is then the f32 master.
    pub copy_ld: Option<usize>,
    /// Keep what updates of bf16 weights lose in a bf16 operand `c` with this leading dimension, zero at first (Kahan):
    /// `y = rb(u - c)`, `s = rb(w + y)`, `c = rb(rb(s - w) - y)`, `w = s` with `u` the step above; rb rounds to bf16.
    /// Then `w_kept` holds u - c.
    pub compensation_ld: Option<usize>,
    /// How weights are rounded to bf16; with compensation `y`, the other three being to nearest.
    pub w_rounding: Rounding,
    /// How the first moment is rounded to bf16.
    pub m_rounding: Rounding,
    /// How the second moment is rounded to bf16.
    pub v_rounding: Rounding,
    /// Allow a bf16 second moment to be rounded to nearest, an error otherwise: with `beta2` > 1 - 2^-9 it then never
    /// decays. `beta2 v` is less than half a step below `v`, whatever the significand, and is rounded back: the moment
    /// can only ever grow.
    pub allow_nearest_v: bool,
    /// Keep what updates of a bf16 second moment lose beside it (Kahan): `v` then holds pairs of bf16, the moment and its
    /// compensation `l`, zero at first, as rows of `2 cols` elements would. `y = rb((1 - beta2) (g g - v) - l)`,
    /// `s = rb(v + y)`, `l = rb(rb(s - v) - y)`, `v = s`; the weights take `beta2 v + (1 - beta2) g g` as ever. Then
    /// `v_rounding` is that of `y`, to nearest without a ratchet, and `v_kept` holds what `y` was rounded from. A `beta2`
    /// below 2^-6 may leave a moment below 0.
    pub v_compensated: bool,
    /// The generator of stochastic rounding.
    pub generator: Generator,
    /// The weights' stream.
    pub w_stream: u32,
    /// The first moment's stream, another one.
    pub m_stream: u32,
    /// The second moment's stream, a third.
    pub v_stream: u32,
    /// Blocks of eight elements before the first, where the weights are a piece of more: [`Draw::first_block`].
    pub first_block: u64,
    /// Multiply the gradient by the step value `gradient_factor` before anything else: the product is rounded once to f32
    /// (f64 where all are), so that with a factor of 1 the results are those without one.
    pub gradient_factor: bool,
    /// Also write all results before rounding as f32 to three last operands (rows * cols): a test build.
    pub keep_f32: bool,
    /// Seed, step number and scalars outside a program.
    pub step: StepValues,
}

/// The operands of [`AdamW`], as its kernels take them; absent ones are empty.
#[derive(Debug)]
struct Operands<'a> {
    g: &'a [u32],
    w: &'a mut [u32],
    m: &'a mut [u32],
    v: &'a mut [u32],
    copy: &'a mut [u32],
    c: &'a mut [u32],
    w_kept: &'a mut [u32],
    m_kept: &'a mut [u32],
    v_kept: &'a mut [u32],
}

/// Where weights, first and second moment draw from.
#[derive(Clone, Copy, Debug)]
struct Draws {
    w: Draw,
    m: Draw,
    v: Draw,
}

const OP: &str = "adamw";

impl AdamW {
    /// `rows` x `cols` weights of types `g`, `w`, `m` and `v` with the leading dimensions a `Tensor` uses, rounded to
    /// nearest, but a bf16 second moment stochastically. The scalars are those of a first step.
    #[must_use]
    pub fn new(rows: usize, cols: usize, [g, w, m, v]: [DType; 4]) -> Self {
        let ld = |dtype: DType| dtype.row_ld(cols);
        Self {
            rows,
            cols,
            g,
            g_ld: ld(g),
            w,
            w_ld: ld(w),
            m,
            m_ld: ld(m),
            v,
            v_ld: ld(v),
            copy_ld: None,
            compensation_ld: None,
            w_rounding: Rounding::Nearest,
            m_rounding: Rounding::Nearest,
            v_rounding: Rounding::Stochastic,
            allow_nearest_v: false,
            v_compensated: false,
            generator: Generator::Threefry,
            w_stream: 0,
            m_stream: 1,
            v_stream: 2,
            first_block: 0,
            gradient_factor: false,
            keep_f32: false,
            step: StepValues::default()
                .with("learning_rate", 0.001)
                .with("beta1", 0.9)
                .with("beta2", 0.999)
                .with("epsilon", 1e-8)
                .with("weight_decay", 0.01)
                .with("correction1", 10.0)
                .with("correction2", 1000.0)
                .with("gradient_factor", 1.0),
        }
    }

    /// Where weights and moments draw from at a step.
    fn draws(&self, step: &StepValues) -> Draws {
        let draw = |stream| Draw {
            generator: self.generator,
            seed: step.seed,
            stream,
            step: step.number,
            first_block: self.first_block,
        };
        Draws {
            w: draw(self.w_stream),
            m: draw(self.m_stream),
            v: draw(self.v_stream),
        }
    }

    /// Whether something of this type and rounding draws.
    fn is_drawn(dtype: DType, rounding: Rounding) -> bool {
        dtype == DType::Bf16 && rounding == Rounding::Stochastic
    }

    /// Whether weights, first and second moment draw.
    fn drawn(&self) -> [bool; 3] {
        [
            Self::is_drawn(self.w, self.w_rounding),
            Self::is_drawn(self.m, self.m_rounding),
            Self::is_drawn(self.v, self.v_rounding),
        ]
    }

    fn take<'a>(&self, args: Args<'a>) -> Result<Operands<'a>> {
        let mut args = args.named(self)?;
        Ok(Operands {
            g: args.read("g"),
            w: args.write("w")?,
            m: args.write("m")?,
            v: args.write("v")?,
            copy: args.write("copy")?,
            c: args.write("c")?,
            w_kept: args.write("w_kept")?,
            m_kept: args.write("m_kept")?,
            v_kept: args.write("v_kept")?,
        })
    }

    fn g(&self) -> View {
        View::new(self.g, self.rows, self.cols, self.g_ld)
    }

    fn w(&self) -> View {
        View::new(self.w, self.rows, self.cols, self.w_ld)
    }

    fn m(&self) -> View {
        View::new(self.m, self.rows, self.cols, self.m_ld)
    }

    /// What a word or a half of `v` holds: with a compensation a word holds both.
    fn v_stored(&self) -> DType {
        match self.v_compensated {
            true => DType::U32,
            false => self.v,
        }
    }

    fn v(&self) -> View {
        View::new(self.v_stored(), self.rows, self.cols, self.v_ld)
    }

    /// Moments and compensations side by side.
    fn v_pairs(&self) -> Option<View> {
        let view = View::new(DType::Bf16, self.rows, 2 * self.cols, 2 * self.v_ld);
        self.v_compensated.then_some(view)
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
            ("m", Access::Update, self.m()),
            ("v", Access::Update, self.v()),
        ];
        all.extend(self.copy().map(|view| ("copy", Access::Write, view)));
        all.extend(self.compensation().map(|view| ("c", Access::Update, view)));
        let names = ["w_kept", "m_kept", "v_kept"];
        let kept = self.kept().into_iter();
        all.extend(kept.flat_map(|view| names.map(|name| (name, Access::Write, view))));
        all
    }

    fn views(&self) -> Vec<View> {
        self.layouts().into_iter().map(|(_, _, view)| view).collect()
    }

    fn types(&self) -> [(&'static str, DType); 4] {
        [("g", self.g), ("w", self.w), ("m", self.m), ("v", self.v)]
    }

    fn check_streams(&self) -> Result<()> {
        let streams = [self.w_stream, self.m_stream, self.v_stream];
        let drawn: Vec<_> = std::iter::zip(streams, self.drawn())
            .filter_map(|(stream, drawn)| drawn.then_some(stream))
            .collect();
        let twice = |(i, stream): (usize, &u32)| drawn[..i].contains(stream);
        match drawn.iter().enumerate().find(|item| twice(*item)) {
            Some((_, stream)) => Err(Error::Value {
                op: OP,
                what: "stream of weights or moments",
                value: stream.to_string(),
                expected: "a stream of its own for each, so that their roundings share no bits",
            }),
            None => Ok(()),
        }
    }
}

impl Op for AdamW {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounded = |dtype: DType, rounding: Rounding| match dtype {
            DType::Bf16 => format!("{dtype} {rounding}"),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => dtype.to_string(),
        };
        let beside = match (self.copy_ld, self.compensation_ld) {
            (Some(_), _) => " with bf16 copy",
            (None, Some(_)) => " compensated",
            (None, None) => "",
        };
        let pairs = if self.v_compensated { " paired" } else { "" };
        let factor = if self.gradient_factor { " factor" } else { "" };
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} g {} w {} m {} v {}{pairs}{beside}{factor}{kept}",
            self.rows,
            self.cols,
            self.g,
            rounded(self.w, self.w_rounding),
            rounded(self.m, self.m_rounding),
            rounded(self.v, self.v_rounding),
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
        check_floats(OP, &self.types())?;
        for rounding in [self.w_rounding, self.m_rounding, self.v_rounding] {
            crate::op::check_rounding(OP, rounding)?;
        }
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
        if self.v_compensated && self.v != DType::Bf16 {
            return Err(Error::DType {
                op: OP,
                operand: "v",
                expected: "bf16, whose updates are compensated",
                got: self.v,
            });
        }
        let ratchet = self.v == DType::Bf16 && self.v_rounding == Rounding::Nearest && !self.v_compensated;
        if ratchet && !self.allow_nearest_v {
            return Err(Error::Value {
                op: OP,
                what: "rounding of a bf16 second moment",
                value: self.v_rounding.to_string(),
                expected: "stochastic, or a compensation: to nearest it never decays with beta2 > 1 - 2^-9 (or set allow_nearest_v)",
            });
        }
        self.check_streams()
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
            + 2 * (self.w.bits() + self.m.bits() + self.v.bits())
            + beside(self.copy_ld)
            + 2 * beside(self.compensation_ld)
            + if self.v_compensated { 2 * 16 } else { 0 };
        let rounded = [
            (self.w, self.w_rounding),
            (self.m, self.m_rounding),
            (self.v, self.v_rounding),
        ];
        let halves = rounded.iter().filter(|(dtype, _)| *dtype == DType::Bf16);
        let ops = halves.map(|(_, rounding)| Work::rounding_ops(*rounding, self.generator));
        Work {
            bf16: false,
            flops: elements * 16.0,
            int_ops: elements * ops.sum::<f64>(),
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
        crate::op::no_f64_on_gpu(OP, &self.types())
    }

    fn cpu(&self, cpu: &Cpu, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        cpu::adamw(cpu, self, &step, &self.rates(&step)?, self.take(args)?);
        Ok(())
    }

    fn reference(&self, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        reference::adamw(self, self.draws(&step), &self.rates(&step)?, self.take(args)?);
        Ok(())
    }
}
