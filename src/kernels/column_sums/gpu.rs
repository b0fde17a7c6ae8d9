use super::ColumnSums;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, generator, looped, split_rows};
use crate::op::{Variant, Variants, rows};
use crate::tensor::DType;

/// Pairs of columns of one workgroup.
const PAIRS: u32 = 32;
/// Invocations that share the rows of two columns in `tree`.
const LANES: u32 = 8;

// SAFETY: loops go through the rows of one binding in steps of LANES, and through LANES; `other * PAIRS + index` is
// below PAIRS * LANES where lane is 0, for then index is below PAIRS; `half_word` masks its index.
static COLUMN_SUMS: Shader = unsafe {
    Shader::new(
        "column_sums/column_sums.wgsl",
        include_str!("../../../shaders/column_sums/column_sums.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<ColumnSums> = Variants(&[
    Variant {
        name: "tree",
        serves,
        rank: |_, gpu| gpu.is_software().into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, LANES),
        permutations: || permutations(LANES),
    },
    Variant {
        name: "columns",
        serves,
        rank: |_, gpu| (!gpu.is_software()).into(),
        dispatches: |op, gpu, _| dispatches(op, gpu, 1),
        permutations: || permutations(1),
    },
]);

fn serves(op: &ColumnSums, _gpu: &Gpu, _offsets: crate::gpu::Offsets) -> bool {
    op.from != DType::F64
}

/// Turns of an invocation's loops: over its share of the rows, and over the sums of the other lanes.
fn turns(rows: u64, lanes: u64) -> u64 {
    let others = if lanes > 1 { looped(lanes - 1, 0) } else { 0 };
    looped(rows.div_ceil(lanes), 0) + others
}

fn dispatches(op: &ColumnSums, gpu: &Gpu, lanes: u32) -> Result<Vec<Dispatch>> {
    let mut dispatches = Vec::new();
    if op.cols == 0 {
        return Ok(dispatches);
    }
    let pipeline = gpu.pipeline(&permutation(op, lanes))?;
    let lanes = u64::from(lanes);
    let (x, all) = (op.x(), op.cols as u64);
    // Rows are cut where the matrix is larger than a binding, two columns of it larger than the cap on work, or one
    // invocation's share of them larger than that on turns.
    let left = gpu.turn_cap().saturating_sub(turns(0, lanes));
    let most = left.max(1).saturating_mul(lanes);
    let mut row_ranges: Vec<_> = split_rows(gpu, op.rows as u64, 2, x.row_words() * 4, 1)
        .into_iter()
        .flat_map(|range| rows::cut(range, most))
        .collect();
    if row_ranges.is_empty() {
        // No rows at all: the sums are zero, and one dispatch must say so.
        row_ranges.push(0..0);
    }
    let count = row_ranges.len();
    for (i, range) in row_ranges.into_iter().enumerate() {
        let rows = range.end - range.start;
        for pairs in split_rows(gpu, all.div_ceil(2), rows * 2, 8, 1) {
            let cols = pairs.start * 2..(pairs.end * 2).min(all);
            let width = cols.end - cols.start;
            let finish = i + 1 == count;
            let summed = match rows {
                0 => Words::absent(),
                _ => Words::of("x", x.part(&range, &cols)),
            };
            let partial = match count {
                1 => Words::absent(),
                _ => Words::scratch(cols.clone()),
            };
            let sums = match finish {
                true => Words::of("y", op.y().part(&(0..1), &cols)),
                false => Words::absent(),
            };
            let dispatch = Dispatch::new(&pipeline)
                .set("rows", rows)
                .set("cols", width)
                .set("x_ld", x.row_words())
                .set_wide(["base_lo", "base_hi"], op.draw.index(cols.start))
                .set("accumulate", i > 0)
                .set("finish", finish)
                .set("stream", op.draw.stream)
                .bind("x", summed)
                .bind("partial", partial)
                .bind("y", sums)
                .linear_groups(gpu, width.div_ceil(2).div_ceil(PAIRS.into()))
                .work(rows.max(1) * width)
                .turns(turns(rows, lanes));
            dispatches.push(dispatch);
        }
    }
    Ok(dispatches)
}

fn permutation(op: &ColumnSums, lanes: u32) -> Permutation {
    let half = op.to == DType::Bf16;
    Permutation::new(&COLUMN_SUMS)
        .fill("generator", generator(op.draw.generator))
        .constant("PAIRS", PAIRS)
        .constant("LANES", lanes)
        .constant("X_HALF", op.from == DType::Bf16)
        .constant("Y_HALF", half)
        .constant("STOCHASTIC", half && op.rounding == Rounding::Stochastic)
}

fn permutations(lanes: u32) -> Vec<Permutation> {
    let mut all = Vec::new();
    for from in [DType::F32, DType::Bf16] {
        for to in [DType::F32, DType::Bf16] {
            all.push(permutation(&ColumnSums::spaced(from, to, 1, 1, 2), lanes));
        }
        for generator in [Generator::Threefry, Generator::Philox] {
            let draw = Draw {
                generator,
                ..Draw::default()
            };
            let sums = ColumnSums {
                rounding: Rounding::Stochastic,
                draw,
                ..ColumnSums::spaced(from, DType::Bf16, 1, 1, 2)
            };
            all.push(permutation(&sums, lanes));
        }
    }
    all
}
