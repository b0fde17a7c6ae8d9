//! How weights are updated.

use super::network::{MOMENTUM, SECOND, WEIGHTS, ld};
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::error::{Error, Result};
use crate::format::random::stream;
use crate::gpu::StepValues;
use crate::kernels::{AdamW, Dropout, Sgd, SoftmaxCrossEntropy};

/// The optimizer; its state has the recipe's format of momentum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; the weight decay is part of the gradient.
    #[default]
    Sgd,
    /// AdamW (Loshchilov and Hutter, 2019): decay apart from the moments, the momentum of [`TrainOptions`] is not used.
    /// A bf16 second moment is rounded stochastically whatever the recipe says: to nearest it would never decay.
    AdamW {
        /// How much of the first moment stays, in 0..1.
        beta1: f32,
        /// How much of the second moment stays, in 0..1.
        beta2: f32,
        /// What the root of the second moment is raised by.
        epsilon: f32,
    },
}

impl Optimizer {
    /// AdamW with beta1 0.9, beta2 0.999 and epsilon 1e-8.
    #[must_use]
    pub const fn adamw() -> Self {
        Self::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }

    pub(super) fn check(self) -> Result<()> {
        let Self::AdamW {
            beta1,
            beta2,
            epsilon,
        } = self
        else {
            return Ok(());
        };
        let refuse = |what, value: f32, expected| {
            Err(Error::Value {
                op: "train",
                what,
                value: value.to_string(),
                expected,
            })
        };
        for (what, beta) in [("beta1", beta1), ("beta2", beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(what, beta, "0 or more and below 1");
            }
        }
        match epsilon.is_finite() && epsilon > 0.0 {
            true => Ok(()),
            false => refuse("epsilon", epsilon, "a finite number above 0"),
        }
    }

    /// A step's values: draws go by its number, from 1, and AdamW by how many steps were taken, which is the same where
    /// none is left out; elsewhere the device has its values.
    pub(super) fn values(self, options: &TrainOptions, rate: f32, step: u32) -> Result<StepValues> {
        let values = StepValues::new(options.seed, step)
            .with("learning_rate", rate)
            .with("weight_decay", options.weight_decay)
            .with(Dropout::TRAINING, 1.0)
            .with(SoftmaxCrossEntropy::LOSS_SCALE, 1.0);
        match self {
            Self::Sgd => Ok(values.with("momentum", options.momentum)),
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
            } => {
                let mut values = values
                    .with("beta1", beta1)
                    .with("beta2", beta2)
                    .with("epsilon", epsilon);
                AdamW::correct(&mut values, step.into())?;
                Ok(values)
            }
        }
    }
}

/// Whether all gradients are looked at, and a factor is found, before any is used.
pub(super) fn held(recipe: &Recipe, options: &TrainOptions) -> bool {
    recipe.loss_scale.is_some() || options.clip.is_some()
}

/// The update of parameter number `id`, of so many rows and columns.
pub(super) fn sgd(recipe: &Recipe, options: &TrainOptions, id: u32, [rows, cols]: [usize; 2]) -> Sgd {
    let weights = recipe.master.unwrap_or(recipe.weights);
    Sgd {
        copy_ld: recipe.master.map(|_| ld(recipe.weights, cols)),
        compensation_ld: recipe.compensation.map(|dtype| ld(dtype, cols)),
        y_rounding: recipe.rounding,
        rounding: recipe.momentum_rounding,
        generator: options.generator,
        w_stream: stream(WEIGHTS, id),
        v_stream: stream(MOMENTUM, id),
        gradient_factor: held(recipe, options),
        ..Sgd::new(rows, cols, [recipe.gradients, weights, recipe.momentum])
    }
}

/// The same by AdamW.
pub(super) fn adamw(recipe: &Recipe, options: &TrainOptions, id: u32, [rows, cols]: [usize; 2]) -> AdamW {
    let weights = recipe.master.unwrap_or(recipe.weights);
    let moments = recipe.momentum;
    AdamW {
        copy_ld: recipe.master.map(|_| ld(recipe.weights, cols)),
        compensation_ld: recipe.compensation.map(|dtype| ld(dtype, cols)),
        w_rounding: recipe.rounding,
        m_rounding: recipe.momentum_rounding,
        generator: options.generator,
        w_stream: stream(WEIGHTS, id),
        m_stream: stream(MOMENTUM, id),
        v_stream: stream(SECOND, id),
        gradient_factor: held(recipe, options),
        ..AdamW::new(rows, cols, [recipe.gradients, weights, moments, moments])
    }
}
