//! Codes to f32 bits.

use super::pack::unpack;
use super::{PIECE, filled, scales_from, spread};
use crate::cpu::Lanes;
use crate::format::{Element, Format, NAN_BITS, NAN_SCALE, UNIT_SCALE};

/// Reads rows of codes, piece by piece.
pub(crate) struct Reader {
    format: Format,
    common: u8,
    codes: [u32; PIECE],
    steps: [f32; PIECE],
}

impl Reader {
    /// For codes whose scale, where no block has its own, has this byte.
    #[inline(always)]
    pub(crate) fn new(format: Format, common: u8) -> Self {
        let steps = filled(step(format.element().fraction().unwrap_or(0), common));
        Self {
            format,
            common,
            codes: [0; PIECE],
            steps,
        }
    }

    /// The f32 bits of [`PIECE`] columns from `start` on, a multiple of 128 (whole words, whole blocks), of a row whose codes and
    /// scales these are; past the row's end anything.
    #[inline(always)]
    pub(crate) fn piece<L: Lanes>(
        &mut self,
        lanes: L,
        codes: &[u8],
        scales: &[u8],
        start: usize,
        values: &mut [u32; PIECE],
    ) {
        if self.common == NAN_SCALE {
            return values.fill(NAN_BITS);
        }
        let Self {
            format,
            codes: wide,
            steps,
            ..
        } = self;
        let element = format.element();
        let from = codes
            .get(start / 8 * element.bits() as usize..)
            .unwrap_or_default();
        // A pass of its own: codes of bytes and values of words in one loop are worth half its speed.
        unpack(lanes, from, element.bits(), wide);
        let scales = scales_from(*format, scales, start);
        let mut bad = false;
        if let Some(size) = format.block_size() {
            // As many blocks as there may be, so that the loop is a few vectors.
            let mut bytes = [UNIT_SCALE; PIECE / 8];
            bytes[..scales.len()].copy_from_slice(scales);
            let fraction = element.fraction().unwrap_or(0);
            let mut blocks = [0u32; PIECE / 8];
            for (&byte, block) in bytes.iter().zip(&mut blocks) {
                bad |= byte == NAN_SCALE;
                *block = step(fraction, byte);
            }
            spread(lanes, size, &blocks, steps);
        }
        decoded(element, wide, steps, values);
        if bad {
            let size = format.block_size().unwrap_or(8) as usize;
            for (values, &byte) in values.chunks_mut(size).zip(scales) {
                if byte == NAN_SCALE {
                    values.fill(NAN_BITS);
                }
            }
        }
    }
}

/// The f32 bits of what a unit of an even grid of so many bits of fraction is worth under a scale, 2^(byte - 127 -
/// fraction), a subnormal where its exponent field would be below 1; with none, the scale itself.
#[inline(always)]
fn step(fraction: u32, byte: u8) -> u32 {
    let byte = u32::from(byte);
    let normal = byte.wrapping_sub(fraction) << 23;
    let subnormal = 1 << (22 + byte).saturating_sub(fraction).min(22);
    if byte > fraction { normal } else { subnormal }
}

/// An integer below 2^23 as f32: under the exponent of 2^23 its bits are the last ones, and 2^23 is taken off again.
#[inline(always)]
fn small_integer(q: u32) -> f32 {
    const UNIT: f32 = 8_388_608.0;
    f32::from_bits(UNIT.to_bits() | q) - UNIT
}

/// As [`Element::decode`] of each code: what it stands for times the step, both of them exact, and the product too
/// (infinite past f32's range), since it is a multiple of the smallest subnormal with at most eight bits, or the step
/// is no scale.
#[inline(always)]
fn decoded(element: Element, codes: &[u32; PIECE], steps: &[f32; PIECE], values: &mut [u32; PIECE]) {
    let bits = element.bits();
    let mask = (1u32 << (bits - 1)) - 1;
    let all = values.iter_mut().zip(codes).zip(steps);
    match element {
        Element::SignMagnitude(_) => {
            for ((value, &code), &step) in all {
                let magnitude = small_integer(code & mask) * step;
                *value = magnitude.to_bits() | (code >> (bits - 1)) << 31;
            }
        }
        Element::Fixed(_) => {
            for ((value, &code), &step) in all {
                let negative = code >> (bits - 1);
                // Of a negative code c the magnitude is 2^bits - c: its low bits are those of -c.
                let magnitude = (code ^ 0u32.wrapping_sub(negative)).wrapping_add(negative) & (2 * mask + 1);
                let magnitude = small_integer(magnitude) * step;
                *value = magnitude.to_bits() | negative << 31;
            }
        }
        Element::Minifloat(float) => {
            // A normal code's exponent and mantissa are moved to f32's place and the bias is changed. Taken for one of
            // the first binade, a subnormal code is larger by that binade's first value, which is taken off again.
            let up = 23 - float.mantissa_bits();
            let first = (128 - float.bias()) << 23;
            let (least, max) = (1u32 << float.mantissa_bits(), u32::from(float.max_code()));
            let infinity = float.infinity().map_or(u32::MAX, u32::from);
            for ((value, &code), &step) in all {
                let rest = code & mask;
                let subnormal = rest < least;
                let moved = (rest << up) + if subnormal { first } else { first - (1 << 23) };
                let less = if subnormal { f32::from_bits(first) } else { 0.0 };
                let product = ((f32::from_bits(moved) - less) * step).to_bits();
                let special = if rest == infinity { 0x7f80_0000 } else { NAN_BITS };
                let magnitude = if rest > max { special } else { product };
                *value = magnitude | (code >> (bits - 1)) << 31;
            }
        }
    }
}
