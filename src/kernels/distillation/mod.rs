//! `distillation`: a classifier's loss on a teacher's softened distribution and on labels, and its gradient, one pass
//! over the rows of both logits (Hinton, Vinyals and Dean, 2015).
//!
//! # The bound
//! WGSL: exp within 3 + 2 abs(x) ulp, division within 2.5 ulp, log within 2^-21 absolutely in [0.5, 2] and within
//! 3 ulp elsewhere, additions, subtractions and products within one rounding of either neighbour (u = 2^-23;
//! 2^-24 on the CPU device, whose exp and log are within 1 ulp); one ulp is at most 2^-23 of the result, or
//! 2^-149; whatever is below 2^-126 may flush (eta). Every value below is carried with how far it may be off:
//!
//! - z - max z by u abs(z - max z) + 3 eta (a maximum may be a flushed subnormal, and nothing depends on it in exact
//!   arithmetic); over T by 2.5 ulp more; exp by how far its argument moves it and its ulps; sums of n by
//!   (1 + u)^n - 1 of their size and error; a share e / s by (e + E) / (s - S) (1 + 2.5 * 2^-23) - e / s; log s by
//!   log s - log(s - S) and its own error;
//! - d = (v / T - log sum p) - (z / T - log sum q) by the errors of its parts and three roundings: D;
//! - h(d) = d + exp(-d) - 1 by the series, for abs(d) < 1/4: D times the largest slope, which is at most
//!   exp(abs(d) + D) - 1; the first term left out, 2 d^6 / 40320 < 2^-26 of h; and at most 4 u of h: with constants
//!   rounded, r_k = c_k - d r_(k+1) has a relative error e_k <= 2.2 u + 0.09 (e_(k+1) + u), as
//!   abs(d r_(k+1) / r_k) <= 0.09, so that e_0 (whose constant is exact) is at most 1.4 u, and there are two products
//!   more. Together 5 u;
//! - p h elsewhere as p d + (q - p), the same number; near 1/4, where either may be taken, the larger bound;
//! - loss and gradient by their products and sums, the constants (1 - alpha) T and (1 - alpha) T^2 being rounded once.
//!
//! In f64 the class is exact: the CPU device does the reference's operations on each row, in their order.

mod bound;
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
    Args, Arithmetic, Contract, Judge, Kept, Lent, Op, Output, Scalar, Table, Within, Work, check_floats,
};
use crate::tensor::{DType, View};

/// `alpha CE(labels, z) + (1 - alpha) T^2 KL(softmax(v / T) || softmax(z / T))` of every row, with z the student's logits
/// and v the teacher's, and its gradient with respect to z,
/// `(alpha (softmax(z) - onehot) + (1 - alpha) T (softmax(z / T) - softmax(v / T))) * scale`. Operands: `logits`
/// (rows x classes), `teacher` (the same), `labels` (u32), `loss` (one per row, f32; f64 for f64 logits; not scaled),
/// `grad` (rows x classes), and with `keep_f32` also `kept`.
///
/// A row labelled [`Distillation::UNLABELLED`] has the second term alone, weighted as in every other row: it learns from
/// the teacher only. Any other label that is no class (`u32::MAX`, say) leaves its row out: loss and gradient are +0.
///
/// The divergence is summed as `p h(d)`, with d the difference of the logarithms and `h(d) = d + exp(-d) - 1`, which
/// is never negative and keeps its digits at high temperatures. Logits within 10,000 and temperatures from 0.1 to 1000
/// are what it is made for.
///
/// Composite class; the bound is derived in `src/kernels/distillation/mod.rs`. Rows with a NaN give NaN on the CPU
/// device; rows with an Inf, or logits further apart than a quarter of the largest f32 (times the temperature, if that is
/// below 1), promise nothing, and rows with either nothing on a GPU. In f64 the class is exact.
///
/// | variant | when | why |
/// |---|---|---|
/// | `row` | f32, bf16 | one row per invocation, nothing stored between its passes |
///
/// Rows of more classes than one dispatch may walk (or one binding holds) are walked in parts, with what a row has so
/// far in scratch memory: the same operations in the same order, and so the same bits and the same bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Distillation {
    /// Rows: the size of the batch.
    pub rows: usize,
    /// Classes, at least 1.
    pub classes: usize,
    /// Type of `logits`: `F32`, `Bf16` or `F64`.
    pub logits: DType,
    /// Elements from one row of `logits` to the next: at least `classes`, even for bf16.
    pub logits_ld: usize,
    /// Type of `teacher`: `F32`, `Bf16`, or `F64` where `logits` is.
    pub teacher: DType,
    /// Elements from one row of `teacher` to the next: at least `classes`, even for bf16.
    pub teacher_ld: usize,
    /// Type of `grad`: `F32`, `Bf16`, or `F64` where `logits` is.
    pub grad: DType,
    /// Elements from one row of `grad` to the next: at least `classes`, even for bf16.
    pub grad_ld: usize,
    /// T, from 0.01 to 10,000.
    pub temperature: Scalar,
    /// The weight of the labels, from 0 to 1.
    pub alpha: Scalar,
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

