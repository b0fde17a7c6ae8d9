//! Pruning of host matrices.

use crate::error::{Error, Result};
use crate::tensor::Csr;

const OP: &str = "prune";

/// How much to prune, of the elements that are still kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Amount {
    /// A share in 0..=1; the count is rounded half to even, in f64.
    Fraction(f64),
    /// So many elements.
    Count(usize),
}

impl Amount {
    fn of(self, kept: usize) -> Result<usize> {
        match self {
            Self::Fraction(share) if (0.0..=1.0).contains(&share) => {
                Ok((share * kept as f64).round_ties_even() as usize)
            }
            Self::Fraction(share) => Err(Error::Value {
                op: OP,
                what: "fraction",
                value: share.to_string(),
                expected: "a share in 0..=1",
            }),
            Self::Count(count) if count <= kept => Ok(count),
            Self::Count(count) => {
                let (value, limit) = (count as u64, kept as u64);
                Err(Error::Limit {
                    op: OP,
                    what: "elements to prune",
                    value,
                    limit,
                })
            }
        }
    }
}

/// Which elements of a matrix are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask(Vec<bool>);

impl Mask {
    /// A mask that keeps all of `len` elements.
    #[must_use]
    pub fn full(len: usize) -> Self {
        Self(vec![true; len])
    }

    /// Whether each element is kept, in row-major order.
    #[must_use]
    pub fn kept(&self) -> &[bool] {
        &self.0
    }

    /// How many elements are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().filter(|kept| **kept).count()
    }

    /// Writes +0 where an element is pruned.
    ///
    /// # Errors
    /// [`Error::Dimension`] when `values` has another length.
    pub fn apply(&self, values: &mut [f32]) -> Result<()> {
        check_len(self.0.len(), values.len())?;
        for (value, _) in values.iter_mut().zip(&self.0).filter(|(_, kept)| !**kept) {
            *value = 0.0;
        }
        Ok(())
    }

    /// The kept elements of a row-major matrix, zeros among them left out.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Dimension`] where lengths disagree.
    pub fn to_csr(&self, rows: usize, cols: usize, values: &[f32]) -> Result<Csr> {
        let mut pruned = values.to_vec();
        self.apply(&mut pruned)?;
        Csr::from_dense(rows, cols, &pruned)
    }
}

fn check_len(mask: usize, values: usize) -> Result<()> {
    if mask == values {
        return Ok(());
    }
    Err(Error::Dimension {
        op: OP,
        dimension: "elements",
        left_name: "mask",
        left: mask as u64,
        right_name: "values",
        right: values as u64,
    })
}

/// What decides which elements go first: the elements with the smallest scores are pruned, those with equal
/// scores by lowest index first. Implement it for a heuristic of your own.
pub trait PruningMethod {
    /// A score for every element, in the same order as `values`.
    fn scores(&self, values: &[f32]) -> Vec<u32>;
}

/// Magnitude: the f32 bits without their sign, compared as integers. So -0 equals +0, Inf ranks above every
/// finite value, and NaN above Inf: both are pruned last. The same mask comes out on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Magnitude;

impl PruningMethod for Magnitude {
    fn scores(&self, values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits() & 0x7fff_ffff).collect()
    }
}

/// Prunes an amount of what `mask` still keeps; what was pruned before stays pruned.
///
/// # Errors
/// A fraction outside 0..=1, a count above what is kept, or lengths that disagree. The mask is then unchanged.
pub fn prune(method: &dyn PruningMethod, amount: Amount, values: &[f32], mask: &mut Mask) -> Result<()> {
    check_len(mask.0.len(), values.len())?;
    let scores = method.scores(values);
    check_len(scores.len(), values.len())?;
    let mut candidates: Vec<usize> = (0..values.len()).filter(|&i| mask.0[i]).collect();
    let count = amount.of(candidates.len())?;
    if count == 0 {
        return Ok(());
    }
    if count < candidates.len() {
        candidates.select_nth_unstable_by_key(count - 1, |&i| (scores[i], i));
    }
    for &i in &candidates[..count] {
        mask.0[i] = false;
    }
    Ok(())
}
