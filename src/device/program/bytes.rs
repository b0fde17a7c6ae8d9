//! What parts of a program hold.

use std::collections::BTreeSet;
use std::ops::RangeBounds;

use super::{CallId, Program};
use crate::device::storage::Storage;

impl Program {
    /// Bytes of the buffers that the calls of a range read and write, each counted once, and of their plans' scratch
    /// memory. A bound that is a call of another program leaves nothing.
    #[must_use]
    pub fn bytes_of(&self, range: impl RangeBounds<CallId>) -> u64 {
        let calls = self.indices(range).ok().and_then(|range| self.calls.get(range));
        let mut memories = BTreeSet::new();
        let mut words = 0;
        for call in calls.unwrap_or_default() {
            memories.extend(call.operands.iter().map(|span| span.memory));
            let scratch = call.ready.as_ref().and_then(|ready| ready.scratch.as_ref());
            words += scratch.map_or(0, |buffer| buffer.words);
        }
        for memory in memories {
            words += match &*self.memories[memory] {
                Storage::Host(buffer) => buffer.len() as u64,
                Storage::Gpu(buffer) => buffer.words,
            };
        }
        4 * words
    }
}