/// What is written; `kept` is empty unless the operation keeps it.
#[derive(Debug)]
struct Results<'a> {
    loss: &'a mut [u32],
    grad: &'a mut [u32],
    kept: &'a mut [u32],
}

const OP: &str = "distillation";

impl Distillation {
    /// The name of the step value, a power of two, that the scale of the gradient is multiplied by: the loss scale.
    pub const LOSS_SCALE: &'static str = "loss_scale";

    /// The label of a row that has none and learns from the teacher alone.
    pub const UNLABELLED: u32 = u32::MAX - 1;

    /// Of `rows` rows with the leading dimensions a `Tensor` uses, at temperature 1, the labels not weighted; a teacher of
    /// f32 (f64 for f64 logits), the gradient of the mean loss, to nearest.
    #[must_use]
    pub fn new(rows: usize, classes: usize, logits: DType, grad: DType) -> Self {
        let teacher = match logits {
            DType::F64 => DType::F64,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => DType::F32,
        };
        Self {
            rows,
            classes,
            logits,
            logits_ld: logits.row_ld(classes),
            teacher,
            teacher_ld: teacher.row_ld(classes),
            grad,
            grad_ld: grad.row_ld(classes),
            temperature: Scalar::new(1.0),
            alpha: Scalar::new(0.0),
            scale: Scalar::new(1.0 / rows.max(1) as f32),
            loss_scale: Scalar::new(1.0),
            rounding: Rounding::Nearest,
            draw: Draw::default(),
            keep_f32: false,
        }
    }

    /// The same at a temperature, with the labels weighted by alpha and the teacher by the rest.
    #[must_use]
    pub fn with(mut self, temperature: f32, alpha: f32) -> Self {
        (self.temperature, self.alpha) = (temperature.into(), alpha.into());
        self
    }

    /// What the difference of the softened distributions is multiplied by.
    fn pull(&self) -> f64 {
        (1.0 - f64::from(self.alpha)) * f64::from(self.temperature)
    }

