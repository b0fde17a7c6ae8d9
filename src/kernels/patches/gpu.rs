use std::ops::Range;

use super::{Patches, PatchesGrad};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::op::{Variant, Variants, rows};
use crate::tensor::{DType, View};

const GROUP: u32 = 64;

// SAFETY: loops go through a pixel's places, which the padded image has, in steps of 1; no array.
static PATCHES: Shader = unsafe {
    Shader::new(
        "patches/patches.wgsl",
        include_str!("../../../shaders/patches/patches.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static FORWARD: Variants<Patches> = Variants(&[Variant {
    name: "word",
    serves: |op, _, _| op.dtype != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let pass = Pass {
            entry: "forward",
            src: ("x", op.x()),
            dst: ("y", op.y()),
            pixel_ld: op.pixel_ld,
            lines: op.places(),
            reads: |_, _| 0..1,
            terms: 1,
            turns: 0,
        };
        dispatches(gpu, op, &pass)
    },
    permutations: || permutations("forward"),
}]);

pub(in crate::kernels) static BACKWARD: Variants<PatchesGrad> = Variants(&[Variant {
    name: "word",
    serves: |op, gpu, _| op.patches.dtype != DType::F64 && turns(&op.patches) <= gpu.turn_cap(),
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let [down, across] = held_by(&op.patches);
        let pass = Pass {
            entry: "backward",
            src: ("dy", op.patches.y()),
            dst: ("dx", op.dx()),
            pixel_ld: 0,
            lines: [op.patches.height, op.patches.width],
            reads: |op, lines| {
                let (places, across) = (places_of(op, lines), op.places()[1] as u64);
                places.start * across..places.end * across
            },
            terms: down * across + 1,
            turns: turns(&op.patches),
        };
        dispatches(gpu, &op.patches, &pass)
    },
    permutations: || permutations("backward"),
}]);

/// Rows and columns of places at which a window holds the same pixel, at most.
fn held_by(op: &Patches) -> [u64; 2] {
    let places = op.places();
    [0, 1].map(|side| op.window[side].div_ceil(op.stride[side].max(1)).min(places[side]) as u64)
}

/// Of the loops over those.
fn turns(op: &Patches) -> u64 {
    let [down, across] = held_by(op);
    looped(down, looped(across, 0))
}

