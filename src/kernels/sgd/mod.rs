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
//! - w' = w - rate v' has two more (product, difference): off by
//!   abs(rate) V (1 + u)^2 + ((1 + u)^2 - 1) (abs(w) + abs(rate v')) + eta (3 + abs(rate) + abs(v')).
//!
//! In f64 the CPU device does the reference's own operations, bit for bit.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Access, Gpu, OperandSpec, StepValues};
use crate::op::{Args, Arithmetic, Contract, Judge, Kept, Op, Output, Table, Within, Work, check_floats};
use crate::tensor::{DType, View};

/// `v <- mu v + (g + decay w)`, `w <- w - rate v`. Operands: `g`, `w`, `v`, then `copy` if `copy_ld` is given,
/// then `w_kept` and `v_kept` with `keep_f32`. The step values hold the scalars `learning_rate` (rate), `momentum` (mu)
/// and `weight_decay` (decay).
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
    /// How weights and momentum are rounded to bf16.
    pub rounding: Rounding,
    /// The generator of stochastic rounding.
    pub generator: Generator,
    /// The weights' stream.
    pub w_stream: u32,
    /// The momentum's stream, another one.
    pub v_stream: u32,
    /// Blocks of eight elements before the first, where the weights are a piece of more: [`Draw::first_block`].
    pub first_block: u64,
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
            rounding: Rounding::Nearest,
            generator: Generator::Threefry,
            w_stream: 0,
            v_stream: 1,
            first_block: 0,
            keep_f32: false,
            step: StepValues::default()
                .with("learning_rate", 0.01)
                .with("momentum", 0.0)
                .with("weight_decay", 0.0),
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

    fn take<'a>(&self, args: Args<'a>) -> Result<SgdOperands<'a>> {
        Ok(match (self.copy_ld.is_some(), self.keep_f32) {
            (false, false) => {
                let [g, w, v] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write()?,
                    v: v.write()?,
                    copy: &mut [],
                    w_kept: &mut [],
                    v_kept: &mut [],
                }
            }
            (true, false) => {
                let [g, w, v, copy] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write()?,
                    v: v.write()?,
                    copy: copy.write()?,
                    w_kept: &mut [],
                    v_kept: &mut [],
                }
            }
            (false, true) => {
                let [g, w, v, w_kept, v_kept] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write()?,
                    v: v.write()?,
                    copy: &mut [],
                    w_kept: w_kept.write()?,
                    v_kept: v_kept.write()?,
                }
            }
            (true, true) => {
                let [g, w, v, copy, w_kept, v_kept] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write()?,
                    v: v.write()?,
                    copy: copy.write()?,
                    w_kept: w_kept.write()?,
                    v_kept: v_kept.write()?,
                }
            }
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
        let kept = self.kept().into_iter();
        all.extend(kept.flat_map(|view| ["w_kept", "v_kept"].map(|name| (name, Access::Write, view))));
        all
    }

    fn views(&self) -> Vec<View> {
        self.layouts().into_iter().map(|(_, _, view)| view).collect()
    }

    /// The exact results of one element, and how far f32 may be from them.
    fn within([g, w, v]: [f64; 3], rates: &Rates, arithmetic: &Arithmetic) -> [Within; 2] {
        let [rate, momentum, decay] =
            [rates.learning_rate, rates.momentum, rates.weight_decay].map(f64::from);
        let (u, eta) = (arithmetic.unit, arithmetic.eta);
        let grown = |roundings: f64| (roundings * u.ln_1p()).exp_m1();
        let velocity = momentum * v + (g + decay * w);
        let v_off = grown(3.0) * ((momentum * v).abs() + g.abs() + (decay * w).abs())
            + eta * (4.0 + momentum.abs() + decay.abs() + v.abs() + w.abs());
        let w_off = rate.abs() * v_off * (1.0 + grown(2.0))
            + grown(2.0) * (w.abs() + (rate * velocity).abs())
            + eta * (3.0 + rate.abs() + velocity.abs());
        let velocity = Within {
            exact: velocity,
            bound: v_off,
        };
        let weight = Within {
            exact: w - rate * velocity.exact,
            // Momentum that may overflow on the way leaves nothing to promise.
            bound: if velocity.finite(DType::F32) {
                w_off
            } else {
                f64::INFINITY
            },
        };
        [weight, velocity]
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
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} g {} w {} v {} {}{copy}{kept}",
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
        if self.copy_ld.is_some() && self.w != DType::F32 {
            return Err(Error::DType {
                op: OP,
                operand: "w",
                expected: "f32, the master of a bf16 copy",
                got: self.w,
            });
        }
        let draws = self.w == DType::Bf16 && self.v == DType::Bf16 && self.rounding == Rounding::Stochastic;
        if draws && self.w_stream == self.v_stream {
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
        let copy = if self.copy_ld.is_some() { 16 } else { 0 };
        let bits = self.g.bits() + 2 * (self.w.bits() + self.v.bits()) + copy;
        let halves = [self.w, self.v]
            .iter()
            .filter(|dtype| **dtype == DType::Bf16)
            .count() as f64;
        let int_ops = Work::rounding_ops(self.rounding, self.generator);
        Work {
            bf16: false,
            flops: elements * 6.0,
            int_ops: elements * int_ops * halves,
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
        cpu::sgd(cpu, self, &step, &Rates::of(&step)?, self.take(args)?);
        Ok(())
    }

    fn reference(&self, mut args: Args<'_>) -> Result<()> {
        let step = std::mem::take(&mut args.step);
        reference::sgd(self, self.draws(&step), &Rates::of(&step)?, self.take(args)?);
        Ok(())
    }
}

