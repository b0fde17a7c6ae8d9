use super::Convert;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, Gpu, Permutation, Piece, Shader, generator, pieces, split_rows};
use crate::op::{Variant, Variants};
use crate::tensor::{DType, View};

const GROUP: u32 = 64;

// SAFETY: no loop; `half_word` masks its index.
static VEC4: Shader = unsafe {
    Shader::new(
        "convert/vec4.wgsl",
        include_str!("../../../shaders/convert/vec4.wgsl"),
    )
    .trusted()
};
// SAFETY: a loop over eight columns at most; `half_word` masks its index.
static WORD: Shader = unsafe {
    Shader::new(
        "convert/word.wgsl",
        include_str!("../../../shaders/convert/word.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Convert> = Variants(&[
    Variant {
        name: "vec4",
        serves: |op, _, offsets| narrow(op) && op.views().iter().all(View::is_contiguous) && !offsets.any(),
        rank: |_, _| 0,
        dispatches: |op, gpu, _| vectors(op, gpu),
        // What is left after the last eight goes word by word.
        permutations: || [permutations(&VEC4), permutations(&WORD)].concat(),
    },
    Variant {
        name: "word",
        serves: |op, _, _| narrow(op),
        rank: |_, _| 1,
        dispatches: |op, gpu, _| words(op, gpu, &pieces(gpu, &op.views())),
        permutations: || permutations(&WORD),
    },
]);

/// Whether no side is f64, which WGSL does not have.
fn narrow(op: &Convert) -> bool {
    op.from != DType::F64 && op.to != DType::F64
}

fn vectors(op: &Convert, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let (src, dst) = (op.src(), op.dst());
    let pipeline = gpu.pipeline(&permutation(&VEC4, op))?;
    let words_per_unit = src.dtype.words(8) + dst.dtype.words(8);
    let widest = src.dtype.words(8).max(dst.dtype.words(8));
    let dispatch = |units: std::ops::Range<u64>| {
        let count = units.end - units.start;
        let piece = Piece::run(units.start * 8..units.end * 8);
        Dispatch::new(&pipeline)
            .set("units", count)
            .set_wide(["base_lo", "base_hi"], op.draw.index(piece.base))
            .set("stream", op.draw.stream)
            .bind("src", piece.of("src", &src))
            .bind("dst", piece.of("dst", &dst))
            .linear_groups(gpu, count.div_ceil(u64::from(GROUP)))
            .work(count * words_per_unit)
    };
    let len = src.len();
    let ranges = split_rows(gpu, len / 8, words_per_unit, widest * 4, u64::from(GROUP));
    let mut dispatches: Vec<_> = ranges.into_iter().map(dispatch).collect();
    if !len.is_multiple_of(8) {
        dispatches.extend(words(op, gpu, &[Piece::run(len - len % 8..len)])?);
    }
    Ok(dispatches)
}

fn words(op: &Convert, gpu: &Gpu, pieces: &[Piece]) -> Result<Vec<Dispatch>> {
    let (src, dst) = (op.src(), op.dst());
    let pipeline = gpu.pipeline(&permutation(&WORD, op))?;
    // Eight columns of one row share two draws at most. Decoding has no loop.
    let (unit, turns) = match op.encodes() {
        true => (8, 8 + 1),
        false => (2, 0),
    };
    let dispatch = |piece: &Piece| {
        let units = piece.rows * piece.cols.div_ceil(unit);
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("cols", piece.cols)
            .set("src_ld", src.row_words())
            .set("dst_ld", dst.row_words())
            .set_wide(["base_lo", "base_hi"], op.draw.index(piece.base))
            .set("stream", op.draw.stream)
            .bind("src", piece.of("src", &src))
            .bind("dst", piece.of("dst", &dst))
            .linear_groups(gpu, units.div_ceil(u64::from(GROUP)))
            .work(piece.eights() * (src.dtype.words(8) + dst.dtype.words(8)))
            .turns(turns)
    };
    Ok(pieces.iter().map(dispatch).collect())
}

fn permutation(shader: &'static Shader, op: &Convert) -> Permutation {
    let encodes = op.encodes();
    let stochastic = encodes && op.rounding == Rounding::Stochastic;
    // The text names a generator even where nothing is drawn.
    let drawn = match stochastic {
        true => op.draw.generator,
        false => Generator::Threefry,
    };
    Permutation::new(shader)
        .entry(if encodes { "encode" } else { "decode" })
        .fill("generator", generator(drawn))
        .constant("GROUP", GROUP)
        .constant("STOCHASTIC", stochastic)
        .constant("SATURATE", encodes && op.saturate)
}

fn permutations(shader: &'static Shader) -> Vec<Permutation> {
    let encode = Convert::contiguous(DType::F32, DType::Bf16, 1);
    let draw = |generator| Draw {
        generator,
        ..Draw::default()
    };
    let stochastic = |generator| encode.with_rounding(Rounding::Stochastic, draw(generator));
    let encodes = [
        encode,
        stochastic(Generator::Threefry),
        stochastic(Generator::Philox),
    ];
    let mut all = vec![permutation(
        shader,
        &Convert::contiguous(DType::Bf16, DType::F32, 1),
    )];
    for saturate in [false, true] {
        all.extend(encodes.map(|op| permutation(shader, &Convert { saturate, ..op })));
    }
    all
}
