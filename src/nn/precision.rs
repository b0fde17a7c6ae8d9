//! Variable precision after FAST (Zhang, McDanel and Kung, 2021): which operands of products are coarse, step by step.
//!
//! The products of a layer are recorded with every pairing of coarse and fine operands, on conditions: a step runs those
//! that are chosen. The choice is made on the device, every so many steps, and read with the loss.

use std::ops::Bound;

use super::products::Coding;
use crate::device::{CallId, Condition, TensorId};
use crate::error::{Error, Result};
use crate::format::{Element, Format};
use crate::kernels::Choose;
use crate::op::Scalar;

/// Weights, activations and gradients of every layer move from few mantissa bits to those of their own format where
/// that changes them by more than a share of what they are:
/// `sum(|fine - coarse|) / sum(|coarse|) > alpha - beta i / I - beta l / L` in step i of I and layer l of L.
///
/// The measure is of one batch every so many steps; the denominator sums magnitudes. The paper's exponents have 4 bits and
/// its noise 8, from a shift register: here they have 8 and 16, from counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Variable {
    /// Bits of a coarse code with its sign; those of a fine one are the format's.
    pub coarse: u32,
    /// The threshold at first.
    pub alpha: Scalar,
    /// How much lower it is in the last step, and in the last layer.
    pub beta: Scalar,
    /// Steps from one choice to the next, at least 1.
    pub every: u32,
}

impl Default for Variable {
    fn default() -> Self {
        Self {
            coarse: 3,
            alpha: Scalar::new(0.6),
            beta: Scalar::new(0.3),
            every: 10,
        }
    }
}

impl Variable {
    /// What the improvement must exceed in a step, but for what the layer lowers.
    pub(super) fn threshold(&self, step: usize, steps: usize) -> f32 {
        let share = step as f64 / steps.max(1) as f64;
        (f64::from(self.alpha) - f64::from(self.beta) * share) as f32
    }

    /// What a layer, from 1, lowers that by.
    pub(super) fn lower(&self, layer: usize, layers: usize) -> Scalar {
        let share = layer as f64 / layers.max(1) as f64;
        ((f64::from(self.beta) * share) as f32).into()
    }

    /// A coding with fewer bits.
    pub(super) fn coarse(&self, coding: Coding) -> Result<Coding> {
        let refuse = || Error::Unsupported {
            op: "train",
            what: format!("variable precision of {}", coding.format),
            device: "any device: it is for signs and magnitudes in blocks",
        };
        let (Some(size), Some(rule)) = (coding.format.block_size(), coding.format.rule()) else {
            return Err(refuse());
        };
        let Element::SignMagnitude(bits) = coding.format.element() else {
            return Err(refuse());
        };
        if self.coarse >= bits {
            return Err(refuse());
        }
        let format = Element::sign_magnitude(self.coarse).and_then(Format::new);
        let format = format.and_then(|format| format.block(size, rule));
        format
            .map(|format| Coding { format, ..coding })
            .map_err(|_| refuse())
    }
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Weights,
    Activations,
    Gradients,
}

impl Place {
    /// Its bit in a layer's flags.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A product of a training step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) layer: usize,
    pub(super) places: [Place; 2],
    /// Multiply-adds.
    pub(super) work: u64,
}

/// The sums of an operand that are left behind by a step that measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) layer: usize,
    pub(super) place: Place,
    /// Pairs of sums.
    pub(super) pairs: usize,
    pub(super) sums: TensorId,
}

/// What a step chooses for the next ones, on the device.
#[derive(Debug)]
pub(super) struct Choices {
    /// Of every layer [`Choose::STATE`] words.
    pub(super) state: TensorId,
    pub(super) measures: Vec<Measure>,
    pub(super) products: Vec<Product>,
    /// Calls of the steps that measure, in order, from the first to the last of each run of them.
    pub(super) measuring: Vec<[CallId; 2]>,
}

impl Choices {
    /// All coarse.
    pub(super) const fn new(state: TensorId) -> Self {
        Self {
            state,
            measures: Vec::new(),
            products: Vec::new(),
            measuring: Vec::new(),
        }
    }