impl Sgd {
    /// Holds weights, momentum and their copies to the bound.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let step = judge.step();
        let Ok(rates) = Rates::of(step) else {
            // Without its scalars the operation did not run either.
            return judge;
        };
        let arithmetic = judge.arithmetic();
        let [g, w, v] = [("g", self.g()), ("w", self.w()), ("v", self.v())].map(|(name, view)| {
            let words = judge.before(name);
            move |row, col| view.load(words, row, col)
        });
        let both = |row, col| {
            let inputs = [g(row, col), w(row, col), v(row, col)];
            Self::within(inputs, &rates, arithmetic)
        };
        let (w_draw, v_draw) = self.draws(step);
        let stored = |dtype: DType, rounding, draw: Draw| {
            move |bits, index| match dtype {
                DType::Bf16 => u32::from(bf16::encode(bits, rounding, draw.bits(index))) << 16,
                DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
            }
        };
        let (w_rounded, v_rounded) = (
            stored(self.w, self.rounding, w_draw),
            stored(self.v, self.rounding, v_draw),
        );
        let nearest = stored(DType::Bf16, Rounding::Nearest, w_draw);
        let of = |operand, view: Option<View>, rounded| {
            view.map(|view| Kept {
                operand,
                view,
                rounded,
            })
        };
        let weight = |row, col| both(row, col)[0];
        let velocity = |row, col| both(row, col)[1];
        let mut judge = judge
            .composite(
                Output::new("w", self.w()),
                weight,
                of("w_kept", self.kept(), &w_rounded),
            )
            .composite(
                Output::new("v", self.v()),
                velocity,
                of("v_kept", self.kept(), &v_rounded),
            );
        if let Some(copy) = self.copy() {
            judge = judge.composite(
                Output::new("copy", copy),
                weight,
                of("w", Some(self.w()), &nearest),
            );
        }
        if let Some(view) = self.kept() {
            judge = judge
                .composite(Output::new("w_kept", view), weight, None)
                .composite(Output::new("v_kept", view), velocity, None);
        }
        judge
    }
}

/// The scalars of one step.
#[derive(Clone, Copy, Debug)]
struct Rates {
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
}

impl Rates {
    fn of(step: &StepValues) -> Result<Self> {
        Ok(Self {
            learning_rate: step.get(OP, "learning_rate")?,
            momentum: step.get(OP, "momentum")?,
            weight_decay: step.get(OP, "weight_decay")?,
        })
    }
}
