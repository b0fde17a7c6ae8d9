//! Losses over rows of classes, on GPUs: whole rows, or, where rows have more classes than one dispatch may walk or one
//! binding holds, parts of the classes in order.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Pipeline, Shader, Words, looped, split_rows};
use crate::op::rows;

/// The passes over the parts, in order.
pub(crate) const PASSES: [&str; 3] = ["maximum", "total", "gradient"];

/// What is walked.
#[derive(Clone, Copy)]
pub(crate) struct ClassRows {
    pub(crate) rows: u64,
    pub(crate) classes: u64,
    /// Bytes that a row spans in the operand that is widest.
    pub(crate) row_bytes: u64,
    /// Elementary operations per logit.
    pub(crate) work: u64,
    /// Words of scratch memory per row.
    pub(crate) partial: u64,
}

impl ClassRows {
    /// Turns of the three loops over a whole row.
    fn turns(&self) -> u64 {
        3 * looped(self.classes, 0)
    }

    /// The most classes of one part, a multiple of eight; `None` where one dispatch may walk whole rows.
    fn part(&self, gpu: &Gpu) -> Option<u64> {
        let cap = gpu.turn_cap();
        let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
        let fits = self.row_bytes <= binding;
        if self.turns() <= cap && fits {
            return None;
        }
        let by_turns = cap.saturating_sub(looped(0, 0)) / 8;
        let by_binding = match fits {
            true => u64::MAX,
            // Such rows stand alone in their dispatches.
            false => binding / 32,
        };
        Some(by_turns.min(by_binding).max(1).saturating_mul(8))
    }

    /// The dispatches of a shader over whole rows, or of one with [`PASSES`] over parts. `dispatch` makes one over rows and
    /// classes, but for the turns and what only one of the shaders has.
    pub(crate) fn dispatches(
        &self,
        gpu: &Gpu,
        [whole, parts]: [&'static Shader; 2],
        permutation: impl Fn(&'static Shader) -> Permutation,
        dispatch: impl Fn(&Arc<Pipeline>, [&Range<u64>; 2]) -> Dispatch,
    ) -> Result<Vec<Dispatch>> {
        let classes = self.classes;
        let mut dispatches = Vec::new();
        let rows = |row_bytes| split_rows(gpu, self.rows, classes * self.work, row_bytes, 1);
        let Some(part) = self.part(gpu) else {
            let pipeline = gpu.pipeline(&permutation(whole))?;
            for rows in rows(self.row_bytes) {
                let one = dispatch(&pipeline, [&rows, &(0..classes)]);
                dispatches.push(one.set("partial_offset", 0u32).turns(self.turns()));
            }
            return Ok(dispatches);
        };
        let mut pipelines = Vec::with_capacity(PASSES.len());
        for pass in PASSES {
            pipelines.push(gpu.pipeline(&permutation(parts).entry(pass))?);
        }
        for rows in rows(self.row_bytes.max(self.partial * 4)) {
            for pipeline in &pipelines {
                for cols in rows::cut(0..classes, part) {
                    let scratch = Words::scratch(0..self.partial * (rows.end - rows.start));
                    let one = dispatch(pipeline, [&rows, &cols]).bind("partial", scratch);
                    dispatches.push(one.turns(looped(cols.end - cols.start, 0)));
                }
            }
        }
        Ok(dispatches)
    }
}
