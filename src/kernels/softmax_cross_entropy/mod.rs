//! `softmax_cross_entropy`: the loss of a classifier and its gradient, one pass over the logits' rows.
//!
//! One variant, `row`: one row per invocation, two exponentials per logit, nothing stored between the passes.
//! A classifier's last layer is the smallest of a network: there is nothing to gain beyond it. Rows of more classes
//! than one dispatch may walk (or one binding holds) are walked in parts, with the running maximum and sum in scratch
//! memory: the same operations in the same order, and so the same bits and the same bound.
//!
//! # The bound
//! WGSL: exp within 3 + 2 abs(x) ulp, division within 2.5 ulp, log within 2^-21 absolutely in [0.5, 2] and within
//! 3 ulp elsewhere, additions, subtractions and products within one rounding of either neighbour (u = 2^-23;
//! 2^-24 on the CPU device, whose exp and log are within 1 ulp); one ulp is at most 2^-23 of the result, or
//! 2^-149; whatever is below 2^-126 may flush. In exact arithmetic the result does not depend on what is
//! subtracted, so m may be off by a flushed subnormal. With d = z - m, n classes:
//!
//! - d is off by D = u abs(d) + 3 eta; exp(d) = e by E = e (exp(D) - 1) + (3 + 2 (abs(d) + D))
//!   max(2^-23 e exp(D), 2^-149) + eta;
//! - s = sum e by S = sum E + ((1 + u)^n - 1) (s + sum E);
//! - p = e / s by P = (e + E) / (s - S) (1 + 2.5 * 2^-23) - e / s + eta (the other side is nearer);
//! - q = p - onehot by Q = P + u (abs(q) + P) + eta; the gradient q * scale by
//!   abs(scale) Q + u abs(scale) (abs(q) + Q) + eta (1 + abs(q));
//! - log s by L = log(s) - log(s - S) + max(3 * 2^-23 (abs(log s) + that), 2^-21 if s - S < 2); t = z_label - m
//!   by D; the loss log s - t by L + D + u (abs(loss) + L + D) + eta.
//!
//! In f64 the CPU device runs the reference's own operations on each row, bit for bit.

pub(crate) mod cases;
mod cpu;
mod parts;
mod reference;

use std::ops::Range;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Binding, Gpu, Kernel, Offsets, OperandSpec, Permutation, Plan, Step, StepValues};
use crate::gpu::{Window, spread_groups};
use crate::op::rows::Within;
use crate::op::{Args, Arithmetic, Class, Comparison, Op, Verdict, Work, rows};
use crate::shaders;
use crate::tensor::DType;
use crate::tensor::element::{load, load_bits};

/// Cross entropy of `softmax(logits)` with one class per row, and its gradient with respect to the logits,
/// `(softmax - onehot) * scale`. Operands: `logits` (rows x classes), `labels` (u32), `loss` (one per row, f32;
/// f64 for f64 logits; not scaled), `grad` (rows x classes), and with `keep_f32` also `kept`.
///
/// A label that is no class (`u32::MAX`, say) leaves its row out: loss and gradient are +0.
///
/// Composite class; the bound is derived in `src/ops/softmax_cross_entropy.rs`. Rows with a NaN, an Inf, or
/// logits further apart than the largest f32 follow IEEE on the CPU device and may hold anything on a GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// Rows: the size of the batch.
    pub rows: usize,
    /// Classes, at least 1.
    pub classes: usize,
    /// Type of `logits`: `F32`, `Bf16` or `F64`.
    pub logits: DType,
    /// Elements from one row of `logits` to the next: at least `classes`, even for bf16.
    pub logits_ld: usize,
    /// Type of `grad`: `F32`, `Bf16`, or `F64` where `logits` is.
    pub grad: DType,
    /// Elements from one row of `grad` to the next: at least `classes`, even for bf16.
    pub grad_ld: usize,
    /// What the gradient is multiplied by: 1 / rows for the gradient of the mean.
    pub scale: f32,
    /// How the gradient is rounded to bf16.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from; the index is `row * classes + class`.
    pub draw: Draw,
    /// Also write the f32 gradient before rounding to a last operand `kept` (rows * classes): a test build.
    pub keep_f32: bool,
}

const OP: &str = "softmax_cross_entropy";

