//! Which number format each part of training is stored in, as data.

use std::collections::BTreeMap;

use super::places::Places;
use super::precision::Variable;
use super::products::{Coding, Products};
use super::scaling::LossScale;
use crate::format::{Format, Rounding};
use crate::tensor::DType;

/// A training recipe: the formats of weights, activations, gradients and optimizer state, how weights are
/// rounded, and how products are made.
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
    /// Inputs, and outputs of every layer.
    pub activations: DType,
    /// Outputs of the last layer.
    pub logits: DType,
    /// Gradients of activations and logits (dY).
    pub gradients: DType,
    /// Gradients of weights and biases (dW), of one batch.
    pub weight_gradients: DType,
    /// Their sum over the micro-batches of a step, where there are more than one: see
    /// [`TrainOptions::accumulate`](super::train::TrainOptions::accumulate).
    pub gradient_sum: DType,
    /// The optimizer's momentum, or AdamW's first moment.
    pub momentum: DType,
    /// AdamW's second moment.
    pub second: DType,
    /// How an update is rounded where weights are stored as bf16 without a master: the new weights, or, with
    /// `compensation`, the step that is added to them.
    pub rounding: Rounding,
    /// How momentum (and AdamW's first moment) is rounded where it is stored as bf16. Plain SGD rounds weights and
    /// momentum alike.
    pub momentum_rounding: Rounding,
    /// How the sum of gradients is rounded where it is stored as bf16.
    pub gradient_sum_rounding: Rounding,
    /// How AdamW's second moment is rounded where it is stored as bf16; with `second_compensation`, what is added to it. To
    /// nearest, without a compensation, it is refused with a beta2 above 1 - 2^-9: see [`Recipe::allow_ratchet`].
    pub second_rounding: Rounding,
    /// What is lost in rounding the second moment, kept beside it (Kahan's summation): bf16, for a bf16 second moment.
    pub second_compensation: Option<DType>,
    /// Take a bf16 second moment to nearest all the same. It then never decays: the product with beta2 is rounded back,
    /// whatever the significand, so that it only ratchets up.
    pub allow_ratchet: bool,
    /// What is lost in rounding the weights, kept beside them and taken off the next step (Kahan's summation, as in
    /// Zamirai et al., 2020): bf16, for bf16 weights without a master.
    pub compensation: Option<DType>,
    /// How products are made, and what of them is encoded.
    pub products: Products,
    /// Layers with weights, from 0, that differ.
    pub layers: BTreeMap<usize, Places>,
    /// Loss scaling, for gradients that are encoded with few exponents.
    pub loss_scale: Option<LossScale>,
    /// Operands of products with fewer bits, where those will do.
    pub variable: Option<Variable>,
}

