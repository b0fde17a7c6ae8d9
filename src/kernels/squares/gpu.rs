use super::Squares;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;
/// Words that one turn of an invocation's loop reads.
const TURN: u64 = 4;
/// Words that an invocation reads at least, where there are as many.
const LEAST: u64 = 8;

// SAFETY: loops go through the words of one binding, in strides of `parts * LANES`, at least 1 and, by `groups` below,
// less than 2^28, and through `parts`, which halve GROUP; lanes and `lane + half` are below GROUP.
static SQUARES: Shader = unsafe {
    Shader::new(
        "squares/squares.wgsl",
        include_str!("../../../shaders/squares/squares.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Squares> = Variants(&[
    Variant {
        name: "tree",
        serves: |op, _, _| op.dtype != DType::F64,
        rank: |_, gpu| gpu.is_software().into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, GROUP),
        permutations: || permutations(GROUP),
    },
    Variant {
        name: "strided",
        serves: |op, _, _| op.dtype != DType::F64,
        rank: |_, gpu| (!gpu.is_software()).into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, 1),
        permutations: || permutations(1),
    },
]);

/// Groups for so many words: some work for each invocation, and not many more partial sums than it takes to keep a device
/// busy, which few invocations add in the end.
fn groups(words: u64, lanes: u64, cap: u64) -> u64 {
    let group = u64::from(GROUP);
    let most = match lanes {
        // The loop over all of them is one invocation's.
        1 => 16.min(cap.saturating_sub(1) / group),
        _ => 4096,
    };
    let needed = words.div_ceil(group * TURN * cap.saturating_sub(1 + gathered(lanes)).max(1));
    words.div_ceil(group * LEAST).min(most).max(needed).max(1)
}

/// Turns of the loop that adds the sums of so many lanes.
fn gathered(lanes: u64) -> u64 {
    match lanes {
        1 => 0,
        _ => looped(lanes.ilog2().into(), 0),
    }
}

/// For every piece its partial sums, then their sum and that of the pieces before. Scratch memory holds the latter in its
/// first two words.
fn dispatches(op: &Squares, gpu: &Gpu, lanes: u32) -> Result<Vec<Dispatch>> {
    let [partial, total] = [
        gpu.pipeline(&permutation("partial_sums", op.dtype, lanes))?,
        gpu.pipeline(&permutation("total", op.dtype, lanes))?,
    ];
    let lanes = u64::from(lanes);
    let x = op.x();
    let sum = |parts: u64, accumulate: bool, finish: bool| {
        let out = match finish {
            true => Words::of("out", op.first()..op.first() + 2),
            false => Words::absent(),
        };
        Dispatch::new(&total)
            .set("words", 1u32)
            .set("count", 0u32)
            .set("odd", 0u32)
            .set("x_ld", 0u32)
            .set("parts", parts)
            .set("accumulate", accumulate)
            .set("finish", finish)
            .bind("x", Words::absent())
            .bind("partial", Words::scratch(0..2 + 2 * parts))
            .bind("out", out)
            .linear_groups(gpu, 1)
            .work(parts.max(1))
            .turns(looped(parts.div_ceil(lanes), 0) + gathered(lanes))
    };
    let pieces = pieces(gpu, &[x]);
    let mut dispatches = Vec::with_capacity(2 * pieces.len());
    for (i, piece) in pieces.iter().enumerate() {
        let words = x.dtype.words(piece.cols);
        let count = piece.rows * words;
        let groups = groups(count, lanes, gpu.turn_cap());
        let parts = groups * u64::from(GROUP) / lanes;
        let read = Dispatch::new(&partial)
            .set("words", words)
            .set("count", count)
            .set("odd", x.dtype == DType::Bf16 && piece.cols % 2 == 1)
            .set("x_ld", x.row_words())
            .set("parts", parts)
            .set("accumulate", false)
            .set("finish", false)
            .bind("x", piece.of("x", &x))
            .bind("partial", Words::scratch(0..2 + 2 * parts))
            .bind("out", Words::absent())
            .linear_groups(gpu, groups)
            .work(count)
            .turns(looped(count.div_ceil(TURN * groups * u64::from(GROUP)), 0) + gathered(lanes));
        dispatches.push(read);
        dispatches.push(sum(parts, i > 0, i + 1 == pieces.len()));
    }
    if dispatches.is_empty() {
        // Nothing at all: one dispatch must say so.
        dispatches.push(sum(0, false, true));
    }
    Ok(dispatches)
}

fn permutation(entry: &'static str, dtype: DType, lanes: u32) -> Permutation {
    Permutation::new(&SQUARES)
        .entry(entry)
        .constant("GROUP", GROUP)
        .constant("LANES", lanes)
        .constant("HALVES", dtype == DType::Bf16)
}

fn permutations(lanes: u32) -> Vec<Permutation> {
    let of = |entry| [DType::F32, DType::Bf16].map(|dtype| permutation(entry, dtype, lanes));
    [of("partial_sums"), of("total")].concat()
}