/// What is read and written, and what it takes.
struct Pass {
    entry: &'static str,
    src: (&'static str, View),
    dst: (&'static str, View),
    pixel_ld: usize,
    /// Of every image of `dst`: rows of places of the window, or of pixels, and how many stand in each.
    lines: [usize; 2],
    /// The rows of an image of `src` that such lines need.
    reads: fn(&Patches, &Range<u64>) -> Range<u64>,
    /// Operations of a word, and turns of its loops.
    terms: u64,
    turns: u64,
}

/// The rows of places whose windows hold a pixel of these rows.
fn places_of(op: &Patches, lines: &Range<u64>) -> Range<u64> {
    let [window, stride, padding] = [op.window[0], op.stride[0], op.padding[0]].map(|len| len as u64);
    let first = (lines.start + padding + 1)
        .saturating_sub(window)
        .div_ceil(stride);
    let end = ((lines.end + padding - 1) / stride + 1).min(op.places()[0] as u64);
    first..end.max(first)
}

/// What one dispatch makes: so many lines of every one of some images; less than all only of a single one.
struct Piece {
    images: Range<u64>,
    lines: Range<u64>,
}

/// Images at a time; where one is more than a binding or the cap on work, some of its lines.
fn pieces(gpu: &Gpu, op: &Patches, pass: &Pass) -> Vec<Piece> {
    let ((_, src), (_, dst)) = (pass.src, pass.dst);
    let [lines, across] = pass.lines.map(|count| count as u64);
    let longest = |ranges: Vec<Range<u64>>| ranges.first().map_or(1, |range| range.end - range.start);
    let bytes = |lines: &Range<u64>| {
        let reads = (pass.reads)(op, lines);
        let [written, read] = [(lines.end - lines.start) * across, reads.end - reads.start];
        4 * (written * dst.row_words()).max(read * src.row_words())
    };
    let line = across * op.dtype.words(dst.cols as u64) * pass.terms;
    let mut most = longest(split_rows(gpu, lines, line, 0, 1));
    let fits = |bytes: u64| longest(split_rows(gpu, 2, 0, bytes, 1)) == 2;
    // A binding that holds two of the half holds one of the whole.
    while most > 1 && !rows::cut(0..lines, most).all(|lines| fits(bytes(&lines).div_ceil(2))) {
        most -= most.div_ceil(8);
    }
    if most >= lines {
        let images = split_rows(gpu, op.batch as u64, lines * line, bytes(&(0..lines)), 1);
        let all = |images| Piece {
            images,
            lines: 0..lines,
        };
        return images.into_iter().map(all).collect();
    }
    let of_image = |image: u64| {
        rows::cut(0..lines, most).map(move |lines| Piece {
            images: image..image + 1,
            lines,
        })
    };
    (0..op.batch as u64).flat_map(of_image).collect()
}

fn dispatches(gpu: &Gpu, op: &Patches, pass: &Pass) -> Result<Vec<Dispatch>> {
    if op.is_empty() {
        return Ok(Vec::new());
    }
    let pipeline = gpu.pipeline(&permutation(pass.entry, op.dtype))?;
    let ((source, src), (target, dst)) = (pass.src, pass.dst);
    let [_, across] = pass.lines.map(|count| count as u64);
    let [out_height, out_width] = op.places();
    // Rows of every image, of which the first has this many before it.
    let part = |view: &View, images: &Range<u64>, inside: &Range<u64>| {
        let each = (view.rows / op.batch) as u64;
        let rows = images.start * each + inside.start..(images.end - 1) * each + inside.end;
        view.part(&rows, &(0..view.cols as u64))
    };
    let dispatch = |piece: Piece| {
        let Piece { images, lines } = piece;
        let count = images.end - images.start;
        let reads = (pass.reads)(op, &lines);
        let bound = match reads.is_empty() {
            // No window holds any of these pixels.
            true => Words::absent(),
            false => Words::of(source, part(&src, &images, &reads)),
        };
        let written = lines.start * across..lines.end * across;
        let words = count * (written.end - written.start) * op.dtype.words(dst.cols as u64);
        Dispatch::new(&pipeline)
            .set("images", count)
            .set("channels", op.channels)
            .set("height", op.height)
            .set("width", op.width)
            .set("out_height", out_height)
            .set("out_width", out_width)
            .set("window_height", op.window[0])
            .set("window_width", op.window[1])
            .set("stride_height", op.stride[0])
            .set("stride_width", op.stride[1])
            .set("pad_height", op.padding[0])
            .set("pad_width", op.padding[1])
            .set("pixel_ld", pass.pixel_ld)
            .set("src_ld", src.row_words())
            .set("dst_ld", dst.row_words())
            .set("lines", lines.end - lines.start)
            .set("first_line", lines.start)
            .set("first_read", reads.start)
            .bind("src", bound)
            .bind("dst", Words::of(target, part(&dst, &images, &written)))
            .linear_groups(gpu, words.div_ceil(GROUP.into()))
            .work(words * pass.terms)
            .turns(pass.turns)
    };
    Ok(pieces(gpu, op, pass).into_iter().map(dispatch).collect())
}

fn permutation(entry: &'static str, dtype: DType) -> Permutation {
    Permutation::new(&PATCHES)
        .entry(entry)
        .constant("GROUP", GROUP)
        .constant("HALVES", dtype == DType::Bf16)
}

fn permutations(entry: &'static str) -> Vec<Permutation> {
    [DType::F32, DType::Bf16]
        .map(|dtype| permutation(entry, dtype))
        .into()
}
