//! Products whose codes are decoded into scratch memory first, each once, and are then products of plain matrices:
//! where a matrix is read by many tiles, or matrix units multiply bf16, that is most of a product's time.

use super::cut::cut;
use super::form::{Kind, is_thin};
use super::{A, B, Matmul, MatrixLayout, OP, gpu};
use crate::error::{Error, Result};
use crate::format::Elements;
use crate::gpu::{Dispatch, Gpu, Offsets, Words};
use crate::kernels::shared::decoding::Decoding;
use crate::tensor::{DType, View};

/// The variants that multiply what has been decoded; of those that serve, the preferred one does. Their sums need no
/// scratch memory as long as K is not cut: a buffer that is read cannot be written beside it.
pub(super) const KINDS: [Kind; 4] = [Kind::Coop, Kind::Direct, Kind::Tiled128, Kind::Tiled64];

/// Scratch memory for a matrix begins at a multiple of this many words: bindings may begin there on any device.
const ALIGNMENT: u64 = 64;

/// The same product of plain matrices, bf16 where every value of a format is one, else f32.
fn plain(op: &Matmul) -> Matmul {
    let decoded = |matrix: MatrixLayout| {
        let Some(format) = matrix.format() else {
            return matrix;
        };
        let dtype = if format.fits_bf16() {
            DType::Bf16
        } else {
            DType::F32
        };
        // Loads of 16 bytes serve every row. What they read past its end is not looked at.
        let ld = matrix.ld.next_multiple_of(dtype.row_multiple());
        MatrixLayout {
            elements: Elements::Plain(dtype),
            ld,
            batch_stride: matrix.batch_rows() * ld,
            ..matrix
        }
    };
    Matmul {
        a: decoded(op.a),
        b: decoded(op.b),
        ..*op
    }
}

/// Rows of codes, of all batches.
fn stored(op: &Matmul, matrix: &MatrixLayout, rows: usize) -> usize {
    op.batch.saturating_sub(1) * matrix.batch_rows() + rows
}

/// The matrices of codes and where they go: name, rows, first word.
fn places(op: &Matmul) -> (Vec<Place>, u64) {
    let (plain, mut end) = (plain(op), 0u64);
    let mut places = Vec::new();
    for (names, coded, matrix, rows) in [(A, op.a, plain.a, op.m), (B, op.b, plain.b, op.n)] {
        let Some(format) = coded.format() else {
            continue;
        };
        let dst = View::new(matrix.dtype(), stored(op, &coded, rows), op.k, matrix.ld);
        places.push(Place {
            decoding: Decoding {
                format,
                dst,
                names,
                offset: false,
            },
            first: end,
        });
        let words = matrix.row_words().saturating_mul(dst.rows as u64);
        end = end.saturating_add(words).next_multiple_of(ALIGNMENT);
    }
    (places, end)
}

/// A matrix that is decoded to scratch memory from a word on.
struct Place {
    decoding: Decoding,
    first: u64,
}

/// The variant that multiplies.
pub(super) fn inner(op: &Matmul, gpu: &Gpu, offsets: Offsets) -> Option<Kind> {
    let plain = plain(op);
    let whole = |kind: &Kind| {
        let form = kind.form(&plain, gpu)?;
        let deepest = form.turns().deepest(OP, gpu).ok()?;
        let cut = cut(&plain, gpu, form.tile(), false, deepest).ok()?;
        (cut.ks >= plain.terms() as u64).then_some(())
    };
    KINDS
        .into_iter()
        .filter(|kind| kind.fits(&plain, gpu, offsets) && whole(kind).is_some())
        .min_by_key(|kind| gpu::rank(*kind, &plain, gpu))
}

/// Whether there are codes, and room for what they stand for.
pub(super) fn serves(op: &Matmul, gpu: &Gpu, offsets: Offsets) -> bool {
    op.is_coded()
        && op.terms() > 0
        && !op.is_empty()
        && places(op).1.saturating_mul(4) <= gpu.limits().max_buffer_size
        && inner(op, gpu, offsets).is_some()
}

/// Before matrix units, where plain tiles of 128 x 128 would serve, and on software, whose tiles wait at barriers; else
/// after tiles that decode what they read. On an H200 with native bf16 units a product of 2048^3 takes 1.24 times as long
/// from codes, whatever their format, as from bf16.
pub(super) fn rank(op: &Matmul, gpu: &Gpu) -> u32 {
    let plain = inner(op, gpu, Offsets::default()).map_or(u32::MAX, |kind| gpu::rank(kind, &plain(op), gpu));
    match (is_thin(op), gpu.is_software()) {
        (true, _) => 60,
        (false, true) => 15,
        (false, false) if plain <= 30 => plain,
        (false, false) => 33,
    }
}

/// Decodes, then multiplies.
pub(super) fn dispatches(op: &Matmul, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    let kind = inner(op, gpu, offsets).ok_or_else(|| Error::Unsupported {
        op: OP,
        what: "products of decoded codes".to_string(),
        device: "a GPU that cannot run through K at once",
    })?;
    let (places, _) = places(op);
    let mut all = Vec::new();
    for Place { decoding, first } in &places {
        all.extend(decoding.dispatches(gpu, |words| {
            Words::scratch(first + words.start..first + words.end)
        })?);
    }
    for dispatch in gpu::dispatches(kind, &plain(op), gpu, offsets)? {
        let moved = places.iter().fold(dispatch, |dispatch, place| {
            dispatch.from_scratch(place.decoding.names[0], place.first)
        });
        all.push(moved);
    }
    Ok(all)
}
