//! Which number format each part of training is stored in, as data.

use crate::format::Rounding;
use crate::tensor::DType;

/// A training recipe: the formats of weights, activations, gradients and optimizer state, and how weights are
/// rounded. Sums of products are always f32 (f64 where everything is).
///
/// ```
/// use fewbit::nn::Recipe;
/// use fewbit::tensor::DType;
///
/// // As `bf16-mixed`, with the momentum in bf16.
/// let recipe = Recipe::new("bf16-lean", DType::Bf16)
///     .with_master(DType::F32)
///     .with_momentum(DType::Bf16);
/// assert_eq!(recipe.weights, DType::Bf16);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Recipe {
    /// Its name in tables: `bf16-sr`.
    pub name: String,
    /// The weights and biases that products read.
    pub weights: DType,
    /// A wider copy that updates are added to and that `weights` is rounded from; `None`: updates go straight
    /// into `weights`.
    pub master: Option<DType>,
    /// Inputs, outputs of every layer, and logits.
    pub activations: DType,
    /// Gradients of activations, weights and biases.
    pub gradients: DType,
    /// The optimizer's momentum.
    pub momentum: DType,
    /// How an update is rounded where weights are stored as bf16 without a master: the new weights, or, with
    /// `compensation`, the step that is added to them.
    pub rounding: Rounding,
    /// How momentum (and AdamW's first moment) is rounded where it is stored as bf16. Plain SGD rounds weights and
    /// momentum alike.
    pub momentum_rounding: Rounding,
    /// What is lost in rounding the weights, kept beside them and taken off the next step (Kahan's summation, as in
    /// Zamirai et al., 2020): bf16, for bf16 weights without a master.
    pub compensation: Option<DType>,
}

impl Recipe {
    /// Everything in one format, without a master, rounded to nearest.
    #[must_use]
    pub fn new(name: impl Into<String>, dtype: DType) -> Self {
        Self {
            name: name.into(),
            weights: dtype,
            master: None,
            activations: dtype,
            gradients: dtype,
            momentum: dtype,
            rounding: Rounding::Nearest,
            momentum_rounding: Rounding::Nearest,
            compensation: None,
        }
    }

    /// With weights of this format.
    #[must_use]
    pub fn with_weights(self, weights: DType) -> Self {
        Self { weights, ..self }
    }

    /// With a master copy of the weights in this format.
    #[must_use]
    pub fn with_master(self, dtype: DType) -> Self {
        Self {
            master: Some(dtype),
            ..self
        }
    }

    /// With activations and their gradients, which share a type, of this format.
    #[must_use]
    pub fn with_activations(self, dtype: DType) -> Self {
        Self {
            activations: dtype,
            gradients: dtype,
            ..self
        }
    }

    /// With momentum of this format.
    #[must_use]
    pub fn with_momentum(self, momentum: DType) -> Self {
        Self { momentum, ..self }
    }

    /// With updates and momentum rounded like this.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding) -> Self {
        Self {
            rounding,
            momentum_rounding: rounding,
            ..self
        }
    }

    /// With a compensation of this format, steps rounded like this and momentum to nearest.
    #[must_use]
    pub fn with_compensation(self, dtype: DType, rounding: Rounding) -> Self {
        Self {
            compensation: Some(dtype),
            rounding,
            momentum_rounding: Rounding::Nearest,
            ..self
        }
    }

    /// Everything f64: the CPU device and the reference only.
    #[must_use]
    pub fn f64() -> Self {
        Self::new("f64", DType::F64)
    }

    /// Everything f32.
    #[must_use]
    pub fn f32() -> Self {
        Self::new("f32", DType::F32)
    }

    /// bf16 weights, activations and gradients in every product; updates and momentum in f32, with an f32
    /// master copy of the weights.
    #[must_use]
    pub fn bf16_mixed() -> Self {
        Self::new("bf16-mixed", DType::Bf16)
            .with_master(DType::F32)
            .with_momentum(DType::F32)
    }

    /// bf16 throughout, updates rounded stochastically: no f32 copy of anything but single sums.
    #[must_use]
    pub fn bf16_sr() -> Self {
        Self::new("bf16-sr", DType::Bf16).with_rounding(Rounding::Stochastic)
    }

    /// bf16 throughout, updates rounded to nearest: what stochastic rounding is measured against. Updates below
    /// half a unit in the last place of a weight are lost.
    #[must_use]
    pub fn bf16_nearest() -> Self {
        Self::new("bf16-nearest", DType::Bf16)
    }

    /// bf16 throughout, every rounding to nearest, with a bf16 compensation of what the weights lose.
    #[must_use]
    pub fn bf16_kahan() -> Self {
        Self::new("bf16-kahan", DType::Bf16).with_compensation(DType::Bf16, Rounding::Nearest)
    }

    /// As [`Recipe::bf16_kahan`], with the compensated step rounded stochastically.
    #[must_use]
    pub fn bf16_sr_kahan() -> Self {
        Self::new("bf16-sr-kahan", DType::Bf16).with_compensation(DType::Bf16, Rounding::Stochastic)
    }

    /// The four recipes that the program compares.
    #[must_use]
    pub fn all() -> [Self; 4] {
        [Self::f64(), Self::f32(), Self::bf16_mixed(), Self::bf16_sr()]
    }

    /// Every recipe that has a name: those of [`Recipe::all`], `bf16-nearest`, `bf16-kahan` and `bf16-sr-kahan`.
    pub fn known() -> impl Iterator<Item = Self> {
        let others = [Self::bf16_nearest(), Self::bf16_kahan(), Self::bf16_sr_kahan()];
        Self::all().into_iter().chain(others)
    }

    /// The recipe of that name, one of [`Recipe::known`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::known().find(|recipe| recipe.name == name)
    }

    /// Whether some part of it is f64, which GPUs' shading language lacks.
    #[must_use]
    pub fn uses_f64(&self) -> bool {
        let parts = [self.weights, self.activations, self.gradients, self.momentum];
        parts.contains(&DType::F64) || self.master == Some(DType::F64)
    }
}
