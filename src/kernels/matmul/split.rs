//! Products whose sums over K are made in parts: f32 partial sums in scratch memory, then a dispatch that adds them
//! in ascending order and writes C. K is split over groups where outputs are few; the kernel on native bf16 units makes
//! sums and nothing else.

use std::ops::Range;
use std::sync::Arc;

use super::Matmul;
use super::cut::{cut, ranges};
use super::plan::{
    BIAS, C, FIRST, FLAGS, Form, PARTIAL_OFFSET, PARTIALS, SPLIT_DEPTH, SPLITS, WORD_BINDINGS, step,
};
use crate::error::Result;
use crate::format::random::Generator;
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

/// The parts that K is cut into, as far as the device's limits go: the partial sums lie in one binding, and the
/// groups of all parts in one dimension, as the reduction's do.
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
        .max(1)
}

/// Turns a whole step into one whose groups sum `parts` parts of K each.
pub(super) fn split_step(step: &mut Step, [m, n, k]: [u64; 3], batches: u64, parts: u64) {
    // Parts are whole slabs, so that only the last one is masked.
    let depth = k.div_ceil(parts).next_multiple_of(16);
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
    let cut = cut(op, gpu, REDUCTION_TILE, true)?;
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let whole = (cut.rows, cut.cols, cut.ks) == (m, n, k);
    let mut steps = Vec::new();
    for batches in ranges(op.batch as u64, cut.batches) {
        let batch_count = batches.end - batches.start;
        let parts = if whole {
            split_parts(op, gpu, batch_count)
        } else {
            1
        };
        for cols in ranges(n, cut.cols) {
            for rows in ranges(m, cut.rows) {
                let [tall, wide] = [&rows, &cols].map(|range| range.end - range.start);
                for ks in ranges(k.max(1), cut.ks) {
                    let ks = ks.start..ks.end.min(k);
                    let mut sums = step(op, pipeline, form, [&batches, &rows, &cols, &ks])?;
                    split_step(&mut sums, [tall, wide, ks.end - ks.start], batch_count, parts);
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
    end.work = batches * rows * cols * u64::from(partial.params[SPLITS]);
    Ok(end)
}
