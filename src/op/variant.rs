//! The variants of an operation on a GPU, as rows of one table.

use super::Op;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Offsets, Permutation, Plan};

/// One way to run an operation of type `O` on a GPU.
pub struct Variant<O: 'static> {
    /// Its name, for tuners, tests and tables.
    pub name: &'static str,
    /// Whether it can run this operation on this GPU.
    pub serves: fn(&O, &Gpu, Offsets) -> bool,
    /// Where it stands among those that serve: the lowest is preferred.
    pub rank: fn(&O, &Gpu) -> u32,
    /// Its dispatches, in order.
    pub dispatches: fn(&O, &Gpu, Offsets) -> Result<Vec<Dispatch>>,
    /// Every permutation that its dispatches may take.
    pub permutations: fn() -> Vec<Permutation>,
}

impl<O> std::fmt::Debug for Variant<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Variant({})", self.name)
    }
}

/// The variants of one type of operation: `static VARIANTS: Variants<Axpby> = Variants(&[..]);`.
#[derive(Debug)]
pub struct Variants<O: 'static>(pub &'static [Variant<O>]);

/// What an operation gives as its table of variants ([`Op::table`]): [`Variants`] of its own type.
pub trait Table: std::fmt::Debug + Sync {
    /// The names of the variants that serve, the preferred one first.
    fn serving(&self, op: &dyn Op, gpu: &Gpu, offsets: Offsets) -> Vec<&'static str>;

    /// The plan of the variant of this name.
    ///
    /// # Errors
    /// [`Error::Value`] for a name that no row has or a variant that does not serve; whatever planning finds.
    fn plan(&self, op: &dyn Op, gpu: &Gpu, variant: &str, offsets: Offsets) -> Result<Plan>;

    /// Every permutation that some variant's dispatches may take, [`checked`](Permutation::checked).
    fn permutations(&self) -> Vec<Permutation>;

    /// Those of the variant of this name, or more.
    fn permutations_of(&self, _variant: &str) -> Vec<Permutation> {
        self.permutations()
    }
}

impl<O: Op> Table for Variants<O> {
    fn serving(&self, op: &dyn Op, gpu: &Gpu, offsets: Offsets) -> Vec<&'static str> {
        let Some(op) = op.as_any().downcast_ref::<O>() else {
            return Vec::new();
        };
        let serves = |row: &&Variant<O>| (row.serves)(op, gpu, offsets);
        let mut rows: Vec<_> = self.0.iter().filter(serves).collect();
        rows.sort_by_key(|row| (row.rank)(op, gpu));
        rows.into_iter().map(|row| row.name).collect()
    }

    fn plan(&self, op: &dyn Op, gpu: &Gpu, variant: &str, offsets: Offsets) -> Result<Plan> {
        let unknown = || Error::Value {
            op: op.name(),
            what: "variant",
            value: variant.to_string(),
            expected: EXPECTED,
        };
        let own = op.as_any().downcast_ref::<O>().ok_or_else(unknown)?;
        // Parameters bound loops of shaders that are trusted: of no operation that has not passed, whoever asks.
        op.check()?;
        op.check_gpu(gpu)?;
        let serves = |row: &&Variant<O>| row.name == variant && (row.serves)(own, gpu, offsets);
        let row = self.0.iter().find(serves).ok_or_else(unknown)?;
        let dispatches = (row.dispatches)(own, gpu, offsets)?;
        Plan::new(
            gpu,
            op.name(),
            row.name,
            op.operands(),
            dispatches,
            op.step_values(),
        )
    }

    fn permutations(&self) -> Vec<Permutation> {
        let all = self.0.iter().flat_map(|row| (row.permutations)());
        all.map(Permutation::checked).collect()
    }

    fn permutations_of(&self, variant: &str) -> Vec<Permutation> {
        let rows = self.0.iter().filter(|row| row.name == variant);
        let all = rows.flat_map(|row| (row.permutations)());
        all.map(Permutation::checked).collect()
    }
}

/// No variants: an operation that no GPU runs.
#[derive(Debug)]
pub struct NoVariants;

impl Table for NoVariants {
    fn serving(&self, _: &dyn Op, _: &Gpu, _: Offsets) -> Vec<&'static str> {
        Vec::new()
    }

    fn plan(&self, op: &dyn Op, _: &Gpu, variant: &str, _: Offsets) -> Result<Plan> {
        Err(Error::Value {
            op: op.name(),
            what: "variant",
            value: variant.to_string(),
            expected: EXPECTED,
        })
    }

    fn permutations(&self) -> Vec<Permutation> {
        Vec::new()
    }
}

/// What a name of a variant must be.
pub(super) const EXPECTED: &str = "one of the variants that serve this case on this GPU (see Op::variants)";
