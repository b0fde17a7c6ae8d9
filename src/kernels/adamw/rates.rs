//! The scalars of a step.

use super::{AdamW, OP};
use crate::error::{Error, Result};
use crate::gpu::StepValues;

/// The scalars of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) learning_rate: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) epsilon: f32,
    pub(super) weight_decay: f32,
    pub(super) correction1: f32,
    pub(super) correction2: f32,
    /// Of the gradient, where there is one.
    pub(super) factor: Option<f32>,
}

impl AdamW {
    pub(super) fn rates(&self, step: &StepValues) -> Result<Rates> {
        let factor = self.gradient_factor.then(|| step.get(OP, "gradient_factor"));
        Ok(Rates {
            learning_rate: step.get(OP, "learning_rate")?,
            beta1: step.get(OP, "beta1")?,
            beta2: step.get(OP, "beta2")?,
            epsilon: step.get(OP, "epsilon")?,
            weight_decay: step.get(OP, "weight_decay")?,
            correction1: step.get(OP, "correction1")?,
            correction2: step.get(OP, "correction2")?,
            factor: factor.transpose()?,
        })
    }

    /// Sets `correction1` and `correction2` of these step values, 1 / (1 - beta^t), for the `t`-th step that is taken,
    /// from 1 on.
    ///
    /// # Errors
    /// [`Error::Value`] for step 0, for a beta that is not set and for one outside [0, 1).
    pub fn correct(step: &mut StepValues, t: u64) -> Result<()> {
        let refuse = |what, value, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            })
        };
        if t == 0 {
            return refuse("step", "0".to_string(), "at least 1");
        }
        for (beta, correction) in [("beta1", "correction1"), ("beta2", "correction2")] {
            let value = step.get(OP, beta)?;
            if !(0.0..1.0).contains(&value) {
                return refuse(beta, value.to_string(), "a number in [0, 1)");
            }
            step.set(correction, (1.0 / (1.0 - power(value.into(), t))) as f32);
        }
        Ok(())
    }
}

/// `base` to the power `exponent`, by squaring: the same bits on every machine.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut power = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power *= base;
        }
        base *= base;
        exponent /= 2;
    }
    power
}
