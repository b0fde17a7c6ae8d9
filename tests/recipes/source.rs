//! Legal recipes at random.

use fewbit::format::{Format, Rounding};
use fewbit::nn::train::TrainOptions;
use fewbit::nn::{Coding, LossScale, Optimizer, Places, Products, Recipe};
use fewbit::tensor::DType;

use super::options;

/// SplitMix64.
pub(crate) struct Source(pub(crate) u64);

impl Source {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 33) as usize % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn coding(&mut self) -> Option<Coding> {
        let name = self.of(&[
            "none",
            "none",
            "f16",
            "fp8-e5m2",
            "fp8-e4m3-tensor",
            "mxfp8-e4m3",
            "mxfp8-e5m2-up",
            "mxfp6-e3m2",
            "mxfp6-e2m3",
            "mxfp4",
            "mxint8",
            "bfp2-16",
            "bfp3-16-up",
            "bfp5-16",
            "bfp8-32",
            "q8.8",
        ]);
        let format: Format = name.parse().ok()?;
        Some(match self.below(2) {
            0 => Coding::nearest(format),
            _ => Coding::stochastic(format),
        })
    }

    fn products(&mut self, all_bf16: bool) -> Products {
        if all_bf16 && self.below(3) == 0 {
            let rounding = self.of(&[Rounding::Nearest, Rounding::Stochastic]);
            return Products::fmac(self.of(&[1, 7, 32, usize::MAX]), rounding);
        }
        let mut products = Products::default();
        if all_bf16 && self.below(3) == 0 {
            // Of one product alone: what that does not read may be encoded.
            let rounding = self.of(&[Rounding::Nearest, Rounding::Stochastic]);
            let [outputs, inputs, weights] = [self.coding(), self.coding(), self.coding()];
            let sums = Products::fmac(self.of(&[1, 7, 32]), rounding)
                .accumulators
                .outputs;
            match self.below(3) {
                0 => (products.accumulators.outputs, products.gradients) = (sums, outputs),
                1 => (products.accumulators.input_gradients, products.activations) = (sums, inputs),
                _ => (products.accumulators.weight_gradients, products.weights) = (sums, weights),
            }
            return products;
        }
        products.weights = self.coding();
        products.activations = self.coding();
        products.gradients = self.coding();
        products
    }

    /// Legal places of all layers or of one.
    fn places(&mut self, all_bf16: bool) -> Places {
        let both = [DType::F32, DType::Bf16];
        let either = [Rounding::Nearest, Rounding::Stochastic];
        let own = if all_bf16 { &both[1..] } else { &both[..] };
        let mut places = Recipe::f32().places();
        places.weights = self.of(own);
        places.activations = self.of(own);
        places.gradients = self.of(own);
        places.weight_gradients = self.of(own);
        places.gradient_sum = self.of(&both);
        places.gradient_sum_rounding = self.of(&either);
        places.momentum = self.of(&both);
        places.second = self.of(&both);
        if self.below(3) == 0 {
            places.second = DType::Bf16;
            places.second_compensation = Some(DType::Bf16);
            places.second_rounding = self.of(&either);
        }
        if places.weights == DType::Bf16 {
            match self.below(3) {
                0 => places.master = Some(DType::F32),
                1 => {
                    places.compensation = Some(DType::Bf16);
                    places.rounding = self.of(&either);
                }
                _ => {
                    places.rounding = Rounding::Stochastic;
                    places.momentum_rounding = Rounding::Stochastic;
                }
            }
        }
        places.products = self.products(all_bf16);
        places
    }

    pub(crate) fn recipe(&mut self) -> Recipe {
        let all_bf16 = self.below(3) == 0;
        let mut recipe = Recipe::new("random", DType::Bf16).throughout(self.places(all_bf16));
        if !all_bf16 {
            recipe.logits = self.of(&[DType::F32, DType::Bf16]);
        }
        if self.below(2) == 0 {
            let layer = self.below(3);
            recipe = recipe.with_places(layer, self.places(all_bf16));
        }
        if self.below(4) == 0 {
            recipe.loss_scale = Some(LossScale::default());
        }
        recipe
    }

    pub(crate) fn options(&mut self) -> TrainOptions {
        let mut options = options();
        options.accumulate = self.of(&[1, 1, 3]);
        if self.below(3) == 0 {
            options.optimizer = Optimizer::adamw();
            options.learning_rate = 0.002;
        }
        options
    }
}
