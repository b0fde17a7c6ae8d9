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
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, spread_groups};
use crate::op::rows::{Piece, Within};
use crate::op::{Args, Arithmetic, Class, Comparison, Op, Verdict, Work, rows};
use crate::shaders;
use crate::tensor::DType;
use crate::tensor::element::{load, load_bits};

/// `v <- mu v + (g + decay w)`, `w <- w - rate v`. Operands: `g`, `w`, `v`, then `copy` if `copy_ld` is given,
/// then `w_kept` and `v_kept` with `keep_f32`. The learning rate, momentum and weight decay are
/// `StepValues::scalars[0..3]`.
///
/// Composite class; the bound is derived in `src/ops/sgd.rs`. The arithmetic is f32; stored bf16 is rounded to
/// nearest or stochastically, weights and momentum each with a stream of their own at index `row * cols + col`;
/// `w` takes `v` as it was before rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
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
        let ld = |dtype: DType| cols.next_multiple_of(dtype.row_multiple());
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
            keep_f32: false,
            step: StepValues::default(),
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
        };
        (draw(self.w_stream), draw(self.v_stream))
    }

    fn take<'a>(&self, args: Args<'a>) -> Result<SgdOperands<'a>> {
        Ok(match (self.copy_ld.is_some(), self.keep_f32) {
            (false, false) => {
                let [g, w, v] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write(),
                    v: v.write(),
                    copy: &mut [],
                    w_kept: &mut [],
                    v_kept: &mut [],
                }
            }
            (true, false) => {
                let [g, w, v, copy] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write(),
                    v: v.write(),
                    copy: copy.write(),
                    w_kept: &mut [],
                    v_kept: &mut [],
                }
            }
            (false, true) => {
                let [g, w, v, w_kept, v_kept] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write(),
                    v: v.write(),
                    copy: &mut [],
                    w_kept: w_kept.write(),
                    v_kept: v_kept.write(),
                }
            }
            (true, true) => {
                let [g, w, v, copy, w_kept, v_kept] = args.take(self)?;
                SgdOperands {
                    g: g.read(),
                    w: w.write(),
                    v: v.write(),
                    copy: copy.write(),
                    w_kept: w_kept.write(),
                    v_kept: v_kept.write(),
                }
            }
        })
    }

    fn layouts(&self) -> Vec<(DType, usize)> {
        let mut all = vec![(self.g, self.g_ld), (self.w, self.w_ld), (self.v, self.v_ld)];
        all.extend(self.copy_ld.map(|ld| (DType::Bf16, ld)));
        if self.keep_f32 {
            all.extend([(DType::F32, self.cols); 2]);
        }
        all
    }

    pub(crate) fn contiguous(&self) -> bool {
        rows::contiguous(self.rows, self.cols, &self.layouts())
    }

    /// Turns of an invocation's loops: eight columns of one row, which share two draws at most for each of w and v.
    fn turns(&self) -> u64 {
        let draw = match self.rounding {
            Rounding::Stochastic => shaders::draw_turns(self.generator),
            _ => 0,
        };
        let drawn = [self.w, self.v].into_iter().filter(|&dtype| dtype == DType::Bf16);
        8 + 1 + 2 * draw * drawn.count() as u64
    }

    fn dispatch(&self, gpu: &Gpu, piece: &Piece) -> Result<Step> {
        let ld = |dtype: DType, ld: usize| dtype.words(ld as u64) as u32;
        let copy = self.copy_ld.unwrap_or(0);
        let window = |operand: Option<usize>, dtype: DType, ld: usize, param| match operand {
            Some(operand) => {
                let (first, words) = piece.window(dtype, ld);
                Window::of(operand, first, words, param)
            }
            None => Window::empty(),
        };
        let copies = usize::from(self.copy_ld.is_some());
        let kept = |i: usize| self.keep_f32.then_some(3 + copies + i);
        let windows = vec![
            window(Some(0), self.g, self.g_ld, 10),
            window(Some(1), self.w, self.w_ld, 11),
            window(Some(2), self.v, self.v_ld, 12),
            window(self.copy_ld.map(|_| 3), DType::Bf16, copy, 13),
            window(kept(0), DType::F32, self.cols, 14),
            window(kept(1), DType::F32, self.cols, 15),
        ];
        let units = piece.rows * piece.cols.div_ceil(8);
        Ok(Step {
            pipeline: gpu.pipeline(&permutation(self))?,
            params: vec![
                piece.rows as u32,
                piece.cols as u32,
                ld(self.g, self.g_ld),
                ld(self.w, self.w_ld),
                ld(self.v, self.v_ld),
                ld(DType::Bf16, copy),
                piece.base as u32,
                (piece.base >> 32) as u32,
                self.w_stream,
                self.v_stream,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
            windows,
            groups: spread_groups(gpu, units.div_ceil(u64::from(GROUP))),
            work: units * 32,
            turns: self.turns(),
        })
    }

    /// The exact results of one element, and how far f32 may be from them.
    fn within(&self, [g, w, v]: [f64; 3], step: &StepValues, arithmetic: &Arithmetic) -> [Within; 2] {
        let [rate, momentum, decay, _] = step.scalars.map(f64::from);
        let (u, eta) = (arithmetic.unit, arithmetic.eta);
        let grown = |roundings: f64| (roundings * u.ln_1p()).exp_m1();
        let velocity = momentum * v + (g + decay * w);
        let v_off = grown(3.0) * ((momentum * v).abs() + g.abs() + (decay * w).abs())
            + eta * (4.0 + momentum.abs() + decay.abs() + v.abs() + w.abs());
        let w_off = rate.abs() * v_off * (1.0 + grown(2.0))
            + grown(2.0) * (w.abs() + (rate * velocity).abs())
            + eta * (3.0 + rate.abs() + velocity.abs());
        [
            Within {
                exact: w - rate * velocity,
                bound: w_off,
            },
            Within {
                exact: velocity,
                bound: v_off,
            },
        ]
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
        let words = |dtype, ld| rows::words(dtype, self.rows, self.cols, ld);
        let mut operands = vec![
            OperandSpec::read("g", words(self.g, self.g_ld)),
            OperandSpec::update("w", words(self.w, self.w_ld)),
            OperandSpec::update("v", words(self.v, self.v_ld)),
        ];
        if let Some(ld) = self.copy_ld {
            operands.push(OperandSpec::write("copy", words(DType::Bf16, ld)));
        }
        if self.keep_f32 {
            let elements = self.rows as u64 * self.cols as u64;
            operands.push(OperandSpec::write("w_kept", elements));
            operands.push(OperandSpec::write("v_kept", elements));
        }
        operands
    }

    fn check(&self) -> Result<()> {
        let types = [DType::F32, DType::Bf16, DType::F64];
        let operands = [
            ("g", self.g, self.g_ld),
            ("w", self.w, self.w_ld),
            ("v", self.v, self.v_ld),
        ];
        let expected = "f32, bf16, or f64 throughout";
        rows::check(OP, self.rows, self.cols, &types, expected, &operands)?;
        rows::check_f64_alone(OP, &operands)?;
        crate::op::check_rounding(OP, self.rounding)?;
        if let Some(ld) = self.copy_ld {
            crate::op::check_ld(OP, "copy", DType::Bf16, self.cols, ld)?;
            if self.w != DType::F32 {
                return Err(Error::DType {
                    op: OP,
                    operand: "w",
                    expected: "f32, the master of a bf16 copy",
                    got: self.w,
                });
            }
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

    fn class(&self) -> Class {
        Class::Composite
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
        self.step
    }

    fn variants(&self, _gpu: &Gpu, _any_offset: bool) -> Vec<&'static str> {
        if self.w == DType::F64 {
            Vec::new()
        } else {
            vec!["eights"]
        }
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("g", self.g), ("w", self.w), ("v", self.v)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _any_offset: bool) -> Result<Plan> {
        let steps = rows::pieces(gpu, self.rows, self.cols, &self.layouts())
            .iter()
            .map(|piece| self.dispatch(gpu, piece))
            .collect::<Result<_>>()?;
        Plan::new(gpu, OP, variant, self.operands(), steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let step = args.step;
        cpu::sgd(cpu, self, &step, self.take(args)?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let step = args.step;
        reference::sgd(self, &step, self.take(args)?);
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        if self.w == DType::F64 {
            return crate::op::contract::exact(&self.operands(), comparison);
        }
        let mut verdict = Verdict::default();
        let (before, got) = (comparison.before, comparison.got);
        verdict.bit_equal = comparison.want[1..] == got[1..];
        let kept = 3 + usize::from(self.copy_ld.is_some());
        let mut stored = vec![("w", self.w, self.w_ld, 1), ("v", self.v, self.v_ld, 2)];
        stored.extend(self.copy_ld.map(|ld| ("copy", DType::Bf16, ld, 3)));
        for &(name, dtype, ld, i) in &stored {
            rows::padding(
                &mut verdict,
                name,
                (dtype, self.rows, self.cols, ld),
                before[i],
                got[i],
            );
        }
        let (w_draw, v_draw) = self.draws(&comparison.step);
        for index in 0..self.rows * self.cols {
            let (row, col) = (index / self.cols, index % self.cols);
            let inputs = [
                load(self.g, before[0], row * self.g_ld + col),
                load(self.w, before[1], row * self.w_ld + col),
                load(self.v, before[2], row * self.v_ld + col),
            ];
            let [w, v] = self.within(inputs, &comparison.step, &comparison.arithmetic);
            for &(name, dtype, ld, i) in &stored {
                let kept_bits = |operand: usize| self.keep_f32.then(|| got[operand][index]);
                // The f32 that was rounded, where it can be seen: what is stored must be its rounding,
                // whatever it is.
                let (within, f32_bits, draw, rounding) = match name {
                    "v" => (v, kept_bits(kept + 1), v_draw, self.rounding),
                    "w" => (w, kept_bits(kept), w_draw, self.rounding),
                    _ => (w, Some(got[1][row * self.w_ld + col]), w_draw, Rounding::Nearest),
                };
                let bits = load_bits(dtype, got[i], row * ld + col);
                if let Some(f32_bits) = f32_bits {
                    let expected = match dtype {
                        DType::Bf16 => {
                            let r16 = draw.bits(index as u64);
                            u32::from(bf16::encode(f32_bits, rounding, r16, false)) << 16
                        }
                        _ => f32_bits,
                    };
                    if bits != expected {
                        let expected = format!("{expected:#010x}, from {f32_bits:#010x}");
                        rows::fail(&mut verdict, name, index, &expected, bits);
                    }
                    if within.finite(DType::F32) {
                        within.f32(&mut verdict, "kept", index as u64, f32_bits);
                    }
                }
                if !within.finite(dtype) || !v.finite(DType::F32) {
                    continue;
                }
                match dtype {
                    DType::Bf16 => within.bf16(&mut verdict, name, index as u64, (bits >> 16) as u16),
                    _ => within.f32(&mut verdict, name, index as u64, bits),
                }
            }
        }
        verdict
    }
}

const GROUP: u32 = 64;

static KERNEL: Kernel = Kernel {
    name: OP,
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/sgd/sgd.wgsl"),
    ],
    bindings: &[
        Binding::params(16),
        Binding::step(),
        Binding::read("g"),
        Binding::write("w"),
        Binding::write("v"),
        Binding::write("copy"),
        Binding::write("w_kept"),
        Binding::write("v_kept"),
    ],
};

fn permutation(op: &Sgd) -> Permutation {
    let halves = op.w == DType::Bf16 || op.v == DType::Bf16;
    Permutation::new(&KERNEL)
        .library(shaders::generator(op.generator))
        .constant("GROUP", GROUP)
        .constant("G_HALF", op.g == DType::Bf16)
        .constant("W_HALF", op.w == DType::Bf16)
        .constant("V_HALF", op.v == DType::Bf16)
        .constant("STOCHASTIC", halves && op.rounding == Rounding::Stochastic)
        .constant("COPY", op.copy_ld.is_some())
        .constant("KEEP", op.keep_f32)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for bits in 0..16 {
        let [g, w, v] = [bits & 1, (bits >> 1) & 1, (bits >> 2) & 1].map(|i| types[i]);
        let op = Sgd {
            keep_f32: bits >= 8,
            ..Sgd::new(1, 1, [g, w, v])
        };
        let copies = if w == DType::F32 {
            &[None, Some(2)][..]
        } else {
            &[None]
        };
        for &copy_ld in copies {
            let op = Sgd { copy_ld, ..op };
            all.push(permutation(&op));
            if w == DType::Bf16 || v == DType::Bf16 {
                for generator in [Generator::Threefry, Generator::Philox] {
                    let rounding = Rounding::Stochastic;
                    all.push(permutation(&Sgd {
                        generator,
                        rounding,
                        ..op
                    }));
                }
            }
        }
    }
    all
}