impl Recipe {
    /// Everything in one format, without a master, rounded to nearest; what only stochastic rounding keeps right, sums of
    /// gradients and second moments, stochastically.
    #[must_use]
    pub fn new(name: impl Into<String>, dtype: DType) -> Self {
        Self {
            name: name.into(),
            weights: dtype,
            master: None,
            activations: dtype,
            logits: dtype,
            gradients: dtype,
            weight_gradients: dtype,
            gradient_sum: dtype,
            momentum: dtype,
            second: dtype,
            rounding: Rounding::Nearest,
            gradient_sum_rounding: Rounding::Stochastic,
            momentum_rounding: Rounding::Nearest,
            second_rounding: Rounding::Stochastic,
            compensation: None,
            second_compensation: None,
            allow_ratchet: false,
            products: Products::default(),
            layers: BTreeMap::new(),
            loss_scale: None,
            variable: None,
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

    /// With activations, logits and all gradients of this format.
    #[must_use]
    pub fn with_activations(self, dtype: DType) -> Self {
        Self {
            activations: dtype,
            logits: dtype,
            gradients: dtype,
            weight_gradients: dtype,
            ..self
        }
    }

    /// With logits of this format.
    #[must_use]
    pub fn with_logits(self, logits: DType) -> Self {
        Self { logits, ..self }
    }

    /// With gradients of activations of this format.
    #[must_use]
    pub fn with_gradients(self, gradients: DType) -> Self {
        Self { gradients, ..self }
    }

    /// With gradients of weights of this format.
    #[must_use]
    pub fn with_weight_gradients(self, weight_gradients: DType) -> Self {
        Self {
            weight_gradients,
            ..self
        }
    }

    /// With sums of gradients over micro-batches of this format, rounded like this.
    #[must_use]
    pub fn with_gradient_sum(self, gradient_sum: DType, rounding: Rounding) -> Self {
        Self {
            gradient_sum,
            gradient_sum_rounding: rounding,
            ..self
        }
    }

    /// With momentum, or both of AdamW's moments, of this format.
    #[must_use]
    pub fn with_momentum(self, momentum: DType) -> Self {
        Self {
            momentum,
            second: momentum,
            ..self
        }
    }

    /// With a second moment of this format, rounded like this.
    #[must_use]
    pub fn with_second(self, second: DType, rounding: Rounding) -> Self {
        Self {
            second,
            second_rounding: rounding,
            ..self
        }
    }

    /// With a bf16 second moment and a compensation of it, what is added to it being rounded like this.
    #[must_use]
    pub fn with_second_compensation(self, rounding: Rounding) -> Self {
        Self {
            second: DType::Bf16,
            second_rounding: rounding,
            second_compensation: Some(DType::Bf16),
            ..self
        }
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

    /// With products made like this.
    #[must_use]
    pub fn with_products(self, products: Products) -> Self {
        Self { products, ..self }
    }

    /// With the products of one layer made like this; layers with weights are counted from 0.
    #[must_use]
    pub fn with_layer(self, layer: usize, products: Products) -> Self {
        let places = Places {
            products,
            ..self.places_of(layer)
        };
        self.with_places(layer, places)
    }

    /// How a layer's products are made.
    #[must_use]
    pub fn products_of(&self, layer: usize) -> Products {
        self.places_of(layer).products
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
            .with_gradient_sum(DType::F32, Rounding::Nearest)
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

    /// bf16 throughout, the accumulators of all three products too: rounded to nearest after every `chunk` products, the
    /// updates to nearest as well. 1 is FMAC step by step; more than a sum has rounds it once.
    #[must_use]
    pub fn bf16_fmac(chunk: usize) -> Self {
        let products = Products::fmac(chunk, Rounding::Nearest);
        Self::new(chunked("bf16-fmac", chunk), DType::Bf16).with_products(products)
    }

    /// Pure bf16: [`Recipe::bf16_sr`] with bf16 accumulators, rounded stochastically after every `chunk` products. No
    /// buffer is wider but the batch's losses, which nothing reads; arithmetic on registers is f32.
    #[must_use]
    pub fn bf16_pure(chunk: usize) -> Self {
        let products = Products::fmac(chunk, Rounding::Stochastic);
        Self::new(chunked("bf16-pure", chunk), DType::Bf16)
            .with_rounding(Rounding::Stochastic)
            .with_products(products)
    }

    /// All operands of products in block floating point of `bits` bits with the sign, 2 to 8, sixteen to a block; f32
    /// weights and updates, bf16 activations and gradients as what is encoded. `None` for other bits.
    #[must_use]
    pub fn bfp(bits: u32) -> Option<Self> {
        let coding = Coding::nearest(Format::bfp(16, bits).ok()?);
        Some(Self::coded(format!("bfp-{bits}"), coding))
    }

    /// All operands of products in MXFP8 of the E4M3 kind, to nearest, under the least scales that saturate nothing;
    /// the rest as in [`Recipe::bfp`].
    #[must_use]
    pub fn mxfp8() -> Option<Self> {
        let format = "mxfp8-e4m3-up".parse().ok()?;
        Some(Self::coded("mxfp8", Coding::nearest(format)))
    }

    /// f16 operands in all products, and all that is stored in f32: for contrast. Rounded to nearest, 65,520 and more to
    /// infinity, subnormals kept; the loss is scaled, see [`LossScale`].
    #[must_use]
    pub fn f16_mixed() -> Option<Self> {
        let coding = Coding::nearest("f16".parse().ok()?);
        let recipe =
            Self::new("f16-mixed", DType::F32).with_products(Products::coded(coding, coding, coding));
        Some(Self {
            loss_scale: Some(LossScale::default()),
            ..recipe
        })
    }

    /// Variable precision after FAST (Zhang, McDanel and Kung, arXiv 2110.15456): operands of products in block floating
    /// point, sixteen to a block, with 2 mantissa bits beside the sign or 4; see [`Variable`]. Gradients are rounded
    /// stochastically, under scales that saturate nothing, since saturation would bias them; weights and activations to
    /// nearest. The rest as in [`Recipe::bfp`].
    #[must_use]
    pub fn fast() -> Option<Self> {
        let own = Coding::nearest(Format::bfp(16, 5).ok()?);
        let gradients = Coding::stochastic("bfp5-16-up".parse().ok()?);
        let recipe = Self::coded("fast", own).with_products(Products::coded(own, own, gradients));
        Some(Self {
            variable: Some(Variable::default()),
            ..recipe
        })
    }

    /// All operands encoded alike, from f32 weights and bf16 activations and gradients.
    #[must_use]
    pub fn coded(name: impl Into<String>, coding: Coding) -> Self {
        Self::new(name, DType::F32)
            .with_activations(DType::Bf16)
            .with_products(Products::coded(coding, coding, coding))
    }

    /// The four recipes that the program compares.
    #[must_use]
    pub fn all() -> [Self; 4] {
        [Self::f64(), Self::f32(), Self::bf16_mixed(), Self::bf16_sr()]
    }

    /// Every recipe that has a name: those of [`Recipe::all`], then the others.
    pub fn known() -> impl Iterator<Item = Self> {
        let others = [
            Self::bf16_nearest(),
            Self::bf16_kahan(),
            Self::bf16_sr_kahan(),
            Self::bf16_fmac(CHUNK),
            Self::bf16_pure(CHUNK),
        ];
        let coded = [Self::f16_mixed(), Self::bfp(5), Self::mxfp8(), Self::fast()];
        Self::all()
            .into_iter()
            .chain(others)
            .chain(coded.into_iter().flatten())
    }

    /// The recipe of that name: one of [`Recipe::known`], `bf16-fmac-C` or `bf16-pure-C` with chunks of C products
    /// (`k` for all of a sum), or `bfp-N`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(known) = Self::known().find(|recipe| recipe.name == name) {
            return Some(known);
        }
        let (family, number) = name.rsplit_once('-')?;
        let chunk = || match number {
            "k" => Some(usize::MAX),
            number => number.parse().ok().filter(|&chunk| chunk > 0),
        };
        let recipe = match family {
            "bf16-fmac" => Self::bf16_fmac(chunk()?),
            "bf16-pure" => Self::bf16_pure(chunk()?),
            "bfp" => Self::bfp(number.parse().ok()?)?,
            _ => return None,
        };
        // `+32` or `032` is no name.
        (recipe.name == name || number == CHUNK.to_string()).then_some(recipe)
    }

    /// Whether some part of it is f64, which GPUs' shading language lacks.
    #[must_use]
    pub fn uses_f64(&self) -> bool {
        // One place that is f64 makes all of them so, or the recipe is refused.
        let places = self.layers.values().copied().chain([self.places()]);
        self.logits == DType::F64 || places.into_iter().any(|places| places.uses(DType::F64))
    }
}

/// Products from one rounding of a bf16 accumulator to the next, where a name says nothing.
const CHUNK: usize = 32;

/// The name of a recipe with such chunks.
fn chunked(family: &str, chunk: usize) -> String {
    match chunk {
        CHUNK => family.into(),
        usize::MAX => format!("{family}-k"),
        chunk => format!("{family}-{chunk}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let more = [
            "bf16-fmac-1",
            "bf16-fmac-k",
            "bf16-pure-1",
            "bf16-pure-128",
            "bfp-2",
            "bfp-8",
        ];
        let names = Recipe::known().map(|recipe| recipe.name);
        for name in names.chain(more.map(String::from)) {
            assert_eq!(Recipe::named(&name).map(|recipe| recipe.name), Some(name));
        }
        assert_eq!(Recipe::named("bf16-fmac-32"), Some(Recipe::bf16_fmac(32)));
        for name in [
            "bfp-1",
            "bfp-9",
            "bfp-",
            "bf16-fmac-0",
            "bf16-pure-+8",
            "bf16",
            "bf16-sr-8",
            "bfp-05",
        ] {
            assert_eq!(Recipe::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_layer_may_differ() {
        let recipe = Recipe::f32().with_layer(1, Products::fmac(1, Rounding::Nearest));
        assert_eq!(recipe.products_of(0), Products::default());
        assert_eq!(recipe.products_of(1), Products::fmac(1, Rounding::Nearest));
    }
}
