//! The calls of a program that are there: which they are, and putting others in their places.

use super::{Call, CallId, Program, TensorId};
use crate::error::{Error, Result};
use crate::op::Op;

impl Program {
    /// How many operations it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// The operation that was appended as number `index`, from 0.
    #[must_use]
    pub fn nth(&self, index: usize) -> Option<CallId> {
        (index < self.calls.len()).then_some(CallId {
            program: self.number,
            index,
        })
    }

    /// The operation that was appended last.
    #[must_use]
    pub fn last(&self) -> Option<CallId> {
        let index = self.calls.len().checked_sub(1)?;
        Some(CallId {
            program: self.number,
            index,
        })
    }

    /// On a GPU every operation's name and the variant that serves it, in order; elsewhere none, where the device's
    /// instruction set says it.
    pub fn variants(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        let ready = |call: &Call| Some((call.op.name(), call.ready.as_ref()?.bound.plan().variant()));
        self.calls.iter().filter_map(ready)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Puts another operation in the place of one that was appended, as where a constant of it has changed. It runs where
    /// that one did.
    ///
    /// # Errors
    /// See [`Program::call`], the program is then as it was; a call of another program.
    pub fn exchange(&mut self, call: CallId, op: impl Op + 'static, operands: &[TensorId]) -> Result<()> {
        if call.program != self.number || call.index >= self.calls.len() {
            return Err(Error::Value {
                op: "exchange",
                what: "call",
                value: format!("number {} of another program", call.index),
                expected: "one of this program's calls",
            });
        }
        let when = self.calls[call.index].when;
        self.calls[call.index] = self.ready(op, operands, when)?;
        Ok(())
    }
}
