//! Rows of more classes than one dispatch may walk, or one binding holds: parts of the classes, in order.

use std::ops::Range;

use super::{KERNEL, SoftmaxCrossEntropy, WORK};
use crate::error::Result;
use crate::format::Rounding;
use crate::gpu::{Binding, Gpu, Kernel, Step, Window, split_rows};
use crate::op::rows;
use crate::shaders;
use crate::tensor::DType;

/// Words of scratch memory per row: see `softmax_parts.wgsl`.
const PARTIAL: u64 = 3;

/// The passes over the parts, in order.
pub(super) const PASSES: [&str; 3] = ["maximum", "total", "gradient"];

pub(super) static PARTS: Kernel = Kernel {
    name: "softmax_cross_entropy_parts",
    sources: &[
        shaders::INDEX,
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/softmax_cross_entropy/softmax_common.wgsl"),
        include_str!("../../../shaders/softmax_cross_entropy/softmax_parts.wgsl"),
    ],
    bindings: &[
        Binding::params(16),
        Binding::step(),
        Binding::read("logits"),
        Binding::read("labels"),
        Binding::write("loss"),
        Binding::write("grad"),
        Binding::write("kept"),
        Binding::write("partial"),
    ],
};

impl SoftmaxCrossEntropy {
    /// Bytes that a row spans in the operand that is widest.
    fn row_bytes(&self) -> u64 {
        self.logits_ld.max(self.grad_ld) as u64 * 4
    }

    /// Turns of one draw's loops.
    fn draw_turns(&self) -> u64 {
        match (self.grad, self.rounding) {
            (DType::Bf16, Rounding::Stochastic) => shaders::draw_turns(self.draw.generator),
            _ => 0,
        }
    }

    /// Turns of one loop over `classes`, with its draws: one at the first class and at every eighth index.
    fn loop_turns(&self, classes: u64) -> u64 {
        classes + 1 + (classes.div_ceil(8) + 1) * self.draw_turns()
    }

    /// The most classes of one part, a multiple of eight; `None` where one dispatch may walk whole rows.
    fn part(&self, gpu: &Gpu) -> Option<u64> {
        let (classes, cap) = (self.classes as u64, gpu.turn_cap());
        let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
        if 2 * (classes + 1) + self.loop_turns(classes) <= cap && self.row_bytes() <= binding {
            return None;
        }
        // 8 k classes make 8 k + 1 turns and k + 1 draws.
        let draw = self.draw_turns();
        let by_turns = cap.saturating_sub(1 + draw) / (8 + draw);
        let by_binding = match self.row_bytes() <= binding {
            true => u64::MAX,
            // Such rows stand alone in their dispatches.
            false => binding / 32,
        };
        Some(by_turns.min(by_binding).max(1).saturating_mul(8))
    }

    pub(super) fn steps(&self, gpu: &Gpu) -> Result<Vec<Step>> {
        let (classes, part) = (self.classes as u64, self.part(gpu));
        let row_bytes = match part {
            None => self.row_bytes(),
            Some(_) => self.row_bytes().max(PARTIAL * 4),
        };
        let mut steps = Vec::new();
        for rows in split_rows(gpu, self.rows as u64, classes * WORK, row_bytes, 1) {
            let Some(part) = part else {
                let turns = 2 * (classes + 1) + self.loop_turns(classes);
                steps.push(self.step(
                    gpu,
                    &super::permutation(self, &KERNEL),
                    &rows,
                    &(0..classes),
                    turns,
                )?);
                continue;
            };
            for pass in PASSES {
                let permutation = super::permutation(self, &PARTS).entry(pass);
                for cols in rows::cut(0..classes, part) {
                    let turns = match pass {
                        "gradient" => self.loop_turns(cols.end - cols.start),
                        _ => cols.end - cols.start + 1,
                    };
                    let mut step = self.step(gpu, &permutation, &rows, &cols, turns)?;
                    let count = rows.end - rows.start;
                    step.windows.push(Window::scratch(0, PARTIAL * count, 15));
                    steps.push(step);
                }
            }
        }
        Ok(steps)
    }

    /// The words from class `cols.start` of the first row to the end of `cols` in the last, of an operand.
    pub(super) fn window(
        operand: (usize, DType, usize),
        rows: &Range<u64>,
        cols: &Range<u64>,
        param: usize,
    ) -> Window {
        let (index, dtype, ld) = operand;
        let first = rows.start * dtype.words(ld as u64) + dtype.words(cols.start);
        let (count, width) = (rows.end - rows.start, cols.end - cols.start);
        Window::of(
            index,
            first,
            rows::words(dtype, count as usize, width as usize, ld),
            param,
        )
    }
}
