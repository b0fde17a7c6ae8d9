use super::Dropout;
use crate::error::Result;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, Gpu, Permutation, Piece, Shader, Words, generator, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

// SAFETY: a loop over eight columns at most; `half_word` masks its index.
static DROPOUT: Shader = unsafe {
    Shader::new(
        "dropout/dropout.wgsl",
        include_str!("../../../shaders/dropout/dropout.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Dropout> = Variants(&[Variant {
    name: "eights",
    serves: |op, _, _| op.dtype != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

fn dispatches(op: &Dropout, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation(op))?;
    let (src, dst) = ((!op.in_place).then(|| op.x()), op.y());
    let views: Vec<_> = src.into_iter().chain([dst]).collect();
    let threshold = op.threshold();
    let scale = (op.scale() as f32).to_bits();
    let dispatch = |piece: &Piece| {
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("cols", piece.cols)
            .set("src_ld", src.map_or(0, |src| src.row_words()))
            .set("dst_ld", dst.row_words())
            .set_wide(["base_lo", "base_hi"], op.draw.index(piece.base))
            .set("stream", op.draw.stream)
            .set("threshold", threshold)
            .set("scale_significand", (scale & 0x007f_ffff) | 0x0080_0000)
            .set("scale_exponent", (scale >> 23) - 126)
            .bind("src", src.map_or(Words::absent(), |src| piece.of("x", &src)))
            .bind("dst", piece.of("y", &dst))
            .linear_groups(gpu, piece.eights().div_ceil(GROUP.into()))
            .work(piece.eights() * 2 * op.dtype.words(8))
            .turns(8 + 1)
    };
    Ok(pieces(gpu, &views).iter().map(dispatch).collect())
}

fn permutation(op: &Dropout) -> Permutation {
    Permutation::new(&DROPOUT)
        .fill("generator", generator(op.draw.generator))
        .constant("GROUP", GROUP)
        .constant("HALVES", op.dtype == DType::Bf16)
        .constant("IN_PLACE", op.in_place)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::Bf16] {
        for in_place in [false, true] {
            for generator in [Generator::Threefry, Generator::Philox] {
                let draw = Draw {
                    generator,
                    ..Draw::default()
                };
                all.push(permutation(&Dropout {
                    in_place,
                    draw,
                    ..Dropout::new(1, 1, dtype, 0.5)
                }));
            }
        }
    }
    all
}