impl SoftmaxCrossEntropy {
    /// Of `rows` rows with the leading dimensions a `Tensor` uses, the gradient of the mean loss, to nearest.
    #[must_use]
    pub fn new(rows: usize, classes: usize, logits: DType, grad: DType) -> Self {
        Self {
            rows,
            classes,
            logits,
            logits_ld: classes.next_multiple_of(logits.row_multiple()),
            grad,
            grad_ld: classes.next_multiple_of(grad.row_multiple()),
            scale: 1.0 / rows.max(1) as f32,
            rounding: Rounding::Nearest,
            draw: Draw::default(),
            keep_f32: false,
        }
    }

    fn at(&self, step: &StepValues) -> Self {
        let (seed, step) = (step.seed, step.number);
        let draw = Draw {
            seed,
            step,
            ..self.draw
        };
        Self { draw, ..*self }
    }

    fn loss_type(&self) -> DType {
        match self.logits {
            DType::F64 => DType::F64,
            _ => DType::F32,
        }
    }

    /// One dispatch: classes `cols` of `range` of the rows.
    fn step(
        &self,
        gpu: &Gpu,
        permutation: &Permutation,
        range: &Range<u64>,
        cols: &Range<u64>,
        turns: u64,
    ) -> Result<Step> {
        let rows = range.end - range.start;
        let classes = self.classes as u64;
        let base = range.start * classes;
        let ld = |dtype: DType, ld: usize| dtype.words(ld as u64) as u32;
        let kept = match self.keep_f32 {
            true => Self::window((4, DType::F32, self.classes), range, cols, 12),
            false => Window::empty(),
        };
        Ok(Step {
            pipeline: gpu.pipeline(permutation)?,
            params: vec![
                rows as u32,
                classes as u32,
                ld(self.logits, self.logits_ld),
                ld(self.grad, self.grad_ld),
                base as u32,
                (base >> 32) as u32,
                self.draw.stream,
                self.scale.to_bits(),
                0,
                0,
                0,
                0,
                0,
                cols.start as u32,
                cols.end as u32,
                0,
            ],
            windows: vec![
                Self::window((0, self.logits, self.logits_ld), range, cols, 8),
                Window::of(1, range.start, rows, 9),
                Window::of(2, range.start, rows, 10),
                Self::window((3, self.grad, self.grad_ld), range, cols, 11),
                kept,
            ],
            groups: spread_groups(gpu, rows.div_ceil(u64::from(GROUP))),
            work: rows * (cols.end - cols.start) * WORK,
            turns,
        })
    }

    /// The bound of one row: its loss and its gradient.
    fn within(&self, z: &[f64], label: usize, arithmetic: &Arithmetic) -> (Within, Vec<Within>) {
        const ULP: f64 = 1.0 / 8_388_608.0;
        let (u, eta) = (arithmetic.unit, arithmetic.eta);
        let least = 2f64.powi(-149);
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let off = |d: f64| u * d.abs() + 3.0 * eta;
        let mut terms = Vec::with_capacity(z.len());
        let (mut sum, mut sum_off) = (0.0, 0.0);
        for &z in z {
            let d = z - top;
            // exp(-inf) is 0 on devices that know -inf; the ulp of a result that small is `least`.
            let (e, e_off) = match d == f64::NEG_INFINITY {
                true => (0.0, eta),
                false => {
                    let (e, grown) = (d.exp(), off(d).exp());
                    let ulps = 3.0 + 2.0 * (d.abs() + off(d));
                    (e, e * (grown - 1.0) + ulps * (ULP * e * grown).max(least) + eta)
                }
            };
            terms.push((e, e_off));
            sum += e;
            sum_off += e_off;
        }
        sum_off += (z.len() as f64 * u.ln_1p()).exp_m1() * (sum + sum_off);
        let low = sum - sum_off;
        let gradient = terms.iter().enumerate().map(|(col, &(e, e_off))| {
            let p = e / sum;
            let p_off = (e + e_off) / low * (1.0 + 2.5 * ULP) - p + eta;
            let q = p - if col == label { 1.0 } else { 0.0 };
            let q_off = p_off + u * (q.abs() + p_off) + eta;
            let scale = f64::from(self.scale);
            let bound = scale.abs() * q_off + u * scale.abs() * (q.abs() + q_off) + eta * (1.0 + q.abs());
            Within {
                exact: q * scale,
                bound,
            }
        });
        let t = z[label] - top;
        let (log, moved) = (sum.ln(), sum.ln() - low.ln());
        let absolute = if low < 2.0 { 2f64.powi(-21) } else { 0.0 };
        let log_off = moved + absolute.max(3.0 * ULP * (log.abs() + moved));
        let loss = log - t;
        let bound = log_off + off(t) + u * (loss.abs() + log_off + off(t)) + eta;
        (Within { exact: loss, bound }, gradient.collect())
    }
}

