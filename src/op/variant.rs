//! The variants of an operation on a GPU, as rows of one table.

use super::Op;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Permutation, Plan};

/// One way to run an operation of type `O` on a GPU.
pub struct Variant<O: 'static> {
    /// Its name, for tuners, tests and tables.
    pub name: &'static str,
    /// Whether it can run this operation on this GPU; `any_offset`: with operands at any multiple of 4 bytes.
    pub serves: fn(&O, &Gpu, bool) -> bool,
    /// Where it stands among those that serve: the lowest is preferred.
    pub rank: fn(&O, &Gpu) -> u32,
    /// Its dispatches, in order.
    pub dispatches: fn(&O, &Gpu, bool) -> Result<Vec<Dispatch>>,
    /// Every permutation that its dispatches may take.
    pub permutations: fn() -> Vec<Permutation>,
}

impl<O> std::fmt::Debug for Variant<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Variant({})", self.name)
    }
}

impl<O: Op> Variant<O> {
    /// The names of those that serve, the preferred one first; what [`Op::variants`] returns.
    #[must_use]
    pub fn serving(table: &'static [Self], op: &O, gpu: &Gpu, any_offset: bool) -> Vec<&'static str> {
        let mut rows: Vec<_> = table
            .iter()
            .filter(|row| (row.serves)(op, gpu, any_offset))
            .collect();
        rows.sort_by_key(|row| (row.rank)(op, gpu));
        rows.into_iter().map(|row| row.name).collect()
    }

    /// The plan of the variant of this name; what [`Op::plan_variant`] returns.
    ///
    /// # Errors
    /// [`Error::Value`] for a name that no row has or a variant that does not serve; whatever planning finds.
    pub fn plan(
        table: &'static [Self],
        op: &O,
        gpu: &Gpu,
        variant: &'static str,
        any_offset: bool,
    ) -> Result<Plan> {
        let row = table.iter().find(|row| row.name == variant);
        let row = row.filter(|row| (row.serves)(op, gpu, any_offset));
        let row = row.ok_or_else(|| unknown(op, variant))?;
        let dispatches = (row.dispatches)(op, gpu, any_offset)?;
        Plan::new(
            gpu,
            op.name(),
            row.name,
            op.operands(),
            dispatches,
            op.step_values(),
        )
    }

    /// The permutations of all rows.
    #[must_use]
    pub fn permutations(table: &'static [Self]) -> Vec<Permutation> {
        table.iter().flat_map(|row| (row.permutations)()).collect()
    }
}

/// What a name of a variant must be.
pub(super) const EXPECTED: &str = "one of the variants that serve this case on this GPU (see Op::variants)";

/// The error for a variant that there is not, or that does not serve.
fn unknown(op: &dyn Op, variant: &str) -> Error {
    Error::Value {
        op: op.name(),
        what: "variant",
        value: variant.to_string(),
        expected: EXPECTED,
    }
}
