//! How weights are updated.

use super::network::{MOMENTUM, SECOND, WEIGHTS, ld};
use super::places::Places;
use super::recipe::Recipe;
use super::train::TrainOptions;
use crate::error::{Error, Result};
use crate::format::random::stream;
use crate::gpu::StepValues;
use crate::kernels::{AdamW, Dropout, Sgd, SoftmaxCrossEntropy};
use crate::tensor::DType;

/// The optimizer; its state has the recipe's formats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum; the weight decay is part of the gradient.
    #[default]
    Sgd,
    /// AdamW (Loshchilov and Hutter, 2019): decay apart from the moments, the momentum of [`TrainOptions`] is not used.
    /// A bf16 second moment is rounded stochastically or compensated: to nearest it would never decay, see
    /// [`Recipe::allow_ratchet`].
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

    /// A step's values: draws go by the number of micro-steps, AdamW by that of steps, both from 1. Where steps may be left
    /// out the device has AdamW's values.
    pub(super) fn values(
        self,
        options: &TrainOptions,
        rate: f32,
        [drawn, step]: [u32; 2],
    ) -> Result<StepValues> {
        let values = StepValues::new(options.seed, drawn)
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

/// The gradients that updates read: of one batch, or their sum over micro-batches.
pub(super) fn gradient_type(places: &Places, options: &TrainOptions) -> DType {
    match options.accumulate {
        0 | 1 => places.weight_gradients,
        _ => places.gradient_sum,
    }
}

/// The update of parameter number `id`, of so many rows and columns, in a layer of these places.
pub(super) fn sgd(
    places: &Places,
    options: &TrainOptions,
    factor: bool,
    id: u32,
    [rows, cols]: [usize; 2],
) -> Sgd {
    let gradient = gradient_type(places, options);
    Sgd {
        copy_ld: places.master.map(|_| ld(places.weights, cols)),
        compensation_ld: places.compensation.map(|dtype| ld(dtype, cols)),
        y_rounding: places.rounding,
        rounding: places.momentum_rounding,
        generator: options.generator,
        w_stream: stream(WEIGHTS, id),
        v_stream: stream(MOMENTUM, id),
        gradient_factor: factor,
        ..Sgd::new(rows, cols, [gradient, places.updated(), places.momentum])
    }
}

/// The same by AdamW. What rounding of the second moment is right was checked before.
pub(super) fn adamw(
    places: &Places,
    options: &TrainOptions,
    factor: bool,
    id: u32,
    [rows, cols]: [usize; 2],
) -> AdamW {
    let gradient = gradient_type(places, options);
    let op = AdamW::new(
        rows,
        cols,
        [gradient, places.updated(), places.momentum, places.second],
    );
    AdamW {
        copy_ld: places.master.map(|_| ld(places.weights, cols)),
        compensation_ld: places.compensation.map(|dtype| ld(dtype, cols)),
        w_rounding: places.rounding,
        m_rounding: places.momentum_rounding,
        v_rounding: places.second_rounding,
        allow_nearest_v: true,
        v_compensated: places.second_compensation.is_some(),
        // Pairs lie as twice as many columns do.
        v_ld: match places.second_compensation {
            Some(dtype) => ld(dtype, 2 * cols) / 2,
            None => op.v_ld,
        },
        generator: options.generator,
        w_stream: stream(WEIGHTS, id),
        m_stream: stream(MOMENTUM, id),
        v_stream: stream(SECOND, id),
        gradient_factor: factor,
        ..op
    }
}
