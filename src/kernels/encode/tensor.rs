//! The scale of a whole tensor on a GPU: the largest magnitude, 32 columns and then 32 maxima at a time.

use super::Encode;
use crate::error::Result;
use crate::format::TensorScale;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::kernels::shared::codes::choosing;
use crate::tensor::DType;

const GROUP: u32 = 64;
/// Columns, or maxima, that one invocation goes through.
const RUN: u64 = 32;

// SAFETY: loops over 32 columns or maxima at most, or over `count` maxima, in steps of 1; no array.
static TENSOR: Shader = unsafe {
    Shader::new(
        "encode/tensor.wgsl",
        include_str!("../../../shaders/encode/tensor.wgsl"),
    )
    .trusted()
};

#[derive(Clone, Copy, Debug)]
enum Entry {
    Src,
    Maxima,
    Scale,
}

fn permutation(entry: Entry, from: DType) -> Permutation {
    let name = match entry {
        Entry::Src => "largest_of_src",
        Entry::Maxima => "largest_of_maxima",
        Entry::Scale => "scale_of",
    };
    let bf16 = matches!(entry, Entry::Src) && from == DType::Bf16;
    Permutation::new(&TENSOR)
        .entry(name)
        .constant("GROUP", GROUP)
        .constant("SRC_BF16", bf16)
}

pub(super) fn permutations() -> Vec<Permutation> {
    vec![
        permutation(Entry::Src, DType::F32),
        permutation(Entry::Src, DType::Bf16),
        permutation(Entry::Maxima, DType::F32),
        permutation(Entry::Scale, DType::F32),
    ]
}

/// What writes the scale of the tensor, if the format has one. Scratch memory holds the maxima of one step, then those
/// of the next behind them, and so on.
pub(super) fn dispatches(op: &Encode, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    if op.format.tensor_scale() == TensorScale::None {
        return Ok(Vec::new());
    }
    let src = op.src();
    let runs = (op.cols as u64).div_ceil(RUN);
    let rows = if op.cols == 0 { 0 } else { op.rows as u64 };
    let pipeline = gpu.pipeline(&permutation(Entry::Src, op.from))?;
    let turns = looped(RUN, 0);
    let base = |pipeline, count: u64, to: u64| {
        choosing(Dispatch::new(pipeline), op.format)
            .set("count", count)
            .set("to", to)
            .set("cols", op.cols)
            .set("src_ld", src.row_words())
    };
    let mut dispatches = Vec::new();
    for rows in split_rows(gpu, rows, op.cols as u64, src.row_words() * 4, 1) {
        let count = rows.end - rows.start;
        let maxima = Words::scratch(rows.start * runs..rows.end * runs);
        let dispatch = base(&pipeline, 0, 0)
            .set("rows", count)
            .bind("src", Words::of("src", src.part(&rows, &(0..op.cols as u64))))
            .bind("maxima", maxima)
            .bind("head", Words::absent())
            .linear_groups(gpu, (count * runs).div_ceil(u64::from(GROUP)))
            .work(count * op.cols as u64)
            .turns(turns);
        dispatches.push(dispatch);
    }
    let pipeline = gpu.pipeline(&permutation(Entry::Maxima, op.from))?;
    let (mut first, mut count) = (0, rows * runs);
    while count > RUN {
        let less = count.div_ceil(RUN);
        let dispatch = base(&pipeline, count, count)
            .set("rows", 0u32)
            .bind("src", Words::absent())
            .bind("maxima", Words::scratch(first..first + count + less))
            .bind("head", Words::absent())
            .linear_groups(gpu, less.div_ceil(u64::from(GROUP)))
            .work(count)
            .turns(turns);
        dispatches.push(dispatch);
        (first, count) = (first + count, less);
    }
    let pipeline = gpu.pipeline(&permutation(Entry::Scale, op.from))?;
    let maxima = match count {
        0 => Words::absent(),
        _ => Words::scratch(first..first + count),
    };
    let dispatch = base(&pipeline, count, 0)
        .set("rows", 0u32)
        .bind("src", Words::absent())
        .bind("maxima", maxima)
        .bind("head", Words::of("scales", 0..1))
        .linear_groups(gpu, 1)
        .work(count)
        .turns(turns);
    dispatches.push(dispatch);
    Ok(dispatches)
}
