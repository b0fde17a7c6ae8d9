use fewbit::Result;
use fewbit::gpu::{Dispatch, Gpu, Permutation, Piece, Shader, pieces};
use fewbit::op::{Variant, Variants};

use super::Axpby;

const GROUP: u32 = 64;

static AXPBY: Shader = Shader::new("axpby/axpby.wgsl", include_str!("axpby.wgsl"));

pub(super) static VARIANTS: Variants<Axpby> = Variants(&[Variant {
    name: "each",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations: || vec![permutation()],
}]);

fn permutation() -> Permutation {
    Permutation::new(&AXPBY).constant("GROUP", GROUP)
}

fn dispatches(op: &Axpby, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation())?;
    let view = op.view();
    let dispatch = |piece: &Piece| {
        Dispatch::new(&pipeline)
            .set("count", piece.cols)
            .set("alpha", op.alpha.get())
            .set("beta", op.beta.get())
            .bind("x", piece.of("x", &view))
            .bind("y", piece.of("y", &view))
            .linear_groups(gpu, piece.cols.div_ceil(GROUP.into()))
            .work(2 * piece.cols)
    };
    Ok(pieces(gpu, &[view, view]).iter().map(dispatch).collect())
}
