//! Which variant serves a kind of operation fastest on one adapter, as a tuner found it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::Gpu;

/// The preferred variants of one adapter: operation, then family ([`Op::family`](crate::op::Op::family)), then
/// variant. An empty table means the defaults, which come from limits and the kind of adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning(BTreeMap<String, BTreeMap<String, String>>);

impl Tuning {
    /// The variant preferred for a family of cases of an operation.
    #[must_use]
    pub fn get(&self, op: &str, family: &str) -> Option<&str> {
        Some(self.0.get(op)?.get(family)?.as_str())
    }

    /// Prefers a variant. A name that no variant has is never an error: it is not found, and the defaults serve.
    pub fn set(&mut self, op: &str, family: &str, variant: &str) {
        let families = self.0.entry(op.to_string()).or_default();
        families.insert(family.to_string(), variant.to_string());
    }

    /// Every (operation, family, variant), in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().flat_map(|(op, families)| {
            let entries = families.iter();
            entries.map(move |(family, variant)| (op.as_str(), family.as_str(), variant.as_str()))
        })
    }

    /// How many families have a preference.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there are only defaults.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The table of a device, and how often it was changed: plans made before do not answer for later ones.
#[derive(Debug, Default)]
pub(super) struct Tuned(RwLock<(u64, Tuning)>);

impl Gpu {
    /// Takes these preferences for plans made from now on, in place of those it had.
    pub fn set_tuning(&self, tuning: Tuning) {
        let mut guard = self.0.tuned.0.write().unwrap_or_else(PoisonError::into_inner);
        *guard = (guard.0 + 1, tuning);
    }

    /// The preferences in use.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        self.tuned().1.clone()
    }

    /// Changes with every [`Gpu::set_tuning`].
    pub(crate) fn tuning_generation(&self) -> u64 {
        self.tuned().0
    }

    fn tuned(&self) -> std::sync::RwLockReadGuard<'_, (u64, Tuning)> {
        self.0.tuned.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the tuned variant, if there is one and it serves, to the front.
    pub(crate) fn prefer_tuned(
        &self,
        op: &str,
        family: impl FnOnce() -> String,
        variants: &mut [&'static str],
    ) {
        let tuned = self.tuned();
        if variants.len() < 2 || !tuned.1.0.contains_key(op) {
            return;
        }
        let Some(wanted) = tuned.1.get(op, &family()) else {
            return;
        };
        if let Some(at) = variants.iter().position(|variant| *variant == wanted) {
            variants[..=at].rotate_right(1);
        }
    }
}
