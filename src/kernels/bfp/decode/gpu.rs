use super::BfpDecode;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Offsets, Permutation, Shader, Words, split_rows};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

static DECODE: Shader = Shader::new(
    "bfp/decode.wgsl",
    include_str!("../../../../shaders/bfp/decode.wgsl"),
);

pub(in crate::kernels) static VARIANTS: Variants<BfpDecode> = Variants(&[Variant {
    name: "quads",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches,
    permutations: || {
        let both = |to| [true, false].map(|vec4| permutation(to, vec4));
        [DType::F32, DType::Bf16].into_iter().flat_map(both).collect()
    },
}]);

/// Columns in four words of output.
fn width(to: DType) -> u32 {
    128 / to.bits()
}

fn dispatches(op: &BfpDecode, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    let [codes, exponents, dst] = [op.codes(), op.exponents(), op.dst()];
    let width = width(op.to);
    // A row's last vector must end where the row does: padding is not written.
    let whole = dst.row_words().is_multiple_of(4) && op.cols.is_multiple_of(width as usize);
    let pipeline = gpu.pipeline(&permutation(op.to, whole && !offsets.any()))?;
    let dispatch = |rows: std::ops::Range<u64>| {
        let count = rows.end - rows.start;
        let part = |view: &crate::tensor::View| view.part(&rows, &(0..view.cols as u64));
        let quads = (op.cols as u64).div_ceil(u64::from(width));
        Dispatch::new(&pipeline)
            .set("rows", count)
            .set("cols", op.cols)
            .set("block", op.format.block())
            .set("bits", op.format.bits())
            .set("dst_ld", dst.row_words())
            .set("codes_ld", codes.row_words())
            .set("exponents_ld", exponents.row_words())
            .bind("codes", Words::of("codes", part(&codes)))
            .bind("exponents", Words::of("exponents", part(&exponents)))
            .bind("dst", Words::of("dst", part(&dst)))
            .linear_groups(gpu, (count * quads).div_ceil(u64::from(GROUP)))
            .work(count * op.cols as u64)
    };
    let rows = if op.cols == 0 { 0 } else { op.rows as u64 };
    let widest = dst.row_words().max(codes.row_words()) * 4;
    let ranges = split_rows(gpu, rows, op.cols as u64, widest, 1);
    Ok(ranges.into_iter().map(dispatch).collect())
}

fn permutation(to: DType, vec4: bool) -> Permutation {
    let dst = match vec4 {
        true => "lib/dst_vec4.wgsl",
        false => "lib/dst_word.wgsl",
    };
    Permutation::new(&DECODE)
        .fill("dst", dst)
        .constant("GROUP", GROUP)
        .constant("DST_BF16", to == DType::Bf16)
        .constant("WIDTH", width(to))
}
