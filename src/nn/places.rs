//! What each layer of a recipe stores its tensors in, and which of that some kernel serves.

use super::model::{Stage, with_weights};
use super::optimizer::Optimizer;
use super::products::{Accumulator, Products};
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::tensor::DType;

/// The places of one layer with weights: what it stores its tensors in, and how it makes its products. Those of a
/// [`Recipe`] hold for all layers but those that differ ([`Recipe::layers`]).
///
/// ```
/// use fewbit::nn::Recipe;
/// use fewbit::tensor::DType;
///
/// // The first layer's weights in f32, without a master.
/// let recipe = Recipe::bf16_mixed();
/// let mut first = recipe.places();
/// first.weights = DType::F32;
/// first.master = None;
/// let recipe = recipe.with_places(0, first);
/// assert_eq!(recipe.places_of(0).weights, DType::F32);
/// assert_eq!(recipe.places_of(1).weights, DType::Bf16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Places {
    /// [`Recipe::weights`].
    pub weights: DType,
    /// [`Recipe::master`].
    pub master: Option<DType>,
    /// [`Recipe::activations`]: what the layer makes, up to the next layer with weights. The last layer's are the logits,
    /// which the recipe names for itself.
    pub activations: DType,
    /// [`Recipe::gradients`]: of what the layer makes.
    pub gradients: DType,
    /// [`Recipe::weight_gradients`].
    pub weight_gradients: DType,
    /// [`Recipe::gradient_sum`].
    pub gradient_sum: DType,
    /// [`Recipe::momentum`].
    pub momentum: DType,
    /// [`Recipe::second`].
    pub second: DType,
    /// [`Recipe::rounding`].
    pub rounding: Rounding,
    /// [`Recipe::gradient_sum_rounding`].
    pub gradient_sum_rounding: Rounding,
    /// [`Recipe::momentum_rounding`].
    pub momentum_rounding: Rounding,
    /// [`Recipe::second_rounding`].
    pub second_rounding: Rounding,
    /// [`Recipe::compensation`].
    pub compensation: Option<DType>,
    /// [`Recipe::second_compensation`].
    pub second_compensation: Option<DType>,
    /// [`Recipe::products`].
    pub products: Products,
}

impl Places {
    /// Every format by the name of its place.
    fn formats(&self) -> impl Iterator<Item = (&'static str, DType)> {
        [
            ("weights", Some(self.weights)),
            ("master", self.master),
            ("activations", Some(self.activations)),
            ("gradients", Some(self.gradients)),
            ("weight gradients", Some(self.weight_gradients)),
            ("gradient sum", Some(self.gradient_sum)),
            ("momentum", Some(self.momentum)),
            ("second moment", Some(self.second)),
            ("compensation", self.compensation),
            ("second compensation", self.second_compensation),
        ]
        .into_iter()
        .filter_map(|(place, dtype)| Some((place, dtype?)))
    }

    /// Whether one of them is of this format.
    pub(super) fn uses(&self, format: DType) -> bool {
        self.formats().any(|(_, dtype)| dtype == format)
    }

    fn roundings(&self) -> [(&'static str, Rounding); 4] {
        [
            ("weights", self.rounding),
            ("gradient sum", self.gradient_sum_rounding),
            ("momentum", self.momentum_rounding),
            ("second moment", self.second_rounding),
        ]
    }

    /// What the optimizer updates.
    pub(super) fn updated(&self) -> DType {
        self.master.unwrap_or(self.weights)
    }
}

/// The types of what stages read and make, and of the gradients of that: of stage i those at i and at i + 1.
#[derive(Clone, Debug)]
pub(super) struct Types {
    pub(super) values: Vec<DType>,
    pub(super) gradients: Vec<DType>,
}

impl Types {
    pub(super) fn new(recipe: &Recipe, stages: &[Stage]) -> Self {
        // What lies below the first weights is the input, or as it.
        let (mut values, mut gradients) = (vec![recipe.activations], vec![recipe.gradients]);
        for end in 1..=stages.len() {
            let places = match with_weights(&stages[..end]) {
                0 => recipe.places(),
                layers => recipe.places_of(layers - 1),
            };
            let logits = end == stages.len();
            values.push(if logits { recipe.logits } else { places.activations });
            gradients.push(places.gradients);
        }
        Self { values, gradients }
    }

