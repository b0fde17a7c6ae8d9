use super::{Fmac, float_fmac_exact};
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, File, Gpu, Offsets, Permutation, Piece, Shader, generator, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::View;

const GROUP: u32 = 64;

/// Loads and stores of whole vectors, for rows that start and end at multiples of 16 bytes, or word by word.
#[derive(Clone, Copy, Debug)]
enum Load {
    Vec4,
    Word,
}

impl Load {
    const fn path(self) -> &'static str {
        match self {
            Self::Vec4 => "fmac/load_vec4.wgsl",
            Self::Word => "fmac/load_word.wgsl",
        }
    }
}

// SAFETY: no loop; `half_word` masks its index.
static FMAC: Shader = unsafe {
    Shader::new("fmac/fmac.wgsl", include_str!("../../../shaders/fmac/fmac.wgsl"))
        .files(&[
            File::new(
                Load::Vec4.path(),
                include_str!("../../../shaders/fmac/load_vec4.wgsl"),
            ),
            File::new(
                Load::Word.path(),
                include_str!("../../../shaders/fmac/load_word.wgsl"),
            ),
        ])
        .trusted()
};

/// What adds: the f32 unit wherever operands are ordinary, or integers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adder {
    Float,
    Integer,
}

impl Adder {
    /// The name of the variant.
    pub(super) const fn variant(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
        }
    }

    /// Whether it gives the reference's bits on this GPU.
    pub(super) fn serves(self, gpu: &Gpu) -> bool {
        match self {
            Self::Float => float_fmac_exact(gpu) == Some(true),
            Self::Integer => true,
        }
    }
}

pub(in crate::kernels) static VARIANTS: Variants<Fmac> = Variants(&[
    Variant {
        name: Adder::Float.variant(),
        serves: |_, gpu, _| Adder::Float.serves(gpu),
        rank: |_, _| 0,
        dispatches: |op, gpu, offsets| dispatches(op, gpu, offsets, Adder::Float),
        permutations: || permutations(Adder::Float),
    },
    Variant {
        name: Adder::Integer.variant(),
        serves: |_, gpu, _| Adder::Integer.serves(gpu),
        rank: |_, _| 1,
        dispatches: |op, gpu, offsets| dispatches(op, gpu, offsets, Adder::Integer),
        permutations: || permutations(Adder::Integer),
    },
]);

pub(super) fn dispatches(op: &Fmac, gpu: &Gpu, offsets: Offsets, adder: Adder) -> Result<Vec<Dispatch>> {
    let views = op.views();
    let aligned = !offsets.any();
    let mut parts = Vec::new();
    for piece in pieces(gpu, &views) {
        if views.iter().all(View::is_contiguous) {
            // What is left after the last eight goes word by word.
            let end = piece.base + piece.cols;
            let whole = if aligned { end / 8 * 8 } else { piece.base };
            let runs = [(piece.base..whole, Load::Vec4), (whole..end, Load::Word)];
            let some = runs.into_iter().filter(|(run, _)| !run.is_empty());
            parts.extend(some.map(|(run, load)| (Piece::run(run), load)));
        } else {
            let eights = op.cols.is_multiple_of(8) && views.iter().all(|view| view.ld.is_multiple_of(8));
            let load = if aligned && eights { Load::Vec4 } else { Load::Word };
            parts.push((piece, load));
        }
    }
    let dispatch = |(piece, load): &(Piece, Load)| dispatch(op, gpu, adder, piece, *load);
    parts.iter().map(dispatch).collect()
}

fn dispatch(op: &Fmac, gpu: &Gpu, adder: Adder, piece: &Piece, load: Load) -> Result<Dispatch> {
    let [x, y, a] = op.views();
    let pipeline = gpu.pipeline(&permutation(op, adder, load))?;
    Ok(Dispatch::new(&pipeline)
        .set("rows", piece.rows)
        .set("cols", piece.cols)
        .set("x_ld", x.row_words())
        .set("y_ld", y.row_words())
        .set("a_ld", a.row_words())
        .set_wide(["base_lo", "base_hi"], op.draw.index(piece.base))
        .set("stream", op.draw.stream)
        .bind("x", piece.of("x", &x))
        .bind("y", piece.of("y", &y))
        .bind("a", piece.of("a", &a))
        .linear_groups(gpu, piece.eights().div_ceil(u64::from(GROUP)))
        .work(piece.rows * piece.cols * 2))
}

/// The generator that a permutation names: its text has one even where nothing is drawn.
pub(super) fn drawn(rounding: Rounding, draw: &Draw) -> Generator {
    match rounding {
        Rounding::Stochastic => draw.generator,
        Rounding::Nearest | Rounding::TowardZero => Generator::Threefry,
    }
}

fn permutation(op: &Fmac, adder: Adder, load: Load) -> Permutation {
    Permutation::new(&FMAC)
        .fill("generator", generator(drawn(op.rounding, &op.draw)))
        .fill("load", load.path())
        .constant("GROUP", GROUP)
        .constant("INTEGER", adder == Adder::Integer)
        .constant("STOCHASTIC", op.rounding == Rounding::Stochastic)
}

/// Each rounding with the generators it may draw from.
pub(super) fn roundings() -> [(Rounding, Draw); 3] {
    let philox = Draw {
        generator: Generator::Philox,
        ..Draw::default()
    };
    [
        (Rounding::Nearest, Draw::default()),
        (Rounding::Stochastic, Draw::default()),
        (Rounding::Stochastic, philox),
    ]
}

fn permutations(adder: Adder) -> Vec<Permutation> {
    let loads = |(rounding, draw)| {
        let op = Fmac::contiguous(1).with_rounding(rounding, draw);
        [Load::Vec4, Load::Word].map(|load| permutation(&op, adder, load))
    };
    roundings().into_iter().flat_map(loads).collect()
}
