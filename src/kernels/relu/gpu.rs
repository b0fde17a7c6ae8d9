use super::{Relu, ReluGrad};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Piece, Shader, Words, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::{DType, View};

const GROUP: u32 = 64;

// SAFETY: no loop, no array.
static RELU: Shader =
    unsafe { Shader::new("relu/relu.wgsl", include_str!("../../../shaders/relu/relu.wgsl")).trusted() };

pub(in crate::kernels) static FORWARD: Variants<Relu> = Variants(&[Variant {
    name: "word",
    serves: |op, _, _| op.dtype != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let src = (!op.in_place).then(|| ("x", op.x()));
        dispatches(gpu, "forward", [None, src], ("y", op.y()))
    },
    permutations: || permutations("forward"),
}]);

pub(in crate::kernels) static BACKWARD: Variants<ReluGrad> = Variants(&[Variant {
    name: "word",
    serves: |op, _, _| op.dtype != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let src = (!op.in_place).then(|| ("dy", op.dy()));
        dispatches(gpu, "backward", [Some(("y", op.y())), src], ("dx", op.dx()))
    },
    permutations: || permutations("backward"),
}]);

/// An operand's name and layout.
type Named = (&'static str, View);

/// Without `src` the output holds it.
fn dispatches(
    gpu: &Gpu,
    entry: &'static str,
    [mask, src]: [Option<Named>; 2],
    dst: Named,
) -> Result<Vec<Dispatch>> {
    let dtype = dst.1.dtype;
    let masked = mask.map_or(dtype, |(_, view)| view.dtype);
    let pipeline = gpu.pipeline(&permutation(entry, [dtype, masked], src.is_none()))?;
    let present = [mask, src, Some(dst)].into_iter().flatten();
    let views: Vec<_> = present.map(|(_, view)| view).collect();
    // A word read for each input, of the mask two where it is wider, one written.
    let moved = match mask {
        Some(_) if masked.bits() > dtype.bits() => 4,
        Some(_) => 3,
        None => 2,
    };
    let ld = |operand: Option<Named>| operand.map_or(0, |(_, view)| view.row_words());
    let dispatch = |piece: &Piece| {
        let of =
            |operand: Option<Named>| operand.map_or(Words::absent(), |(name, view)| piece.of(name, &view));
        let words = dtype.words(piece.cols);
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("words", words)
            .set("odd", dtype.bits() == 16 && piece.cols % 2 == 1)
            .set("mask_ld", ld(mask))
            .set("src_ld", ld(src))
            .set("dst_ld", ld(Some(dst)))
            .bind("mask", of(mask))
            .bind("src", of(src))
            .bind("dst", of(Some(dst)))
            .linear_groups(gpu, (piece.rows * words).div_ceil(GROUP.into()))
            .work(piece.rows * words * moved)
    };
    Ok(pieces(gpu, &views).iter().map(dispatch).collect())
}

/// Of results of a type, and of a mask of one.
fn permutation(entry: &'static str, [dtype, mask]: [DType; 2], in_place: bool) -> Permutation {
    Permutation::new(&RELU)
        .entry(entry)
        .constant("GROUP", GROUP)
        .constant("HALVES", dtype == DType::Bf16)
        .constant("MASK_HALVES", mask == DType::Bf16)
        .constant("IN_PLACE", in_place)
}

fn permutations(entry: &'static str) -> Vec<Permutation> {
    let (f32, bf16) = (DType::F32, DType::Bf16);
    let mut types = vec![[f32, f32], [bf16, bf16]];
    if entry == "backward" {
        types.extend([[f32, bf16], [bf16, f32]]);
    }
    let of = |types| [false, true].map(|in_place| permutation(entry, types, in_place));
    types.into_iter().flat_map(of).collect()
}