    /// Those of the logits.
    pub(super) fn last(&self) -> [DType; 2] {
        let last = self.values.len() - 1;
        [self.values[last], self.gradients[last]]
    }
}

impl Recipe {
    /// With other places of one layer; layers with weights are counted from 0.
    #[must_use]
    pub fn with_places(mut self, layer: usize, places: Places) -> Self {
        self.layers.insert(layer, places);
        self
    }

    /// The places of layers that do not differ.
    #[must_use]
    pub fn places(&self) -> Places {
        Places {
            weights: self.weights,
            master: self.master,
            activations: self.activations,
            gradients: self.gradients,
            weight_gradients: self.weight_gradients,
            gradient_sum: self.gradient_sum,
            momentum: self.momentum,
            second: self.second,
            rounding: self.rounding,
            gradient_sum_rounding: self.gradient_sum_rounding,
            momentum_rounding: self.momentum_rounding,
            second_rounding: self.second_rounding,
            compensation: self.compensation,
            second_compensation: self.second_compensation,
            products: self.products,
        }
    }

    /// The places of a layer.
    #[must_use]
    pub fn places_of(&self, layer: usize) -> Places {
        self.layers.get(&layer).copied().unwrap_or_else(|| self.places())
    }

    /// With these places in all layers that do not differ.
    #[must_use]
    pub fn throughout(self, places: Places) -> Self {
        Self {
            weights: places.weights,
            master: places.master,
            activations: places.activations,
            gradients: places.gradients,
            weight_gradients: places.weight_gradients,
            gradient_sum: places.gradient_sum,
            momentum: places.momentum,
            second: places.second,
            rounding: places.rounding,
            gradient_sum_rounding: places.gradient_sum_rounding,
            momentum_rounding: places.momentum_rounding,
            second_rounding: places.second_rounding,
            compensation: places.compensation,
            second_compensation: places.second_compensation,
            products: places.products,
            ..self
        }
    }

    /// The error of a place that no kernel serves.
    fn unserved(&self, place: &str, why: &str) -> Error {
        Error::Unsupported {
            op: "train",
            what: format!("{place} of {}: {why}", self.name),
            device: "any device",
        }
    }

    /// Checks that every place is served by some kernel.
    pub(super) fn check(&self, optimizer: Optimizer, stages: &[Stage]) -> Result<()> {
        let layers = with_weights(stages);
        if let Some((layer, _)) = self.layers.range(layers..).next() {
            return Err(Error::Value {
                op: "train",
                what: "recipe",
                value: format!("{} for layer {layer}", self.name),
                expected: "a layer with weights of the model, from 0",
            });
        }
        for layer in 0..layers {
            let places = self.places_of(layer);
            self.check_formats(&places)?;
            self.check_updates(&places, optimizer)?;
        }
        self.check_formats(&self.places())?;
        let types = Types::new(self, stages);
        let weights: Vec<_> = (0..stages.len())
            .filter(|&at| stages[at].weights().is_some())
            .collect();
        for (layer, &at) in weights.iter().enumerate() {
            self.check_products(&self.places_of(layer), &types, at, layer > 0)?;
        }
        self.check_stages(&types, stages)
    }

    fn check_formats(&self, places: &Places) -> Result<()> {
        let formats = places.formats().chain([("logits", self.logits)]);
        for (place, dtype) in formats {
            let known = matches!(dtype, DType::F64 | DType::F32 | DType::Bf16);
            if !known {
                return Err(self.unserved(place, &format!("{dtype} is no format of training")));
            }
            if (dtype == DType::F64) != (self.weights == DType::F64) {
                return Err(self.unserved(place, &format!("{dtype}; where one place is f64, all are")));
            }
        }
        let roundings = places.roundings();
        let truncated = roundings
            .into_iter()
            .find(|(_, rounding)| *rounding == Rounding::TowardZero);
        match truncated {
            Some((place, rounding)) => {
                Err(self.unserved(place, &format!("no kernel rounds {rounding} there")))
            }
            None => Ok(()),
        }
    }