/// Elementary operations per logit: two exponentials, a division, roundings.
const WORK: u64 = 8;

// Until its scalars are told apart by their bits.
impl Eq for SoftmaxCrossEntropy {}

impl std::hash::Hash for SoftmaxCrossEntropy {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        format!("{self:?}").hash(state);
    }
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounding = match self.grad {
            DType::Bf16 => format!(" {}", self.rounding),
            _ => String::new(),
        };
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} {}->{}{rounding}{kept}",
            self.rows, self.classes, self.logits, self.grad
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let words = |dtype, ld| rows::words(dtype, self.rows, self.classes, ld);
        let mut operands = vec![
            OperandSpec::read("logits", words(self.logits, self.logits_ld)),
            OperandSpec::read("labels", self.rows as u64),
            OperandSpec::write("loss", self.loss_type().words(self.rows as u64)),
            OperandSpec::write("grad", words(self.grad, self.grad_ld)),
        ];
        if self.keep_f32 {
            operands.push(OperandSpec::write("kept", self.rows as u64 * self.classes as u64));
        }
        operands
    }

    fn check(&self) -> Result<()> {
        let types = [DType::F32, DType::Bf16, DType::F64];
        let operands = [
            ("logits", self.logits, self.logits_ld),
            ("grad", self.grad, self.grad_ld),
        ];
        let expected = "f32, bf16, or f64 on both sides";
        rows::check(OP, self.rows, self.classes, &types, expected, &operands)?;
        rows::check_f64_alone(OP, &operands)?;
        crate::op::check_rounding(OP, self.rounding)?;
        if self.classes == 0 || !self.scale.is_finite() {
            let (what, value, expected) = match self.classes {
                0 => ("classes", "0".to_string(), "at least 1"),
                _ => ("scale", self.scale.to_string(), "a finite number"),
            };
            return Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            });
        }
        Ok(())
    }

    fn class(&self) -> Class {
        Class::Composite
    }

    fn work(&self) -> Work {
        let (elements, rows) = (self.rows as f64 * self.classes as f64, self.rows as f64);
        Work {
            bf16: false,
            flops: elements * 7.0,
            int_ops: 0.0,
            bytes: elements * f64::from(self.logits.bits() + self.grad.bits()) / 8.0 + rows * 8.0,
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn variants(&self, _gpu: &Gpu, _offsets: Offsets) -> Vec<&'static str> {
        if self.logits == DType::F64 {
            Vec::new()
        } else {
            vec!["row"]
        }
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("logits", self.logits), ("grad", self.grad)])
    }

    fn plan_variant(&self, gpu: &Gpu, variant: &'static str, _offsets: Offsets) -> Result<Plan> {
        let steps = self.steps(gpu)?;
        Plan::from_steps(gpu, OP, variant, self.operands(), steps, self.step_values())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        if self.keep_f32 {
            let [logits, labels, loss, grad, kept] = args.take(self)?;
            let (loss, grad, kept) = (loss.write(), grad.write(), kept.write());
            cpu::softmax_cross_entropy(cpu, &op, logits.read(), labels.read(), loss, grad, kept);
        } else {
            let [logits, labels, loss, grad] = args.take(self)?;
            let (loss, grad) = (loss.write(), grad.write());
            cpu::softmax_cross_entropy(cpu, &op, logits.read(), labels.read(), loss, grad, &mut []);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        if self.keep_f32 {
            let [logits, labels, loss, grad, kept] = args.take(self)?;
            let (loss, grad, kept) = (loss.write(), grad.write(), kept.write());
            reference::softmax_cross_entropy(&op, logits.read(), labels.read(), loss, grad, kept);
        } else {
            let [logits, labels, loss, grad] = args.take(self)?;
            let (loss, grad) = (loss.write(), grad.write());
            reference::softmax_cross_entropy(&op, logits.read(), labels.read(), loss, grad, &mut []);
        }
        Ok(())
    }

    fn compare(&self, comparison: &Comparison<'_>) -> Verdict {
        if self.logits == DType::F64 {
            return crate::op::contract::exact(&self.operands(), comparison);
        }
        let op = self.at(&comparison.step);
        let mut verdict = Verdict::default();
        let (logits, labels) = (comparison.before[0], comparison.before[1]);
        let (loss, grad) = (comparison.got[2], comparison.got[3]);
        verdict.bit_equal = comparison.want[2..] == comparison.got[2..];
        let shape = (self.grad, self.rows, self.classes, self.grad_ld);
        rows::padding(&mut verdict, "grad", shape, comparison.before[3], grad);
        for row in 0..self.rows {
            let z: Vec<f64> = (0..self.classes)
                .map(|col| load(self.logits, logits, row * self.logits_ld + col))
                .collect();
            let label = labels[row] as usize;
            let within = (label < self.classes).then(|| self.within(&z, label, &comparison.arithmetic));
            let (least, most) = z
                .iter()
                .fold((f64::MAX, f64::MIN), |(a, b), &z| (a.min(z), b.max(z)));
            let finite = z.iter().all(|z| z.is_finite()) && most - least <= f64::from(f32::MAX);
            let ieee_row = comparison.arithmetic.ieee && most.is_finite() && z.iter().all(|z| !z.is_nan());
            match &within {
                None if loss[row] & 0x7fff_ffff != 0 => {
                    rows::fail(&mut verdict, "loss", row, "a row left out: +0", loss[row]);
                }
                Some((within, _)) if (finite || ieee_row) && within.finite(DType::F32) => {
                    within.f32(&mut verdict, "loss", row as u64, loss[row]);
                }
                _ => {}
            }
            for col in 0..self.classes {
                let index = row * self.classes + col;
                let bits = load_bits(self.grad, grad, row * self.grad_ld + col);
                if self.keep_f32 && self.grad == DType::Bf16 {
                    // What was rounded must be what was kept, whatever that is.
                    let kept = comparison.got[4][index];
                    let code = bf16::encode(kept, self.rounding, op.draw.bits(index as u64), false);
                    if bits >> 16 != u32::from(code) {
                        let expected = format!("{code:#06x}, the rounding of {kept:#010x}");
                        rows::fail(&mut verdict, "grad", index, &expected, bits >> 16);
                    }
                }
                let Some((_, gradient)) = &within else {
                    if bits & 0x7fff_ffff != 0 {
                        rows::fail(&mut verdict, "grad", index, "a row left out: +0", bits);
                    }
                    continue;
                };
                if !(finite || ieee_row) || !gradient[col].finite(self.grad) {
                    continue;
                }
                if self.keep_f32 {
                    gradient[col].f32(&mut verdict, "kept", index as u64, comparison.got[4][index]);
                }
                match self.grad {
                    DType::Bf16 => {
                        gradient[col].bf16(&mut verdict, "grad", index as u64, (bits >> 16) as u16)
                    }
                    _ => gradient[col].f32(&mut verdict, "grad", index as u64, bits),
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
        include_str!("../../../shaders/softmax_cross_entropy/softmax_common.wgsl"),
        include_str!("../../../shaders/softmax_cross_entropy/softmax_cross_entropy.wgsl"),
    ],
    bindings: &[
        Binding::params(16),
        Binding::step(),
        Binding::read("logits"),
        Binding::read("labels"),
        Binding::write("loss"),
        Binding::write("grad"),
        Binding::write("kept"),
    ],
};

fn permutation(op: &SoftmaxCrossEntropy, kernel: &'static Kernel) -> Permutation {
    let half = op.grad == DType::Bf16;
    Permutation::new(kernel)
        .library(shaders::generator(op.draw.generator))
        .constant("GROUP", GROUP)
        .constant("LOGITS_HALF", op.logits == DType::Bf16)
        .constant("GRAD_HALF", half)
        .constant("STOCHASTIC", half && op.rounding == Rounding::Stochastic)
        .constant("KEEP", op.keep_f32)
}

pub(super) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let mut add = |op: &SoftmaxCrossEntropy| {
        all.push(permutation(op, &KERNEL));
        all.extend(parts::PASSES.map(|pass| permutation(op, &parts::PARTS).entry(pass)));
    };
    for logits in [DType::F32, DType::Bf16] {
        for keep_f32 in [false, true] {
            let op = SoftmaxCrossEntropy::new(1, 1, logits, DType::F32);
            let op = SoftmaxCrossEntropy { keep_f32, ..op };
            add(&op);
            let op = SoftmaxCrossEntropy {
                grad: DType::Bf16,
                ..op
            };
            add(&op);
            for generator in [Generator::Threefry, Generator::Philox] {
                let draw = Draw {
                    generator,
                    ..Draw::default()
                };
                let rounding = Rounding::Stochastic;
                add(&SoftmaxCrossEntropy { rounding, draw, ..op });
            }
        }
    }
    all
}
