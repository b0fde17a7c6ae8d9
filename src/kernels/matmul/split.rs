//! Products whose sums over K are made in parts: f32 partial sums in scratch memory, then a dispatch that adds them
//! in ascending order and writes C. K is split over groups where outputs are few; the kernel on native bf16 units makes
//! sums and nothing else.

use std::ops::Range;
use std::sync::Arc;

use super::cut::{cut, ranges, within};
use super::form::{EMIT, Form};
use super::plan::{
    BIAS, C, FIRST, FLAGS, PARTIAL_OFFSET, PARTIALS, SPLIT_DEPTH, SPLITS, WORD_BINDINGS, step,
};
use super::{Matmul, OP};
use crate::error::Result;
use crate::format::random::Generator;
use crate::gpu::looped;
use crate::gpu::{Gpu, Kernel, Permutation, Pipeline, Step, Window};
use crate::shaders;

/// Groups that the split variant aims at: enough for the largest GPU to have two or three on every processor.
const SPLIT_GROUPS: u64 = 512;
/// The fewest k worth a part of its own: below, the partial sums cost more than they gain.
const SPLIT_K: u64 = 128;

/// Rows and columns that one group of the reduction makes.
const REDUCTION_TILE: [u64; 2] = [8, 64];

static REDUCE: Kernel = Kernel {
    name: "matmul_reduce",
    sources: &[
        shaders::STEP,
        shaders::BF16,
        shaders::RANDOM,
        include_str!("../../../shaders/matmul/matmul_load_word.wgsl"),
        include_str!("../../../shaders/matmul/matmul_common.wgsl"),
        include_str!("../../../shaders/matmul/matmul_reduce.wgsl"),
    ],
    bindings: &WORD_BINDINGS,
};

/// The end of a split product: it reads neither operand.
pub(super) fn reduction(stochastic: Option<Generator>) -> Permutation {
    Permutation::new(&REDUCE)
        .library(shaders::generator(stochastic.unwrap_or_default()))
        .constant("A_BF16", false)
        .constant("B_BF16", false)
        .constant("A_TRANSPOSED", false)
        .constant("B_TRANSPOSED", false)
        .constant("STOCHASTIC", stochastic.is_some())
}

/// How many parts the split variant cuts K into.
pub(super) fn parts(op: &Matmul, m: u64, n: u64, batches: u64) -> u64 {
    let tiles = m.div_ceil(64) * n.div_ceil(64) * batches.max(1);
    let wanted = SPLIT_GROUPS / tiles.max(1);
    wanted.min(op.terms() as u64 / SPLIT_K).max(1)
}

/// Turns of the reduction's loops.
const fn reduction_turns(parts: u64) -> u64 {
    looped(parts, 0) + EMIT
}

/// The k of each part but the last: whole slabs, so that only the last one is masked.
pub(super) fn part_depth(k: u64, parts: u64) -> u64 {
    k.div_ceil(parts).next_multiple_of(16)
}

/// The parts that K is cut into, as far as the device's limits go: the partial sums lie in one binding, the groups of
/// all parts in one dimension, as the reduction's do, and the reduction goes through all parts in one loop.
pub(super) fn split_parts(op: &Matmul, gpu: &Gpu, batches: u64) -> u64 {
    let limits = gpu.limits();
    let groups = u64::from(limits.max_compute_workgroups_per_dimension);
    let (m, n) = (op.m as u64, op.n as u64);
    if m.div_ceil(REDUCTION_TILE[0]) > groups {
        return 1;
    }
    let sums = batches.saturating_mul(m).saturating_mul(n).max(1);
    let memory = (limits.max_storage_buffer_binding_size.saturating_sub(512) / 4) / sums;
    parts(op, m, n, batches)
        .min(memory)
        .min(groups / batches.max(1))
        .min(gpu.turn_cap().saturating_sub(reduction_turns(0)))
        .max(1)
}