    /// What the optimizers' kernels ask.
    fn check_updates(&self, places: &Places, optimizer: Optimizer) -> Result<()> {
        let bf16 = |dtype: DType| dtype == DType::Bf16;
        if places
            .master
            .is_some_and(|master| master != DType::F32 || !bf16(places.weights))
        {
            return Err(self.unserved("master", "it is f32, of bf16 weights"));
        }
        if let Some(compensation) = places.compensation
            && !(bf16(compensation) && bf16(places.weights) && places.master.is_none())
        {
            return Err(self.unserved("compensation", "it is bf16, of bf16 weights without a master"));
        }
        if places
            .second_compensation
            .is_some_and(|own| !bf16(own) || !bf16(places.second))
        {
            return Err(self.unserved("second compensation", "it is bf16, of a bf16 second moment"));
        }
        match optimizer {
            Optimizer::Sgd => {
                let apart = places.rounding != places.momentum_rounding;
                let plain = bf16(places.updated()) && places.compensation.is_none();
                if apart && plain && bf16(places.momentum) {
                    let why = "it is rounded as the weights are, under plain SGD";
                    return Err(self.unserved("momentum", why));
                }
            }
            Optimizer::AdamW { beta2, .. } => {
                let compensated = places.second_compensation.is_some();
                let nearest = bf16(places.second) && places.second_rounding == Rounding::Nearest;
                if nearest && !compensated && !self.allow_ratchet && beta2 > LEAST_RATCHET {
                    let why = "bf16 to nearest never decays with beta2 > 1 - 2^-9; it is stochastic or compensated, \
                               unless the recipe says allow_ratchet";
                    return Err(self.unserved("second moment", why));
                }
                if compensated && beta2 < LEAST_COMPENSATED {
                    let why = "beta2 below 2^-6 may leave a moment below 0";
                    return Err(self.unserved("second compensation", why));
                }
            }
        }
        Ok(())
    }

    /// What the products of a layer, which is stage number `at`, ask of the types that their operands are stored in.
    fn check_products(&self, places: &Places, types: &Types, at: usize, below: bool) -> Result<()> {
        let products = places.products;
        let reads = ("activations", types.values[at]);
        let dy = ("gradients", types.gradients[at + 1]);
        let codings = products.codings();
        let sources = [("weights", places.weights), reads, dy];
        for ((place, coding), (_, dtype)) in codings.into_iter().zip(sources) {
            if let (Some(coding), DType::F64) = (coding, dtype) {
                let why = format!("codes of {} from f64 (f32 and bf16 are encoded)", coding.format);
                return Err(self.unserved(place, &why));
            }
        }
        let [weights, reads, dy] = [0, 1, 2].map(|at| (sources[at], codings[at].1));
        let makes = match at + 2 == types.values.len() {
            true => "logits",
            false => "activations",
        };
        let makes = (makes, types.values[at + 1]);
        let dx = ("gradients", types.gradients[at]);
        let dw = ("weight gradients", places.weight_gradients);
        let accumulators = products.accumulators;
        let all = [
            (accumulators.outputs, [weights, reads], makes),
            (accumulators.input_gradients, [dy, weights], dx),
            (accumulators.weight_gradients, [dy, reads], dw),
        ];
        for (number, (accumulator, operands, result)) in all.into_iter().enumerate() {
            let none = number == 1 && !below;
            if accumulator == Accumulator::Wide || none {
                continue;
            }
            if let Some(((place, _), _)) = operands.iter().find(|(_, coding)| coding.is_some()) {
                return Err(self.unserved(place, "under bf16 accumulators they are not encoded"));
            }
            let stored = operands.into_iter().map(|(source, _)| source).chain([result]);
            if let Some((place, dtype)) = stored.into_iter().find(|(_, dtype)| *dtype != DType::Bf16) {
                let why = format!("{dtype}, where bf16 accumulators are of bf16 operands and results");
                return Err(self.unserved(place, &why));
            }
        }
        Ok(())
    }

    /// What stages without weights ask.
    fn check_stages(&self, types: &Types, stages: &[Stage]) -> Result<()> {
        for (at, stage) in stages.iter().enumerate() {
            let [read, made] = [types.values[at], types.values[at + 1]];
            if stage.weights().is_none() && read != made {
                let why = format!("{made} of {read} activations, where no product makes them");
                return Err(self.unserved("logits", &why));
            }
        }
        Ok(())
    }
}

/// To nearest no bf16 significand decays by a factor above this, 1 - 2^-9.
const LEAST_RATCHET: f32 = 1.0 - 1.0 / 512.0;
/// From this on a compensated second moment cannot pass 0.
const LEAST_COMPENSATED: f32 = 1.0 / 64.0;
