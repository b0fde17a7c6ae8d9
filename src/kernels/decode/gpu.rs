use super::Decode;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Offsets, Permutation, Shader, Words, looped, split_rows};
use crate::kernels::shared::coded::{KINDS, decoding, kind, tensor_scaled, words};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

static DECODE: Shader = Shader::new(
    "decode/decode.wgsl",
    include_str!("../../../shaders/decode/decode.wgsl"),
);

pub(in crate::kernels) static VARIANTS: Variants<Decode> = Variants(&[Variant {
    name: "quads",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches,
    permutations: || {
        let mut all = Vec::new();
        for to in [DType::F32, DType::Bf16] {
            for vec4 in [true, false] {
                for kind in KINDS {
                    all.extend([true, false].map(|tensor| permutation(to, vec4, kind, tensor)));
                }
            }
        }
        all
    },
}]);

/// Columns in four words of output.
fn width(to: DType) -> u32 {
    128 / to.bits()
}

fn dispatches(op: &Decode, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    let (source, dst) = (op.src(), op.dst());
    let [codes, scales] = [source.codes(), source.scales()];
    let width = width(op.to);
    // A row's last vector must end where the row does: padding is not written.
    let whole = dst.row_words().is_multiple_of(4) && op.cols.is_multiple_of(width as usize);
    let pipeline = gpu.pipeline(&permutation(
        op.to,
        whole && !offsets.any(),
        kind(op.format.element()),
        tensor_scaled(op.format),
    ))?;
    let dispatch = |rows: std::ops::Range<u64>| {
        let count = rows.end - rows.start;
        let part = |view: &crate::tensor::View| view.part(&rows, &(0..view.cols as u64));
        let quads = (op.cols as u64).div_ceil(u64::from(width));
        let head = source.head();
        let blocks = part(&scales);
        decoding(Dispatch::new(&pipeline), op.format)
            .set("rows", count)
            .set("cols", op.cols)
            .set("dst_ld", dst.row_words())
            .set("codes_ld", codes.row_words())
            .set("scales_ld", scales.row_words())
            .bind("codes", Words::of("codes", part(&codes)))
            .bind("scales", words("scales", head + blocks.start..head + blocks.end))
            .bind("head", words("scales", 0..head))
            .bind("dst", Words::of("dst", part(&dst)))
            .linear_groups(gpu, (count * quads).div_ceil(u64::from(GROUP)))
            .work(count * op.cols as u64)
            // Four codes, of each of two halves.
            .turns(2 * looped(4, 0))
    };
    let rows = if op.cols == 0 { 0 } else { op.rows as u64 };
    let widest = dst.row_words().max(codes.row_words()) * 4;
    let ranges = split_rows(gpu, rows, op.cols as u64, widest, 1);
    Ok(ranges.into_iter().map(dispatch).collect())
}

fn permutation(to: DType, vec4: bool, kind: u32, tensor: bool) -> Permutation {
    let dst = match vec4 {
        true => "lib/dst_vec4.wgsl",
        false => "lib/dst_word.wgsl",
    };
    Permutation::new(&DECODE)
        .fill("dst", dst)
        .constant("GROUP", GROUP)
        .constant("DST_BF16", to == DType::Bf16)
        .constant("WIDTH", width(to))
        .constant("ELEMENT", kind)
        .constant("TENSOR_SCALE", tensor)
}