    /// That a layer's operands in these places are fine, or are not.
    pub(super) fn condition(&self, layer: usize, operands: [(Place, bool); 2]) -> Condition {
        let all = |bits: fn((Place, bool)) -> u32| operands.into_iter().map(bits).fold(0, |a, b| a | b);
        let value = all(|(place, fine)| if fine { place.bit() } else { 0 });
        Condition::equal(self.state, (layer * Choose::STATE) as u64, value)
            .masked(all(|(place, _)| place.bit()))
    }

    /// Ranges of calls up to a bound, without those of the steps that measure.
    pub(super) fn usual(&self, to: Bound<CallId>) -> Vec<(Bound<CallId>, Bound<CallId>)> {
        let mut ranges = Vec::with_capacity(self.measuring.len() + 1);
        let mut start = Bound::Unbounded;
        let after = |call: CallId| match to {
            Bound::Included(end) => call > end,
            Bound::Excluded(end) => call >= end,
            Bound::Unbounded => false,
        };
        // In the order of the calls; the end of a micro-step comes before the last of them.
        for &[first, last] in self.measuring.iter().take_while(|[first, _]| !after(*first)) {
            ranges.push((start, Bound::Excluded(first)));
            start = Bound::Excluded(last);
        }
        ranges.push((start, to));
        ranges
    }

    /// Chunk passes of so many steps' products by the states of all layers, and those of fine operands throughout: a
    /// product of 4-bit mantissas is four of 2-bit ones.
    pub(super) fn passes(&self, states: &[u32], steps: u32) -> [u64; 2] {
        let states = states.as_chunks::<{ Choose::STATE }>().0;
        let mut passes = [0u64; 2];
        for product in &self.products {
            let Some([now, since, under @ ..]) = states.get(product.layer) else {
                continue;
            };
            for (flags, &chosen) in (0..).zip(under) {
                // The last choice holds since its step.
                let more = if flags == *now {
                    steps.wrapping_sub(*since)
                } else {
                    0
                };
                let work = product.work.saturating_mul(u64::from(chosen) + u64::from(more));
                let each = |place: Place| if flags & place.bit() > 0 { 2 } else { 1 };
                let share = product.places.into_iter().map(each).product();
                passes[0] = passes[0].saturating_add(work.saturating_mul(share));
                passes[1] = passes[1].saturating_add(work.saturating_mul(4));
            }
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_falls_by_beta_over_steps_and_layers() {
        let variable = Variable::default();
        let near = |a: f32, b: f32| (a - b).abs() < 1e-7;
        assert!(near(variable.threshold(0, 100), 0.6));
        assert!(near(variable.threshold(100, 100), 0.3));
        assert!(near(
            variable.threshold(50, 100) - variable.lower(3, 3).get(),
            0.15
        ));
        assert!(near(variable.lower(1, 3).get(), 0.1));
    }

    #[test]
    fn passes_are_counted_by_the_flags_that_steps_had() -> Result<()> {
        let mut program = crate::device::Program::new(&crate::Device::cpu());
        let state = program.zeros(crate::tensor::Layout::dense(crate::tensor::DType::U32, &[20]));
        let mut choices = Choices::new(state?);
        let places = [Place::Activations, Place::Gradients];
        choices.products = vec![Product {
            layer: 1,
            places,
            work: 10,
        }];
        let mut states = [0; 20];
        // Ten steps of which three were all coarse, two under weights alone, and the last five under gradients.
        (states[10], states[11], states[12], states[13]) = (4, 5, 3, 2);
        assert_eq!(choices.passes(&states, 10), [10 * (5 + 5 * 2), 10 * 10 * 4]);
        Ok(())
    }

    #[test]
    fn coarse_codes_keep_block_and_rule() {
        let coarse = |name: &str| {
            let format = name.parse().map_err(|_| ());
            let coding = format.map(Coding::stochastic)?;
            Variable::default().coarse(coding).map_err(|_| ())
        };
        let named = |name: &str| name.parse().map(Coding::stochastic).map_err(|_| ());
        assert_eq!(coarse("bfp5-16"), named("bfp3-16"));
        assert_eq!(coarse("bfp5-16-up"), named("bfp3-16-up"));
        for other in ["mxfp8-e4m3", "bfp3-16", "bfp2-16", "int8"] {
            assert!(coarse(other).is_err(), "{other}");
        }
    }
}
