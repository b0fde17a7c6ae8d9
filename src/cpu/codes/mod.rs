//! Few-bit codes, a piece of a row at a time: packed, read into f32 bits, made from them. Only whole vectors are worked
//! on, whatever the width of a code and the size of a block.

mod pack;
mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::Writer;

use super::Lanes;
use super::random::HALVES;
use crate::format::Format;

/// Columns that are encoded or decoded at a time: whole blocks of any size, and whole words of codes of any width.
pub(crate) const PIECE: usize = HALVES;

/// Fills each block's `size` neighbours with its own value.
#[inline(always)]
fn spread<L: Lanes>(lanes: L, size: u32, blocks: &[u32; PIECE / 8], out: &mut [f32; PIECE]) {
    // The size is a constant in each arm, so that a block is a few vector operations.
    match size {
        8 => spread_by::<L, 8>(lanes, blocks, out),
        16 => spread_by::<L, 16>(lanes, blocks, out),
        32 => spread_by::<L, 32>(lanes, blocks, out),
        64 => spread_by::<L, 64>(lanes, blocks, out),
        // 128: `Format::block` lets no other through.
        _ => spread_by::<L, 128>(lanes, blocks, out),
    }
}

#[inline(always)]
fn spread_by<L: Lanes, const B: usize>(lanes: L, blocks: &[u32; PIECE / 8], out: &mut [f32; PIECE]) {
    for (out, &bits) in out.as_chunks_mut::<B>().0.iter_mut().zip(blocks) {
        lanes.fill(out, f32::from_bits(bits));
    }
}

/// The largest magnitudes of blocks of `size` neighbours.
#[inline(always)]
fn maxima<L: Lanes>(lanes: L, size: u32, values: &[u32; PIECE], maxima: &mut [u32; PIECE / 8]) {
    const MASK: u32 = 0x7fff_ffff;
    let maxima = &mut maxima[..PIECE / size as usize];
    match size {
        8 => lanes.block_maxima::<8>(values, MASK, maxima),
        16 => lanes.block_maxima::<16>(values, MASK, maxima),
        32 => lanes.block_maxima::<32>(values, MASK, maxima),
        64 => lanes.block_maxima::<64>(values, MASK, maxima),
        _ => lanes.block_maxima::<128>(values, MASK, maxima),
    }
}

/// The factor of a scale's byte: where no block has its own, of the one that all elements share.
fn filled(bits: u32) -> [f32; PIECE] {
    [f32::from_bits(bits); PIECE]
}

/// The bytes of a row's scales from column `start` on, one for each of as many blocks as a piece holds.
#[inline(always)]
fn scales_from(format: Format, scales: &[u8], start: usize) -> &[u8] {
    match format.block_size() {
        None => &[],
        Some(size) => {
            let scales = scales.get(start / size as usize..).unwrap_or_default();
            &scales[..scales.len().min(PIECE / size as usize)]
        }
    }
}