    /// What the divergence is multiplied by.
    fn soft(&self) -> f64 {
        self.pull() * f64::from(self.temperature)
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

    fn teacher(&self) -> View {
        View::new(self.teacher, self.rows, self.classes, self.teacher_ld)
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

    /// The bound of one row: its loss and its gradient.
    fn row(&self, [z, v]: [&[f64]; 2], label: u32, arithmetic: &Arithmetic) -> (Within, Vec<Within>) {
        let all = |exact: f64, bound: f64| {
            let within = Within { exact, bound };
            (within, vec![within; self.classes])
        };
        let class = Some(label as usize).filter(|label| *label < self.classes);
        if class.is_none() && label != Self::UNLABELLED {
            return all(0.0, 0.0);
        }
        if z.iter().chain(v).any(|x| x.is_nan()) {
            return all(f64::NAN, f64::INFINITY);
        }
        let reach = f64::from(f32::MAX) / 4.0 * f64::from(self.temperature).min(1.0);
        let near = |x: &[f64]| {
            let (least, most) = x
                .iter()
                .fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
            most - least <= reach && least.is_finite() && most.is_finite()
        };
        match near(z) && near(v) {
            true => bound::row(self, [z, v], class, arithmetic),
            false => all(0.0, f64::INFINITY),
        }
    }

    /// Holds the losses and the gradient, as it is stored and as it was kept, to the bound.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let at = self.at(judge.step()).unwrap_or(*self);
        let both = [
            (self.logits(), judge.before("logits")),
            (self.teacher(), judge.before("teacher")),
        ];
        let labels = &judge.before("labels")[..self.rows];
        let rows: Vec<_> = labels
            .iter()
            .enumerate()
            .map(|(row, &label)| {
                let [z, v] = both.map(|(view, words)| -> Vec<f64> {
                    (0..self.classes).map(|col| view.load(words, row, col)).collect()
                });
                at.row([&z, &v], label, judge.arithmetic())
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

    /// Operands that are read, and what is written, for one of the hosts.
    fn hosted(&self, args: Args<'_>, run: impl FnOnce([&[u32]; 3], Results<'_>)) -> Result<()> {
        let results = |loss: Lent<'_>, grad: Lent<'_>, kept: Option<Lent<'_>>, read: [&[u32]; 3]| {
            let kept = match kept {
                Some(kept) => kept.write()?,
                None => &mut [],
            };
            let (loss, grad) = (loss.write()?, grad.write()?);
            run(read, Results { loss, grad, kept });
            Ok(())
        };
        if self.keep_f32 {
            let [logits, teacher, labels, loss, grad, kept] = args.take(self)?;
            let read = [logits.read(), teacher.read(), labels.read()];
            results(loss, grad, Some(kept), read)
        } else {
            let [logits, teacher, labels, loss, grad] = args.take(self)?;
            results(loss, grad, None, [logits.read(), teacher.read(), labels.read()])
        }
    }
}

impl Op for Distillation {
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
            "{}x{} {}/{}->{}{rounding} T {} alpha {}{kept}",
            self.rows, self.classes, self.logits, self.teacher, self.grad, self.temperature, self.alpha
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let mut operands = vec![
            OperandSpec::read("logits", self.logits().words()),
            OperandSpec::read("teacher", self.teacher().words()),
            OperandSpec::read("labels", self.rows as u64),
            OperandSpec::write("loss", self.loss().words()),
            OperandSpec::write("grad", self.grad().words()),
        ];
        operands.extend(self.kept().map(|kept| OperandSpec::write("kept", kept.words())));
        operands
    }

    fn check(&self) -> Result<()> {
        check_floats(
            OP,
            &[
                ("logits", self.logits),
                ("teacher", self.teacher),
                ("grad", self.grad),
            ],
        )?;
        self.logits().check(OP, "logits")?;
        self.teacher().check(OP, "teacher")?;
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
        // A NaN is in no range.
        if !(0.01..=10_000.0).contains(&self.temperature.get()) {
            return refuse(
                "temperature",
                self.temperature.to_string(),
                "a number from 0.01 to 10,000",
            );
        }
        if !(0.0..=1.0).contains(&self.alpha.get()) {
            return refuse("alpha", self.alpha.to_string(), "a number from 0 to 1");
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
        let bits = self.logits.bits() + self.teacher.bits() + self.grad.bits();
        Work {
            bf16: false,
            flops: elements * 24.0,
            int_ops: 0.0,
            bytes: elements * f64::from(bits) / 8.0 + rows * 8.0,
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
        self.hosted(args, |read, results| cpu::distillation(cpu, &op, read, results))
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step)?;
        self.hosted(args, |read, results| reference::distillation(&op, read, results))
    }
}
