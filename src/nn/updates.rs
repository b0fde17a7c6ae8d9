//! What rounding does to the updates of weights, looked at on the host in some steps.

use super::checkpoint::Stored;
use super::network::Parameter;
use super::optimizer::Optimizer;
use super::train::Trainer;
use crate::error::Result;
use crate::tensor::DType;

/// The updates of a layer's weights and biases in the steps of an epoch that were watched.
///
/// With u the update that was meant, the rate times the velocity, and dw what was really added to a weight (where the recipe
/// has a compensation, to the weight less that):
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Updates {
    /// The sum of dw u.
    pub product: f64,
    /// The sum of u u.
    pub square: f64,
    /// Updates that are not 0 and smaller than half a unit in the last place of their weight.
    pub small: f64,
    /// Updates that are not 0.
    pub nonzero: f64,
}

impl Updates {
    /// The applied ratio, sum(dw u) / sum(u u): 1 where updates arrive as they were meant, on average; 0 where they are
    /// lost. `None` where there were none.
    #[must_use]
    pub fn applied(&self) -> Option<f64> {
        (self.square > 0.0).then(|| self.product / self.square)
    }

    /// The share of updates too small to change a weight that is rounded to nearest. `None` where there were none.
    #[must_use]
    pub fn small_share(&self) -> Option<f64> {
        (self.nonzero > 0.0).then(|| self.small / self.nonzero)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            product: self.product + other.product,
            square: self.square + other.square,
            small: self.small + other.small,
            nonzero: self.nonzero + other.nonzero,
        }
    }

    fn add(&mut self, weight: f64, moved: f64, meant: f64, half: f64) {
        self.product += moved * meant;
        self.square += meant * meant;
        if meant != 0.0 {
            self.nonzero += 1.0;
            self.small += f64::from(u8::from(meant.abs() < half && weight != 0.0));
        }
    }

    pub(super) fn bits(&self) -> impl Iterator<Item = u32> {
        let halves = |value: f64| [value.to_bits() as u32, (value.to_bits() >> 32) as u32];
        [self.product, self.square, self.small, self.nonzero]
            .into_iter()
            .flat_map(halves)
    }

    pub(super) fn from_bits(bits: &[u32; 8]) -> Self {
        let value = |at: usize| f64::from_bits(u64::from(bits[at]) | u64::from(bits[at + 1]) << 32);
        Self {
            product: value(0),
            square: value(2),
            small: value(4),
            nonzero: value(6),
        }
    }
}

/// A weight's format and what it holds: the weights, less their compensation.
pub(super) struct Watched {
    weights: Stored,
    compensation: Option<Stored>,
}

impl Watched {
    /// The values that updates are added to.
    fn values(&self) -> Vec<f64> {
        let mut values: Vec<_> = self.weights.values().collect();
        for (value, lost) in values
            .iter_mut()
            .zip(self.compensation.iter().flat_map(Stored::values))
        {
            *value -= lost;
        }
        values
    }
}

/// Half a unit in the last place of a number.
fn half_ulp(dtype: DType, weight: f64) -> f64 {
    let bits = match dtype {
        DType::F64 => 53,
        DType::F32 | DType::U32 | DType::U16 => 24,
        DType::Bf16 => 8,
    };
    f64::exp2(weight.abs().log2().floor() - f64::from(bits))
}

impl Trainer {
    /// Whether this step is watched.
    pub(super) fn watches(&self) -> bool {
        let every = self.options.watch_every;
        every > 0 && self.options.optimizer == Optimizer::Sgd && (self.position + 1).is_multiple_of(every)
    }

    /// What a step's updates are added to.
    pub(super) async fn watched(&self) -> Result<Vec<Watched>> {
        let mut all = Vec::new();
        for parameter in self.parameters() {
            let weights = parameter.master.unwrap_or(parameter.values);
            let weights = self.stored(String::new(), weights).await?;
            let compensation = match parameter.compensation {
                Some(id) => Some(self.stored(String::new(), id).await?),
                None => None,
            };
            all.push(Watched {
                weights,
                compensation,
            });
        }
        Ok(all)
    }

    /// Compares what a step has added with what it meant to.
    pub(super) async fn watch(&mut self, before: Vec<Watched>, rate: f32) -> Result<()> {
        let after = self.watched().await?;
        let parameters: Vec<Parameter> = self.parameters().to_vec();
        for ((parameter, before), after) in parameters.iter().zip(before).zip(after) {
            let velocity = self.stored(String::new(), parameter.momentum).await?;
            let dtype = before.weights.dtype;
            let moved = before.values().into_iter().zip(after.values());
            let updates = &mut self.updates[parameter.layer];
            for (((from, to), weight), velocity) in moved.zip(before.weights.values()).zip(velocity.values())
            {
                let meant = -f64::from(rate) * velocity;
                updates.add(weight, to - from, meant, half_ulp(dtype, weight));
            }
        }
        Ok(())
    }

    /// What rounding did to the updates of every layer with weights in the steps of this epoch that were watched, every
    /// [`TrainOptions::watch_every`](super::train::TrainOptions::watch_every); all zeros under AdamW. The velocity is the
    /// one that is stored.
    #[must_use]
    pub fn updates(&self) -> &[Updates] {
        &self.updates
    }
}
