//! `softmax_cross_entropy`: the loss of a classifier and its gradient, one pass over the logits' rows.
//!
//! # The bound
//! WGSL: exp within 3 + 2 abs(x) ulp, division within 2.5 ulp, log within 2^-21 absolutely in [0.5, 2] and within
//! 3 ulp elsewhere, additions, subtractions and products within one rounding of either neighbour (u = 2^-23;
//! 2^-24 on the CPU device, whose exp and log are within 1 ulp); one ulp is at most 2^-23 of the result, or
//! 2^-149; whatever is below 2^-126 may flush. In exact arithmetic the result does not depend on what is
//! subtracted, so m may be off by a flushed subnormal. With d = z - m, n classes:
//!
//! - d is off by D = u abs(d) + 3 eta; exp(d) = e by E = exp(d + D) - e + (3 + 2 (abs(d) + D))
//!   max(2^-23 exp(d + D), 2^-149) + eta;
//! - s = sum e by S = sum E + ((1 + u)^n - 1) (s + sum E);
//! - p = e / s by P = (e + E) / (s - S) (1 + 2.5 * 2^-23) - e / s + eta (the other side is nearer);
//! - q = p - onehot by Q = P + u (abs(q) + P) + eta; the gradient q * scale by
//!   abs(scale) Q + u abs(scale) (abs(q) + Q) + eta (1 + abs(q));
//! - log s by L = log(s) - log(s - S) + max(3 * 2^-23 (abs(log s) + that), 2^-21 if s - S < 2); t = z_label - m
//!   by D; the loss log s - t by L + D + u (abs(loss) + L + D) + eta.
//!
//! In f64 the class is exact: the CPU device does the reference's operations on each row, in their order.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::Draw;
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{
    Args, Arithmetic, Contract, Judge, Kept, Op, Output, Scalar, Table, Within, Work, check_floats,
};
use crate::tensor::{DType, View};

/// Cross entropy of `softmax(logits)` with one class per row, and its gradient with respect to the logits,
/// `(softmax - onehot) * scale`, the scale being times a step value ([`SoftmaxCrossEntropy::LOSS_SCALE`]). Operands: `logits` (rows x classes), `labels` (u32), `loss` (one per row, f32;
/// f64 for f64 logits; not scaled), `grad` (rows x classes), and with `keep_f32` also `kept`.
///
/// A label that is no class (`u32::MAX`, say) leaves its row out: loss and gradient are +0.
///
/// Composite class; the bound is derived in `src/kernels/softmax_cross_entropy/mod.rs`. Rows with a NaN, an Inf, or
/// logits further apart than the largest f32 follow IEEE on the CPU device and may hold anything on a GPU. In f64 the
/// class is exact.
///
/// | variant | when | why |
/// |---|---|---|
/// | `row` | f32, bf16 | one row per invocation, nothing stored between its passes |
///
/// A classifier's last layer is the smallest of a network: there is nothing to gain beyond that. Rows of more classes
/// than one dispatch may walk (or one binding holds) are walked in parts, with the running maximum and sum in scratch
/// memory: the same operations in the same order, and so the same bits and the same bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    pub scale: Scalar,
    /// The step value that it starts with: a power of two, which the scale is multiplied by.
    pub loss_scale: Scalar,
    /// How the gradient is rounded to bf16.
    pub rounding: Rounding,
    /// Where stochastic rounding draws from; the index is `row * classes + class`.
    pub draw: Draw,
    /// Also write the f32 gradient before rounding to a last operand `kept` (rows * classes): a test build.
    pub keep_f32: bool,
}

const OP: &str = "softmax_cross_entropy";

impl SoftmaxCrossEntropy {
    /// The name of the step value, a power of two, that the scale of the gradient is multiplied by: the loss scale.
    pub const LOSS_SCALE: &'static str = "loss_scale";

    /// Of `rows` rows with the leading dimensions a `Tensor` uses, the gradient of the mean loss, to nearest.
    #[must_use]
    pub fn new(rows: usize, classes: usize, logits: DType, grad: DType) -> Self {
        Self {
            rows,
            classes,
            logits,
            logits_ld: logits.row_ld(classes),
            grad,
            grad_ld: grad.row_ld(classes),
            scale: Scalar::new(1.0 / rows.max(1) as f32),
            loss_scale: Scalar::new(1.0),
            rounding: Rounding::Nearest,
            draw: Draw::default(),
            keep_f32: false,
        }
    }

    /// With the draw and the scale of a step.
    fn at(&self, step: &StepValues) -> Result<Self> {
        let draw = step.draw(self.draw);
        let scale = (self.scale.get() * step.get(OP, Self::LOSS_SCALE)?).into();
        Ok(Self { draw, scale, ..*self })
    }

    fn logits(&self) -> View {
        View::new(self.logits, self.rows, self.classes, self.logits_ld)
    }

    fn loss(&self) -> View {
        let dtype = match self.logits {
            DType::F64 => DType::F64,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
        };
        View::vector(dtype, self.rows)
    }

    fn grad(&self) -> View {
        View::new(self.grad, self.rows, self.classes, self.grad_ld)
    }

    /// The layout of the gradient before rounding.
    fn kept(&self) -> Option<View> {
        let view = View::new(DType::F32, self.rows, self.classes, self.classes);
        self.keep_f32.then_some(view)
    }

