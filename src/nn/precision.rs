//! Variable precision after FAST (Zhang, McDanel and Kung, 2021): which operands of products are coarse, step by step.
//!
//! The products of a layer are recorded with every pairing of coarse and fine operands, and a step runs those that are
//! chosen. The choice is made from sums that the device leaves behind every so many steps, read with them.

use std::ops::Bound;

use super::products::Coding;
use crate::device::CallId;
use crate::error::{Error, Result};
use crate::format::{Element, Format};
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
    /// What the improvement must exceed.
    pub(super) fn threshold(&self, [step, steps]: [usize; 2], [layer, layers]: [usize; 2]) -> f64 {
        let share = |a: usize, b: usize| a as f64 / b.max(1) as f64;
        f64::from(self.alpha) - f64::from(self.beta) * (share(step, steps) + share(layer, layers))
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

/// Calls that not every step runs, from the first to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    pub(super) calls: [CallId; 2],
    pub(super) when: When,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// A layer's operands in these places are fine, or are not.
    Fine {
        layer: usize,
        operands: [(Place, bool); 2],
        /// Multiply-adds of the product.
        work: u64,
    },
    /// The step measures.
    Measuring,
}

/// The sums of an operand that are left behind by a step that measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) layer: usize,
    pub(super) place: Place,
    pub(super) sums: crate::device::TensorId,
}

/// What is chosen now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Of every layer's weights, activations and gradients, whether they are fine.
    pub(super) fine: Vec<[bool; 3]>,
    pub(super) measuring: bool,
}

impl Choices {
    /// All coarse.
    pub(super) fn new(layers: usize) -> Self {
        Self {
            fine: vec![[false; 3]; layers],
            measuring: false,
        }
    }

    fn is_fine(&self, layer: usize, place: Place) -> bool {
        self.fine.get(layer).is_some_and(|fine| fine[place as usize])
    }

    fn runs(&self, when: When) -> bool {
        match when {
            When::Measuring => self.measuring,
            When::Fine { layer, operands, .. } => operands
                .into_iter()
                .all(|(place, fine)| self.is_fine(layer, place) == fine),
        }
    }

    /// Ranges of calls from one bound to another without the branches that are not chosen.
    pub(super) fn ranges(
        &self,
        branches: &[Branch],
        from: Bound<CallId>,
        to: Bound<CallId>,
    ) -> Vec<(Bound<CallId>, Bound<CallId>)> {
        let mut ranges = Vec::new();
        let mut start = from;
        // Branches are in the order of their calls.
        let inside = |call: CallId| {
            let after = match from {
                Bound::Excluded(first) => call > first,
                Bound::Included(first) => call >= first,
                Bound::Unbounded => true,
            };
            after
                && match to {
                    Bound::Excluded(last) => call < last,
                    Bound::Included(last) => call <= last,
                    Bound::Unbounded => true,
                }
        };
        for branch in branches {
            let [first, last] = branch.calls;
            if inside(first) && !self.runs(branch.when) {
                ranges.push((start, Bound::Excluded(first)));
                start = Bound::Excluded(last);
            }
        }
        ranges.push((start, to));
        ranges
    }

    /// Chunk passes of a step's products, and those of fine operands throughout: a product of 4-bit mantissas is four of
    /// 2-bit ones.
    pub(super) fn passes(&self, branches: &[Branch]) -> [u64; 2] {
        let mut passes = [0; 2];
        for branch in branches {
            if let When::Fine { operands, work, .. } = branch.when
                && self.runs(branch.when)
            {
                let each = |fine: bool| if fine { 2 } else { 1 };
                passes[0] += work * operands.into_iter().map(|(_, fine)| each(fine)).product::<u64>();
                passes[1] += work * 4;
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
        let near = |a: f64, b: f64| (a - b).abs() < 1e-7;
        assert!(near(variable.threshold([0, 100], [0, 3]), 0.6));
        assert!(near(variable.threshold([100, 100], [0, 3]), 0.3));
        assert!(near(variable.threshold([50, 100], [3, 3]), 0.15));
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
