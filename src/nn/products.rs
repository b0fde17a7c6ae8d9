//! How the products of a layer are made, as data.

use crate::format::{Format, Rounding};

/// How an operand of products is encoded: from what it is stored as, once for each axis that a product sums along, and
/// never from other codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Coding {
    /// Elements and scales, in blocks along the axis that is summed.
    pub format: Format,
    /// How codes are rounded.
    pub rounding: Rounding,
}

impl Coding {
    /// Codes of a format, rounded to nearest.
    #[must_use]
    pub const fn nearest(format: Format) -> Self {
        Self {
            format,
            rounding: Rounding::Nearest,
        }
    }

    /// Codes of a format, rounded stochastically: each product's draws are its own.
    #[must_use]
    pub const fn stochastic(format: Format) -> Self {
        Self {
            format,
            rounding: Rounding::Stochastic,
        }
    }

    /// Codes of a format, cut off toward zero.
    #[must_use]
    pub const fn truncated(format: Format) -> Self {
        Self {
            format,
            rounding: Rounding::TowardZero,
        }
    }
}

/// What sums of products are held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accumulator {
    /// f32 (f64 where everything is), rounded once at the end.
    #[default]
    Wide,
    /// bf16 (FMAC), rounded after every chunk of products and at the end: see
    /// [`FmacMatmul`](crate::kernels::FmacMatmul).
    Bf16 {
        /// Products from one rounding to the next; more than a sum has: it is rounded once.
        chunk: usize,
        /// To nearest or stochastically.
        rounding: Rounding,
    },
}

/// What the sums of a layer's three products are held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Accumulators {
    /// Those of `Y = X W^T`.
    pub outputs: Accumulator,
    /// Those of `dX = dY W`.
    pub input_gradients: Accumulator,
    /// Those of `dW = dY^T X`.
    pub weight_gradients: Accumulator,
}

impl Accumulators {
    /// The same in all three.
    #[must_use]
    pub const fn all(accumulator: Accumulator) -> Self {
        Self {
            outputs: accumulator,
            input_gradients: accumulator,
            weight_gradients: accumulator,
        }
    }
}

/// The products of a layer with weights: `Y = X W^T`, `dX = dY W` and `dW = dY^T X`. What is not encoded is read as it is
/// stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Products {
    /// How W is encoded, once along inputs and once along outputs.
    pub weights: Option<Coding>,
    /// How X is encoded, once along inputs and once along the batch.
    pub activations: Option<Coding>,
    /// How dY is encoded, once along outputs and once along the batch.
    pub gradients: Option<Coding>,
    /// What the sums of each are held in. Under a bf16 accumulator the two operands are not encoded.
    pub accumulators: Accumulators,
}

impl Products {
    /// Weights, activations and gradients encoded like this.
    #[must_use]
    pub const fn coded(weights: Coding, activations: Coding, gradients: Coding) -> Self {
        Self {
            weights: Some(weights),
            activations: Some(activations),
            gradients: Some(gradients),
            accumulators: Accumulators::all(Accumulator::Wide),
        }
    }

    /// bf16 accumulators in all three products.
    #[must_use]
    pub const fn fmac(chunk: usize, rounding: Rounding) -> Self {
        Self {
            weights: None,
            activations: None,
            gradients: None,
            accumulators: Accumulators::all(Accumulator::Bf16 { chunk, rounding }),
        }
    }

    /// Its codings and the names of their places.
    pub(super) fn codings(&self) -> [(&'static str, Option<Coding>); 3] {
        [
            ("weights", self.weights),
            ("activations", self.activations),
            ("gradients", self.gradients),
        ]
    }

    /// Whether the product `Y = X W^T` draws random bits.
    pub(super) fn forward_draws(&self) -> bool {
        let stochastic = |coding: Option<Coding>| coding.is_some_and(|c| c.rounding == Rounding::Stochastic);
        let accumulator = match self.accumulators.outputs {
            Accumulator::Wide => false,
            Accumulator::Bf16 { rounding, .. } => rounding == Rounding::Stochastic,
        };
        accumulator || stochastic(self.weights) || stochastic(self.activations)
    }

    /// The same where nothing draws: stochastic roundings are to nearest.
    pub(super) fn still(self) -> Self {
        let still = |rounding| match rounding {
            Rounding::Stochastic => Rounding::Nearest,
            Rounding::Nearest | Rounding::TowardZero => rounding,
        };
        let coding = |coding: Option<Coding>| {
            coding.map(|c| Coding {
                rounding: still(c.rounding),
                ..c
            })
        };
        let accumulator = |accumulator| match accumulator {
            Accumulator::Wide => Accumulator::Wide,
            Accumulator::Bf16 { chunk, rounding } => Accumulator::Bf16 {
                chunk,
                rounding: still(rounding),
            },
        };
        Self {
            weights: coding(self.weights),
            activations: coding(self.activations),
            gradients: coding(self.gradients),
            accumulators: Accumulators {
                outputs: accumulator(self.accumulators.outputs),
                input_gradients: accumulator(self.accumulators.input_gradients),
                weight_gradients: accumulator(self.accumulators.weight_gradients),
            },
        }
    }
}
