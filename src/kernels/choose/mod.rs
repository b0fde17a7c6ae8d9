//! `choose`: whether an operand of a layer's products is fine from now on, decided where the sums are.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Op, Scalar, Table, check_limit};

const OP: &str = "choose";

/// Chooses between coarse and fine by the sums of [`Improvement`](super::Improvement): the operand is fine where
/// `sum a > (threshold - lower) * sum b` over the pairs `a`, `b`, threshold being a step value. Operands: `sums` (f32, two
/// a row of what was measured), `state` ([`Choose::STATE`] words a layer, this layer's the last ones that it may have).
///
/// A layer's state is its flags, a bit for each of up to three places; the number of the step in which they were chosen
/// last; and for each of the eight values of the flags how many steps it was in force, up to that one. A choice counts
/// the steps since the last one to the flags that it finds, its own step among them, and then changes them: it comes after
/// all that goes by the flags.
///
/// Exact class. Everything is counted in whole numbers: magnitudes in steps of 2^-31 of the largest one's binade, cut off;
/// both sums cut to the 32 bits that the larger one needs; `threshold` and `lower`, which is rounded on its own, to nearest
/// in steps of 2^-16, from -8192 to 8192. What is all zeros, or has a number that is not finite, is coarse; below a negative
/// threshold everything else is fine.
///
/// | variant | when | why |
/// |---|---|---|
/// | `group` | always | one workgroup: there are few sums, and no second pass over partial ones |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Choose {
    /// Pairs of sums.
    pub pairs: usize,
    /// Which layer, from 0.
    pub layer: usize,
    /// Which of its places, from 0 to 2.
    pub place: u32,
    /// What the threshold is lowered by, from -8192 to 8192.
    pub lower: Scalar,
    /// The step's number, and the scalar `threshold`.
    pub step: StepValues,
}

impl Choose {
    /// The name of the step value that improvements must be above.
    pub const THRESHOLD: &'static str = "threshold";

    /// Words of a layer's state: flags, the step that chose them, and eight counts of steps.
    pub const STATE: usize = 10;

    /// The largest threshold.
    const MOST: f32 = 8192.0;

    /// For so many pairs of sums, for a place of a layer, the threshold as it is.
    #[must_use]
    pub fn new(pairs: usize, layer: usize, place: u32) -> Self {
        Self {
            pairs,
            layer,
            place,
            lower: Scalar::new(0.0),
            step: StepValues::default().with(Self::THRESHOLD, 0.0),
        }
    }

    /// The first word of the layer's state.
    fn first(&self) -> u64 {
        (self.layer as u64).saturating_mul(Self::STATE as u64)
    }

    /// A threshold in steps of 2^-16.
    fn steps(threshold: f32) -> i64 {
        (f64::from(threshold.clamp(-Self::MOST, Self::MOST)) * 65536.0).round_ties_even() as i64
    }
}

impl Op for Choose {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self {
            pairs, layer, place, ..
        } = self;
        format!(
            "{pairs} pairs, place {place} of layer {layer} less {}",
            self.lower
        )
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("sums", (self.pairs as u64).saturating_mul(2)),
            OperandSpec::update("state", self.first().saturating_add(Self::STATE as u64)),
        ]
    }

    fn check(&self) -> Result<()> {
        // Sums of as many have 64 bits.
        check_limit(OP, "pairs", self.pairs as u64, 1 << 30)?;
        check_limit(OP, "layer", self.layer as u64, 1 << 24)?;
        let refuse = |what, value, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            })
        };
        if self.place > 2 {
            return refuse("place", self.place.to_string(), "0 to 2");
        }
        // A NaN is in no range.
        if !(-Self::MOST..=Self::MOST).contains(&self.lower.get()) {
            return refuse("lower", self.lower.to_string(), "a number from -8192 to 8192");
        }
        Ok(())
    }

    fn step_values(&self) -> StepValues {
        self.step.clone()
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        let (threshold, number) = (args.step.get(OP, Self::THRESHOLD)?, args.step.number);
        let [sums, state] = args.take(self)?;
        cpu::choose(self, (threshold, number), sums.read(), state.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let (threshold, number) = (args.step.get(OP, Self::THRESHOLD)?, args.step.number);
        let [sums, state] = args.take(self)?;
        reference::choose(self, threshold, number, sums.read(), state.write()?);
        Ok(())
    }
}
