//! What an operation promises of its results, as a value that judges them.

use super::contract::{Class, Comparison, Verdict};
use super::{Judge, Op};

/// Judges the outputs of one run.
pub type Rule<'a> = Box<dyn for<'j> Fn(Judge<'j>) -> Judge<'j> + 'a>;

/// What an operation promises of its results. Operands that a rule does not name, and padding in those that it names,
/// are held to the reference's bits.
#[non_exhaustive]
pub enum Contract<'a> {
    /// Every word of every written operand equals the reference's, padding included.
    Exact,
    /// Sums of products, by [`Judge::bounded`].
    Bounded(Rule<'a>),
    /// A bound derived in the operation's file, by [`Judge::composite`].
    Composite(Rule<'a>),
}

impl std::fmt::Debug for Contract<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contract({})", self.class())
    }
}

impl<'a> Contract<'a> {
    /// The bounded class.
    #[must_use]
    pub fn bounded(rule: impl for<'j> Fn(Judge<'j>) -> Judge<'j> + 'a) -> Self {
        Self::Bounded(Box::new(rule))
    }

    /// The composite class.
    #[must_use]
    pub fn composite(rule: impl for<'j> Fn(Judge<'j>) -> Judge<'j> + 'a) -> Self {
        Self::Composite(Box::new(rule))
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Exact => Class::Exact,
            Self::Bounded(_) => Class::Bounded,
            Self::Composite(_) => Class::Composite,
        }
    }

    /// Judges one run.
    #[must_use]
    pub fn judge(&self, op: &dyn Op, comparison: &Comparison<'_>) -> Verdict {
        let judge = Judge::new(op, comparison);
        match self {
            Self::Exact => judge,
            Self::Bounded(rule) | Self::Composite(rule) => rule(judge),
        }
        .finish()
    }
}
