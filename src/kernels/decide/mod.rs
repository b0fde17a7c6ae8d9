//! `decide`: whether a step of training is taken, what its gradients are multiplied by, and the loss scale after it,
//! decided where the gradients are.
//!
//! # The bound
//! State and loss scale are whole numbers and powers of two, and exact. With u the unit roundoff, ulp = 2^-23, and WGSL's
//! sqrt within 5 ulp (1 / inverseSqrt, 2.5 ulp each) and division within 2.5 ulp:
//!
//! - the sum of n squares, all of one sign, is off by (1 + u)^n - 1 of itself, its root by half of that and 5 ulp; times
//!   and over powers of two it is exact; clip over it 2.5 ulp more. The factor is the lesser of that and 1, both over the
//!   scale: off by (1 + u)^n - 1 + 8 ulp of itself (the halves leave room for products of errors), and eta for one that is
//!   subnormal. Near the limit either may be taken: they are as near to each other;
//! - where the sum is not within 2^-100..2^126 nothing is promised of the factor where subnormals flush;
//! - a correction is 1 over a number of 64 bits cut to 24 on a GPU, 1 ulp, divided, 2.5 ulp: 4 ulp; to nearest elsewhere.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;
#[cfg(test)]
mod tests;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{Args, Contract, Judge, Op, Output, Scalar, Table, Within, check_floats, check_limit};
use crate::tensor::{DType, View};

const OP: &str = "decide";

/// What a step of training does with its gradients, from the sums of their squares ([`Squares`](super::Squares), one slot
/// a parameter). Operands: `squares`, `state` (u32, [`Decide::STATE`] words and one for each layer), `values` (f32: the
/// gradient's factor, the loss scale, and with `betas` AdamW's two corrections).
///
/// Where no gradient has a number that is not finite, the step is taken: the state's word [`Decide::TAKES`] is 1, the
/// factor is `min(1, clip / norm) / scale` with `norm` the root of all squares over the scale, the steps taken are counted,
/// and the corrections are `1 / (1 - beta^t)` for that count t. After `growth` such steps in a row the loss scale is
/// doubled, up to 2^126.
///
/// Where some gradient has one, the step is left out: the word is 0, factor and corrections stay as they are, and the
/// layers concerned remember the step's number, if it is their first. With a loss scale that is halved, and the step
/// counted among those skipped. Without one, or where it would fall below 2^-14, the training has failed: the state has the
/// step's number for good, and no further step is taken or changes anything.
///
/// Powers of the betas are kept as 64 bits behind the point, each product cut off: off by 2^-64 a step.
///
/// Composite class: state and loss scale are exact, factor and corrections within the bound derived in
/// `src/kernels/decide/mod.rs`. A sum that is infinite though its numbers are finite makes the factor 0 where there is a
/// limit.
///
/// | variant | when | why |
/// |---|---|---|
/// | `group` | always but f64 | one workgroup: there are few parameters |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Decide {
    /// The type that the sums of squares are in: `F32`, or `F64` where the gradients are.
    pub sums: DType,
    /// Parameters: slots of `squares`.
    pub parameters: usize,
    /// How many of them a layer has, in order; the last layer may have fewer.
    pub per_layer: usize,
    /// The most that the norm of the gradients may be.
    pub clip: Option<Scalar>,
    /// Steps in a row without a number that is not finite before the loss scale is doubled; `None` where the loss is not
    /// scaled.
    pub growth: Option<u32>,
    /// AdamW's betas, each in 0..1.
    pub betas: Option<[Scalar; 2]>,
    /// The step's number, from 1.
    pub step: StepValues,
}

impl Decide {
    /// Words of the state before those of the layers.
    pub const STATE: usize = 10;
    /// The word of the state that is 1 where the step is taken.
    pub const TAKES: u64 = 0;
    /// The word of the state that is the loss scale's exponent, with its sign.
    pub const EXPONENT: usize = 1;
    /// The word of the state that counts the steps left out.
    pub const SKIPPED: usize = 3;
    /// The word of the state that is the step which ended the training, or 0.
    pub const FAILED: usize = 5;
    /// The least exponent of a loss scale: a gradient that is not finite there is no matter of scale.
    const LEAST: i32 = -14;
    /// The largest, so that the scale's reciprocal is a normal number.
    pub const MOST: i32 = 126;

    /// For parameters in layers of so many, without a limit, a loss scale, or betas.
    #[must_use]
    pub fn new(parameters: usize, per_layer: usize, sums: DType) -> Self {
        Self {
            sums,
            parameters,
            per_layer,
            clip: None,
            growth: None,
            betas: None,
            step: StepValues::new(0, 1),
        }
    }

