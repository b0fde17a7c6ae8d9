use super::Improvement;
use crate::error::Result;
use crate::format::Format;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::op::{Variant, Variants, rows};
use crate::tensor::DType;

const GROUP: u32 = 64;

/// Elementary operations per element: two codes.
const WORK: u64 = 4;

// SAFETY: loops go through the blocks of one row in steps of LANES, through a block of 128 columns at most in steps of
// 4, and halve LANES; `index + half` is of the same row, whose lanes lie side by side in GROUP.
static IMPROVEMENT: Shader = unsafe {
    Shader::new(
        "improvement/improvement.wgsl",
        include_str!("../../../shaders/improvement/improvement.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Improvement> = Variants(&[
    Variant {
        name: "group",
        serves: |op, gpu, _| serves(op, gpu, GROUP),
        rank: |_, gpu| gpu.is_software().into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, GROUP),
        permutations: || permutations(GROUP),
    },
    Variant {
        name: "row",
        serves: |op, gpu, _| serves(op, gpu, 1),
        rank: |_, gpu| (!gpu.is_software()).into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, 1),
        permutations: || permutations(1),
    },
]);

/// A cap on turns below what is usual leaves no room for the longest blocks.
fn serves(op: &Improvement, gpu: &Gpu, lanes: u32) -> bool {
    turns(op, 1, lanes) <= gpu.turn_cap()
}

/// Turns of an invocation for each of its blocks: once for the scale, once for the codes, four columns a turn.
fn block_turns(op: &Improvement) -> u64 {
    2 * looped(op.block() / 4, 0)
}

/// Turns of an invocation with so many blocks, the tree of the lanes' sums included.
fn turns(op: &Improvement, blocks: u64, lanes: u32) -> u64 {
    let tree = if lanes > 1 {
        looped(lanes.ilog2().into(), 0)
    } else {
        0
    };
    looped(blocks, block_turns(op)) + tree
}

/// The most columns of one dispatch, whole blocks: as many as the caps on turns and work and one binding have room for.
fn part(op: &Improvement, gpu: &Gpu, lanes: u32) -> u64 {
    let left = gpu.turn_cap().saturating_sub(turns(op, 0, lanes));
    let by_turns = (left / (1 + block_turns(op))).saturating_mul(lanes.into());
    let by_work = gpu.work_cap() / (WORK * op.block());
    let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
    let by_binding = match op.x().row_words() * 4 <= binding {
        true => u64::MAX,
        // Such rows stand alone in their dispatches.
        false => binding / (op.from.words(op.block()) * 4),
    };
    let blocks = by_turns.min(by_work).min(by_binding).max(1);
    blocks.saturating_mul(op.block())
}

fn dispatches(op: &Improvement, gpu: &Gpu, lanes: u32) -> Result<Vec<Dispatch>> {
    let mut dispatches = Vec::new();
    if op.rows == 0 {
        return Ok(dispatches);
    }
    let pipeline = gpu.pipeline(&permutation(op.from, lanes))?;
    let (x, sums, all) = (op.x(), op.sums(), op.cols as u64);
    let mut parts: Vec<_> = rows::cut(0..all, part(op, gpu, lanes)).collect();
    if parts.is_empty() {
        // No columns at all: the sums are zero, and one dispatch must say so.
        parts.push(0..0);
    }
    let widest = parts.first().map_or(0, |cols| cols.end);
    let row_bytes = 4 * x.row_words().max(sums.row_words());
    for range in split_rows(gpu, op.rows as u64, widest.max(1) * WORK, row_bytes, 1) {
        let count = range.end - range.start;
        for cols in &parts {
            let width = cols.end - cols.start;
            let read = match width {
                0 => Words::absent(),
                _ => Words::of("x", x.part(&range, cols)),
            };
            let blocks = width.div_ceil(op.block()).div_ceil(lanes.into());
            let dispatch = Dispatch::new(&pipeline)
                .set("rows", count)
                .set("cols", width)
                .set("x_ld", x.row_words())
                .set("block", op.block())
                .set("accumulate", cols.start > 0)
                .bind("x", read)
                .bind("sums", Words::of("sums", sums.part(&range, &(0..2))))
                .linear_groups(gpu, (count * u64::from(lanes)).div_ceil(GROUP.into()))
                .work(count * width.max(1) * WORK)
                .turns(turns(op, blocks, lanes));
            let coarse = [
                "coarse_bits",
                "coarse_rule",
                "coarse_exponent",
                "coarse_significand",
            ];
            let fine = ["fine_bits", "fine_rule", "fine_exponent", "fine_significand"];
            dispatches.push(set(set(dispatch, coarse, op.coarse), fine, op.fine));
        }
    }
    Ok(dispatches)
}

/// What the kernel is told of a format.
fn set(dispatch: Dispatch, names: [&'static str; 4], format: Format) -> Dispatch {
    let [bits, rule, exponent, significand] = names;
    let (high, low) = format.element().largest_magnitude();
    dispatch
        .set(bits, format.bits())
        .set(rule, format.rule().map_or(0, |rule| rule.code()))
        .set(exponent, high)
        .set(significand, low)
}

fn permutation(from: DType, lanes: u32) -> Permutation {
    Permutation::new(&IMPROVEMENT)
        .constant("GROUP", GROUP)
        .constant("LANES", lanes)
        .constant("HALVES", from == DType::Bf16)
}

fn permutations(lanes: u32) -> Vec<Permutation> {
    [DType::F32, DType::Bf16]
        .map(|from| permutation(from, lanes))
        .into()
}
