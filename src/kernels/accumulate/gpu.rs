use super::Accumulate;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, Gpu, Permutation, Piece, Shader, Words, generator, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

// SAFETY: a loop over eight columns at most; `half_word` masks its index.
static ACCUMULATE: Shader = unsafe {
    Shader::new(
        "accumulate/accumulate.wgsl",
        include_str!("../../../shaders/accumulate/accumulate.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Accumulate> = Variants(&[Variant {
    name: "eights",
    serves: |op, _, _| op.sum != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

fn dispatches(op: &Accumulate, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation(op))?;
    let (x, sum) = (op.x(), op.sum());
    let dispatch = |piece: &Piece| {
        let kept = op.kept().map_or(Words::absent(), |view| piece.of("kept", &view));
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("cols", piece.cols)
            .set("x_ld", x.row_words())
            .set("sum_ld", sum.row_words())
            .set_wide(["base_lo", "base_hi"], op.draw.index(piece.base))
            .set("stream", op.draw.stream)
            .bind("x", piece.of("x", &x))
            .bind("sum", piece.of("sum", &sum))
            .bind("kept", kept)
            .linear_groups(gpu, piece.eights().div_ceil(GROUP.into()))
            .work(piece.eights() * 24)
            .turns(8 + 1)
    };
    Ok(pieces(gpu, &op.views()).iter().map(dispatch).collect())
}

fn permutation(op: &Accumulate) -> Permutation {
    Permutation::new(&ACCUMULATE)
        .fill("generator", generator(op.draw.generator))
        .constant("GROUP", GROUP)
        .constant("X_HALF", op.x == DType::Bf16)
        .constant("SUM_HALF", op.sum == DType::Bf16)
        .constant("STOCHASTIC", op.is_drawn())
        .constant("KEEP", op.keep_f32)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for bits in 0..8 {
        let [x, sum] = [types[bits & 1], types[(bits >> 1) & 1]];
        let op = Accumulate {
            keep_f32: bits & 4 != 0,
            ..Accumulate::new(1, 1, x, sum)
        };
        all.push(permutation(&op));
        if sum == DType::Bf16 {
            for generator in [Generator::Threefry, Generator::Philox] {
                let draw = Draw {
                    generator,
                    ..Draw::default()
                };
                all.push(permutation(&op.with_rounding(Rounding::Stochastic, draw)));
            }
        }
    }
    all
}