    /// The bound of one row: its loss and its gradient; a label that is no class leaves it out.
    fn row(&self, z: &[f64], label: usize, arithmetic: &Arithmetic) -> (Within, Vec<Within>) {
        if label >= self.classes {
            let nothing = Within {
                exact: 0.0,
                bound: 0.0,
            };
            return (nothing, vec![nothing; self.classes]);
        }
        let (mut loss, mut gradient) = self.within(z, label, arithmetic);
        let (least, most) = z
            .iter()
            .fold((f64::MAX, f64::MIN), |(a, b), &z| (a.min(z), b.max(z)));
        let finite = z.iter().all(|z| z.is_finite()) && most - least <= f64::from(f32::MAX);
        let ieee = arithmetic.ieee && most.is_finite() && z.iter().all(|z| !z.is_nan());
        if !finite && !ieee {
            // What is left is the NaN that IEEE devices owe.
            for within in gradient.iter_mut().chain([&mut loss]) {
                within.bound = f64::INFINITY;
            }
        }
        (loss, gradient)
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
                    let (e, high) = (d.exp(), (d + off(d)).exp());
                    let ulps = 3.0 + 2.0 * (d.abs() + off(d));
                    (e, high - e + ulps * (ULP * high).max(least) + eta)
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

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let rounding = match self.grad {
            DType::Bf16 => format!(" {}", self.rounding),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => String::new(),
        };
        let kept = if self.keep_f32 { " kept" } else { "" };
        format!(
            "{}x{} {}->{}{rounding}{kept}",
            self.rows, self.classes, self.logits, self.grad
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut operands = vec![
            OperandSpec::read("logits", self.logits().words()),
            OperandSpec::read("labels", self.rows as u64),
            OperandSpec::write("loss", self.loss().words()),
            OperandSpec::write("grad", self.grad().words()),
        ];
        operands.extend(self.kept().map(|kept| OperandSpec::write("kept", kept.words())));
        operands
    }

    fn check(&self) -> Result<()> {
        check_floats(OP, &[("logits", self.logits), ("grad", self.grad)])?;
        self.logits().check(OP, "logits")?;
        self.grad().check(OP, "grad")?;
        crate::op::check_rounding(OP, self.rounding)?;
        let refuse = |what, value, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            })
        };
        if self.classes == 0 {
            return refuse("classes", "0".to_string(), "at least 1");
        }
        if !self.scale.get().is_finite() {
            return refuse("scale", self.scale.to_string(), "a finite number");
        }
        Ok(())
    }

    fn contract(&self) -> Contract<'_> {
        match self.logits {
            DType::F64 => Contract::Exact,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                Contract::composite(|judge| self.judge(judge))
            }
        }
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
        StepValues::new(self.draw.seed, self.draw.step).with(Self::LOSS_SCALE, self.loss_scale.get())
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("logits", self.logits), ("grad", self.grad)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step)?;
        if self.keep_f32 {
            let [logits, labels, loss, grad, kept] = args.take(self)?;
            let (loss, grad, kept) = (loss.write()?, grad.write()?, kept.write()?);
            cpu::softmax_cross_entropy(cpu, &op, logits.read(), labels.read(), loss, grad, kept);
        } else {
            let [logits, labels, loss, grad] = args.take(self)?;
            let (loss, grad) = (loss.write()?, grad.write()?);
            cpu::softmax_cross_entropy(cpu, &op, logits.read(), labels.read(), loss, grad, &mut []);
        }
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step)?;
        if self.keep_f32 {
            let [logits, labels, loss, grad, kept] = args.take(self)?;
            let (loss, grad, kept) = (loss.write()?, grad.write()?, kept.write()?);
            reference::softmax_cross_entropy(&op, logits.read(), labels.read(), loss, grad, kept);
        } else {
            let [logits, labels, loss, grad] = args.take(self)?;
            let (loss, grad) = (loss.write()?, grad.write()?);
            reference::softmax_cross_entropy(&op, logits.read(), labels.read(), loss, grad, &mut []);
        }
        Ok(())
    }
}

impl SoftmaxCrossEntropy {
    /// Holds the losses and the gradient, as it is stored and as it was kept, to the bound.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let at = self.at(judge.step()).unwrap_or(*self);
        let (logits, z) = (self.logits(), judge.before("logits"));
        let rows: Vec<_> = judge.before("labels")[..self.rows]
            .iter()
            .enumerate()
            .map(|(row, label)| {
                let z: Vec<_> = (0..self.classes).map(|col| logits.load(z, row, col)).collect();
                at.row(&z, *label as usize, judge.arithmetic())
            })
            .collect();
        let draw = at.draw;
        let rounded = |bits, index| match self.grad {
            DType::Bf16 => u32::from(bf16::encode(bits, self.rounding, draw.bits(index))) << 16,
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
        };
        let kept = self.kept().map(|view| Kept {
            operand: "kept",
            view,
            rounded: &rounded,
        });
        let gradient = |row: usize, col: usize| rows[row].1[col];
        let judge = judge
            .composite(Output::new("loss", self.loss()), |_, row| rows[row].0, None)
            .composite(Output::new("grad", self.grad()), gradient, kept);
        match self.kept() {
            Some(view) => judge.composite(Output::new("kept", view), gradient, None),
            None => judge,
        }
    }
}
