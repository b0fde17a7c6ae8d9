use std::ops::Range;

use super::Transpose;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::op::{Variant, Variants};
use crate::tensor::{DType, View};

/// Blocks along one side of a tile of `tiled`, and those that a group copies at a time.
const TILE: u32 = 32;
const LINES: u32 = 8;
/// Blocks along one side of what a group of `direct` copies.
const SIDE: u32 = 8;

// SAFETY: loops go to TILE in steps of LINES; lines and lanes are below TILE, so that places are below TILE * PITCH,
// in each of BLOCK planes.
static TRANSPOSE: Shader = unsafe {
    Shader::new(
        "transpose/transpose.wgsl",
        include_str!("../../../shaders/transpose/transpose.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Transpose> = Variants(&[
    Variant {
        name: "tiled",
        serves: |op, _, _| op.dtype != DType::F64,
        rank: |_, gpu| gpu.is_software().into(),
        dispatches: |op, gpu, _| {
            let turns = 2 * looped((TILE / LINES).into(), 0);
            dispatches(op, gpu, ("tiled", TILE, turns))
        },
        permutations: || permutations("tiled"),
    },
    Variant {
        name: "direct",
        serves: |op, _, _| op.dtype != DType::F64,
        rank: |_, gpu| (!gpu.is_software()).into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, ("direct", SIDE, 0)),
        permutations: || permutations("direct"),
    },
]);

/// Rows and columns of a block: what is a word of each row, and a whole word of each row of the result.
fn block(dtype: DType) -> u32 {
    match dtype {
        DType::Bf16 | DType::U16 => 2,
        DType::F64 | DType::F32 | DType::U32 => 1,
    }
}

fn dispatches(
    op: &Transpose,
    gpu: &Gpu,
    (entry, side, turns): (&'static str, u32, u64),
) -> Result<Vec<Dispatch>> {
    let (src, dst) = (op.src(), op.dst());
    if src.is_empty() {
        return Ok(Vec::new());
    }
    let pipeline = gpu.pipeline(&permutation(entry, op.dtype))?;
    let [block, side] = [block(op.dtype), side].map(u64::from);
    // Runs of blocks along one side of the source, such that they are rows of an operand that fit a binding.
    let runs = |rows: &View, across: u64| {
        let bytes = block * rows.row_words() * 4;
        let count = (rows.rows as u64).div_ceil(block);
        let elements = move |run: Range<u64>| run.start * block..(run.end * block).min(rows.rows as u64);
        let runs = split_rows(gpu, count, across * block, bytes, side);
        runs.into_iter().map(elements).collect::<Vec<_>>()
    };
    let mut dispatches = Vec::new();
    for rows in runs(&src, 1) {
        let height = (rows.end - rows.start).div_ceil(block);
        for cols in runs(&dst, height) {
            let width = (cols.end - cols.start).div_ceil(block);
            let across = width.div_ceil(side);
            let dispatch = Dispatch::new(&pipeline)
                .set("rows", rows.end - rows.start)
                .set("cols", cols.end - cols.start)
                .set("src_ld", src.row_words())
                .set("dst_ld", dst.row_words())
                .set("across", across)
                .bind("src", Words::of("src", src.part(&rows, &cols)))
                .bind("dst", Words::of("dst", dst.part(&cols, &rows)))
                .linear_groups(gpu, across * height.div_ceil(side))
                .work(width * height * block)
                .turns(turns);
            dispatches.push(dispatch);
        }
    }
    Ok(dispatches)
}

fn permutation(entry: &'static str, dtype: DType) -> Permutation {
    Permutation::new(&TRANSPOSE)
        .entry(entry)
        .constant("TILE", TILE)
        .constant("LINES", LINES)
        .constant("SIDE", SIDE)
        .constant("BLOCK", block(dtype))
}

fn permutations(entry: &'static str) -> Vec<Permutation> {
    [DType::F32, DType::Bf16]
        .map(|dtype| permutation(entry, dtype))
        .into()
}