/// Turns a whole step into one whose groups sum `parts` parts of K each.
pub(super) fn split_step(step: &mut Step, form: Form, [m, n, k]: [u64; 3], batches: u64, parts: u64) {
    let depth = part_depth(k, parts);
    step.turns = form.turns().of(depth.min(k));
    step.params[FLAGS] = FIRST;
    step.params[SPLITS] = parts as u32;
    step.params[SPLIT_DEPTH] = depth as u32;
    step.windows[BIAS] = Window::empty();
    step.windows[C] = Window::empty();
    step.windows[PARTIALS] = Window::scratch(0, batches * parts * m * n, PARTIAL_OFFSET);
    step.groups[2] = (batches * parts) as u32;
}

/// The steps of a kernel that makes sums and no more: into scratch memory, part by part of K, and then to C.
pub(super) fn sums_then_reduction(
    op: &Matmul,
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    form: Form,
) -> Result<Vec<Step>> {
    let deepest = form.turns().deepest(OP, gpu)?;
    let cut_to = |deepest| cut(op, gpu, REDUCTION_TILE, true, deepest);
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let (shared, limited) = (cut_to(u64::MAX)?, cut_to(deepest)?);
    let whole = (shared.rows, shared.cols, shared.ks) == (m, n, k);
    let mut steps = Vec::new();
    for outer in ranges(op.batch as u64, shared.batches) {
        let parts = if whole {
            split_parts(op, gpu, outer.end - outer.start)
        } else {
            1
        };
        // Groups that share a sum go as deep as their part of it only.
        let (cut, parts) = match part_depth(shared.ks, parts) <= deepest {
            true => (shared, parts),
            false => (limited, 1),
        };
        for batches in within(&outer, cut.batches) {
            let batch_count = batches.end - batches.start;
            for cols in ranges(n, cut.cols) {
                for rows in ranges(m, cut.rows) {
                    let [tall, wide] = [&rows, &cols].map(|range| range.end - range.start);
                    for ks in ranges(k.max(1), cut.ks) {
                        let ks = ks.start..ks.end.min(k);
                        let mut sums = step(op, pipeline, form, [&batches, &rows, &cols, &ks])?;
                        split_step(
                            &mut sums,
                            form,
                            [tall, wide, ks.end - ks.start],
                            batch_count,
                            parts,
                        );
                        if ks.start > 0 {
                            sums.params[FLAGS] = 0;
                        }
                        steps.push(sums);
                    }
                    if let Some(last) = steps.last() {
                        let end = reduction_step(op, gpu, [&batches, &rows, &cols, &(0..k)], last)?;
                        steps.push(end);
                    }
                }
            }
        }
    }
    Ok(steps)
}

/// The step after those that leave parts of sums in scratch memory, `partial` the last of them: adds the parts and
/// writes C.
pub(super) fn reduction_step(
    op: &Matmul,
    gpu: &Gpu,
    ranges: [&Range<u64>; 4],
    partial: &Step,
) -> Result<Step> {
    let pipeline = gpu.pipeline(&reduction(op.is_stochastic().then_some(op.draw.generator)))?;
    let mut end = step(op, &pipeline, Form::Direct, ranges)?;
    let [batches, rows, cols, _] = ranges.map(|range| range.end - range.start);
    end.params[SPLITS] = partial.params[SPLITS];
    end.windows[0] = Window::empty();
    end.windows[1] = Window::empty();
    end.windows[PARTIALS] = partial.windows[PARTIALS].clone();
    let [tall, wide] = REDUCTION_TILE;
    end.groups = [
        rows.div_ceil(tall) as u32,
        cols.div_ceil(wide) as u32,
        batches as u32,
    ];
    end.turns = reduction_turns(u64::from(partial.params[SPLITS]));
    end.work = batches * rows * cols * u64::from(partial.params[SPLITS]);
    Ok(end)
}
