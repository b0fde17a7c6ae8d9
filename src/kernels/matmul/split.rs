//! Products whose sums over K are made in parts: f32 partial sums in scratch memory, then a dispatch that adds them
//! in ascending order and writes C. K is split over groups where outputs are few; the kernel on native bf16 units makes
//! sums and nothing else.

use std::sync::Arc;

use super::access::{Access, Source};
use super::cut::{cut, ranges, within};
use super::form::{EMIT, Form};
use super::gpu::{self, FIRST, Part, REDUCE};
use super::{Matmul, OP};
use crate::error::Result;
use crate::format::random::Generator;
use crate::gpu::{Dispatch, Gpu, Permutation, Pipeline, Words, looped};

/// Groups that the split variant aims at: enough for the largest GPU to have two or three on every processor.
const SPLIT_GROUPS: u64 = 512;
/// The fewest k worth a part of its own: below, the partial sums cost more than they gain.
const SPLIT_K: u64 = 128;

/// Rows and columns that one group of the reduction makes.
const REDUCTION_TILE: [u64; 2] = [8, 64];

/// The end of a split product: it reads neither operand.
pub(super) fn reduction(draws: Option<Generator>) -> Permutation {
    let access = Access {
        vec4: false,
        sources: [Source::F32; 2],
        transposed: [false; 2],
        draws,
    };
    access.complete(Permutation::new(&REDUCE))
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

/// The dispatches of a product whose groups share each sum where its outputs are few, and which is cut like any other
/// elsewhere.
pub(super) fn shared_sums(
    op: &Matmul,
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    form: Form,
) -> Result<Vec<Dispatch>> {
    let deepest = form.turns().deepest(OP, gpu)?;
    let cut_to = |deepest| cut(op, gpu, form.tile(), false, deepest);
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    // Groups that share a sum go as deep as their part of it only.
    let (cut, shared) = (cut_to(deepest)?, cut_to(u64::MAX)?);
    let whole = (shared.rows, shared.cols, shared.ks) == (m, n, k);
    let mut dispatches = Vec::new();
    for batches in ranges(op.batch as u64, shared.batches) {
        let parts = match whole {
            true => split_parts(op, gpu, batches.end - batches.start),
            false => 1,
        };
        if parts == 1 || part_depth(k, parts) > deepest {
            dispatches.extend(gpu::cut_products(op, pipeline, form, &cut, &batches));
            continue;
        }
        let (rows, cols, ks) = (0..m, 0..n, 0..k);
        let part = Part {
            batches,
            rows,
            cols,
            ks,
        };
        dispatches.push(sums(op, pipeline, form, &part, parts));
        dispatches.push(reduce(op, gpu, &part, parts)?);
    }
    Ok(dispatches)
}

/// A dispatch whose groups sum `parts` parts of its k each, into scratch memory.
fn sums(op: &Matmul, pipeline: &Arc<Pipeline>, form: Form, part: &Part, parts: u64) -> Dispatch {
    let [batches, rows, cols, ks] = part.extents();
    let depth = part_depth(ks, parts);
    let outputs = batches * rows * cols;
    gpu::operands(gpu::base(op, pipeline, part), op, part)
        .set("flags", if part.ks.start == 0 { FIRST } else { 0 })
        .set("splits", parts)
        .set("split_k", depth)
        .bind("bias", Words::absent())
        .bind("c", Words::absent())
        .bind("partials", Words::scratch(0..outputs * parts))
        .groups(form.groups(rows, cols, batches * parts))
        .work(outputs * ks.max(1))
        .turns(form.turns().of(depth.min(ks)))
}

/// The dispatches of a kernel that makes sums and no more: into scratch memory, part by part of K, and then to C.
pub(super) fn sums_then_reduction(
    op: &Matmul,
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    form: Form,
) -> Result<Vec<Dispatch>> {
    let deepest = form.turns().deepest(OP, gpu)?;
    let cut_to = |deepest| cut(op, gpu, REDUCTION_TILE, true, deepest);
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let (shared, limited) = (cut_to(u64::MAX)?, cut_to(deepest)?);
    let whole = (shared.rows, shared.cols, shared.ks) == (m, n, k);
    let mut dispatches = Vec::new();
    for outer in ranges(op.batch as u64, shared.batches) {
        let parts = match whole {
            true => split_parts(op, gpu, outer.end - outer.start),
            false => 1,
        };
        // Groups that share a sum go as deep as their part of it only.
        let (cut, parts) = match part_depth(shared.ks, parts) <= deepest {
            true => (shared, parts),
            false => (limited, 1),
        };
        for batches in within(&outer, cut.batches) {
            for cols in ranges(n, cut.cols) {
                for rows in ranges(m, cut.rows) {
                    let part = |ks| Part {
                        batches: batches.clone(),
                        rows: rows.clone(),
                        cols: cols.clone(),
                        ks,
                    };
                    for ks in ranges(k.max(1), cut.ks) {
                        let part = part(ks.start..ks.end.min(k));
                        dispatches.push(sums(op, pipeline, form, &part, parts));
                    }
                    dispatches.push(reduce(op, gpu, &part(0..k), parts)?);
                }
            }
        }
    }
    Ok(dispatches)
}

/// The dispatch after those that leave `parts` parts of sums in scratch memory: adds them and writes C.
fn reduce(op: &Matmul, gpu: &Gpu, part: &Part, parts: u64) -> Result<Dispatch> {
    let pipeline = gpu.pipeline(&reduction(op.is_stochastic().then_some(op.draw.generator)))?;
    let [batches, rows, cols, ks] = part.extents();
    let outputs = batches * rows * cols;
    let [tall, wide] = REDUCTION_TILE;
    let base = gpu::without_scales(gpu::base(op, &pipeline, part));
    let dispatch = gpu::results(base, op, part)
        .set("flags", gpu::flags(op, true, true))
        .set("splits", parts)
        .set("split_k", ks)
        .bind("a", Words::absent())
        .bind("b", Words::absent())
        .bind("partials", Words::scratch(0..outputs * parts))
        .groups([rows.div_ceil(tall), cols.div_ceil(wide), batches])
        .work(outputs * parts)
        .turns(reduction_turns(parts));
    Ok(dispatch)
}