    /// Layers, the last one perhaps of fewer parameters.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.parameters.div_ceil(self.per_layer.max(1))
    }

    /// The state before the first step, at a loss scale of 2^exponent.
    #[must_use]
    pub fn start(&self, exponent: i32) -> Vec<u32> {
        let mut state = vec![0; Self::STATE + self.layers()];
        state[1] = exponent.clamp(Self::LEAST, Self::MOST).cast_unsigned();
        state
    }

    /// Words of a slot of `squares`.
    fn slot(&self) -> usize {
        match self.sums {
            DType::F64 => 3,
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => 2,
        }
    }

    /// A beta as 64 bits behind the point, cut off.
    fn fixed(beta: Scalar) -> u64 {
        (f64::from(beta) * 18_446_744_073_709_551_616.0) as u64
    }

    fn values(&self) -> u64 {
        if self.betas.is_some() { 4 } else { 2 }
    }

    /// Where the step is taken: factor and corrections to their bounds. All else is held to the reference's bits.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        const ULP: f64 = 1.0 / 8_388_608.0;
        let (squares, state, arithmetic) = (
            judge.before("squares"),
            judge.before("state"),
            *judge.arithmetic(),
        );
        let slots = squares.chunks_exact(self.slot()).take(self.parameters);
        let broken = slots.clone().any(|slot| slot[self.slot() - 1] > 0);
        if broken || state[5] > 0 {
            return judge;
        }
        let value = |slot: &[u32]| match self.sums {
            DType::F64 => f64::from_bits(u64::from(slot[0]) | u64::from(slot[1]) << 32),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => f64::from(f32::from_bits(slot[0])),
        };
        // Of nothing 0, not the -0 of an empty sum.
        let total = slots.map(value).fold(0.0, |total, value| total + value);
        let scale = f64::exp2(f64::from(state[1].cast_signed()));
        let mut factor = Within {
            exact: 1.0 / scale,
            bound: 0.0,
        };
        if let Some(clip) = self.clip {
            let gamma = (self.parameters as f64 * arithmetic.unit.ln_1p()).exp_m1();
            factor.exact *= (f64::from(clip) * scale / total.sqrt()).min(1.0);
            factor.bound = factor.exact * (gamma + 8.0 * ULP) + arithmetic.eta;
            let usual = f64::exp2(-100.0)..f64::exp2(126.0);
            if arithmetic.flushes && total > 0.0 && total.is_finite() && !usual.contains(&total) {
                factor.bound = f64::INFINITY;
            }
        }
        let one = View::vector(DType::F32, 1);
        let judge = judge.composite(Output::new("values", one), |_, _| factor, None);
        let Some(betas) = self.betas else {
            return judge;
        };
        let corrections = [0, 1].map(|at| {
            let beta = Self::fixed(betas[at]);
            let before = u64::from(state[6 + 2 * at]) | u64::from(state[7 + 2 * at]) << 32;
            let power = match state[4] {
                0 => beta,
                _ => ((u128::from(before) * u128::from(beta)) >> 64) as u64,
            };
            let exact = 1.0 / (1.0 - power as f64 / 18_446_744_073_709_551_616.0);
            let bound = 4.0 * ULP * exact;
            Within { exact, bound }
        });
        let output = Output {
            operand: "values",
            first: 2,
            view: View::vector(DType::F32, 2),
        };
        judge.composite(output, |_, col| corrections[col], None)
    }
}

impl Op for Decide {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let with = |what: &str, there: bool| if there { format!(" {what}") } else { String::new() };
        format!(
            "{} {} by {}{}{}{}",
            self.parameters,
            self.sums,
            self.per_layer,
            with("clipped", self.clip.is_some()),
            with("scaled", self.growth.is_some()),
            with("corrected", self.betas.is_some())
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read(
                "squares",
                (self.slot() as u64).saturating_mul(self.parameters as u64),
            ),
            OperandSpec::update("state", (Self::STATE + self.layers()) as u64),
            OperandSpec::update("values", self.values()),
        ]
    }

    fn check(&self) -> Result<()> {
        check_floats(OP, &[("squares", self.sums)])?;
        check_limit(OP, "parameters", self.parameters as u64, 1 << 24)?;
        let refuse = |what, value: String, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            })
        };
        if self.sums == DType::Bf16 {
            return refuse("type of the sums", self.sums.to_string(), "f32 or f64");
        }
        if self.per_layer == 0 {
            return refuse("parameters of a layer", "0".to_string(), "at least 1");
        }
        // A NaN is above nothing.
        if let Some(clip) = self
            .clip
            .filter(|clip| !(clip.get() > 0.0 && clip.get().is_finite()))
        {
            return refuse("clip", clip.to_string(), "a finite number above 0");
        }
        for beta in self.betas.into_iter().flatten() {
            if !(0.0..1.0).contains(&beta.get()) {
                return refuse("beta", beta.to_string(), "0 or more and below 1");
            }
        }
        Ok(())
    }

    fn contract(&self) -> Contract<'_> {
        Contract::composite(|judge| self.judge(judge))
    }

    fn step_values(&self) -> StepValues {
        self.step.clone()
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &[("squares", self.sums)])
    }

    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        let number = args.step.number;
        let [squares, state, values] = args.take(self)?;
        cpu::decide(self, number, squares.read(), state.write()?, values.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let number = args.step.number;
        let [squares, state, values] = args.take(self)?;
        reference::decide(self, number, squares.read(), state.write()?, values.write()?);
        Ok(())
    }
}
