//! Operations as keys: what a cache of plans tells them apart by.

use std::any::Any;
use std::hash::{Hash, Hasher};

use super::Op;

/// What every operation gets from deriving `Clone`, `PartialEq`, `Eq` and `Hash`: two operations are one key where
/// they are of one type and equal, whatever they print.
pub trait OpKey: Any {
    /// Whether `other` is of the same type and equal.
    fn same_as(&self, other: &dyn Op) -> bool;

    /// Feeds its type and its fields to a hasher.
    fn hash_to(&self, state: &mut dyn Hasher);

    /// A copy of its own.
    fn boxed(&self) -> Box<dyn Op>;

    /// Itself, to be told apart by type.
    fn as_any(&self) -> &dyn Any;

    /// Itself as any operation.
    fn as_op(&self) -> &dyn Op;
}

impl<T: Op + Clone + Eq + Hash + 'static> OpKey for T {
    fn same_as(&self, other: &dyn Op) -> bool {
        other.as_any().downcast_ref::<T>() == Some(self)
    }

    fn hash_to(&self, mut state: &mut dyn Hasher) {
        self.type_id().hash(&mut state);
        self.hash(&mut state);
    }

    fn boxed(&self) -> Box<dyn Op> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_op(&self) -> &dyn Op {
        self
    }
}

impl PartialEq for dyn Op {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl Eq for dyn Op {}

impl Hash for dyn Op {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_to(state);
    }
}
