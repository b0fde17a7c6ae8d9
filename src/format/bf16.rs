//! bfloat16: the upper half of an f32, as `u16` bit patterns.
//!
//! 1 sign, 8 exponent and 7 mantissa bits. Subnormals are kept. A NaN is tested for first and comes out quiet
//! with its sign (0x7fc0 or 0xffc0), as ml_dtypes and TensorFlow have it.
//!
//! WGSL twin: `shaders/lib/bf16.wgsl`.

use super::rounding::{Rounding, is_finite, is_nan};

/// The largest finite bf16, (2 - 2^-7) * 2^127.
pub const MAX: u16 = 0x7f7f;
/// Positive infinity.
pub const INFINITY: u16 = 0x7f80;
/// The quiet NaN that every positive NaN becomes.
pub const NAN: u16 = 0x7fc0;

/// The quiet NaN of this sign.
#[inline(always)]
const fn nan(u: u32) -> u16 {
    ((u >> 16) as u16 & 0x8000) | NAN
}

/// The high half of `rounded`, or `u`'s quiet NaN. A choice between two words that are both there already, rather
/// than an early return: loops over it become vectors at every instruction set.
#[inline(always)]
const fn high_or_nan(u: u32, rounded: u32) -> u16 {
    let word = if is_nan(u) { (nan(u) as u32) << 16 } else { rounded };
    (word >> 16) as u16
}

/// f32 bits to bf16 bits, to nearest, ties to even; overflow goes to Inf.
///
/// Adding 0x7fff + (bit 16) carries into bit 16 exactly if the low half is above 0x8000, or equal to it with
/// bit 16 set: nearest, ties to even. The exponent field sits above the mantissa, so a mantissa carry is the
/// next binade, and 0x7f7f8000 and up become 0x7f80 = Inf. Subnormals of both formats differ by the same 16
/// bits, sign and magnitude are apart: neither needs a case of its own.
#[inline]
#[must_use]
pub const fn round_nearest(u: u32) -> u16 {
    high_or_nan(u, u.wrapping_add(0x7fff + ((u >> 16) & 1)))
}

/// f32 bits to bf16 bits, stochastically, with `r16` uniform in 0..=65535 (higher bits are ignored).
///
/// u + r16 carries into bit 16 exactly if (low half) + r16 >= 65536, which holds for `low` of the 65536 values
/// of r16: P(away from zero) = low / 65536, exactly unbiased. A low half of 0 never moves, hence exact values
/// and infinities stay. Past the largest finite value the upper neighbour is Inf.
#[inline]
#[must_use]
pub const fn round_stochastic(u: u32, r16: u32) -> u16 {
    high_or_nan(u, u.wrapping_add(r16 & 0xffff))
}

/// f32 bits to bf16 bits, toward zero. Never overflows.
#[inline]
#[must_use]
pub const fn truncate(u: u32) -> u16 {
    high_or_nan(u, u)
}

/// `bits`, the rounding of `source`, with an overflow taken back: an infinity made of a finite `source` becomes
/// the largest finite value of its sign; infinities and NaNs that were there before stay.
#[inline]
#[must_use]
pub const fn saturate(bits: u16, source: u32) -> u16 {
    if bits & 0x7fff == INFINITY && is_finite(source) {
        bits - 1
    } else {
        bits
    }
}

/// f32 bits to bf16 bits by any rounding; only stochastic rounding looks at `r16` (0..=65535). [`saturate`] takes an overflow
/// back.
#[inline]
#[must_use]
pub const fn encode(u: u32, rounding: Rounding, r16: u32) -> u16 {
    match rounding {
        Rounding::Nearest => round_nearest(u),
        Rounding::Stochastic => round_stochastic(u, r16),
        Rounding::TowardZero => truncate(u),
    }
}

/// The f32 of the same value (exact; of a NaN, the same sign and payload bits).
#[inline]
#[must_use]
pub const fn widen(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// The nearest bf16 to an f32, ties to even, overflow to Inf: [`round_nearest`] of its bits.
#[inline]
#[must_use]
pub const fn from_f32(value: f32) -> u16 {
    round_nearest(value.to_bits())
}

/// Two bf16 in one word, the low half first in memory.
#[inline]
#[must_use]
pub const fn pack(lo: u16, hi: u16) -> u32 {
    lo as u32 | (hi as u32) << 16
}

/// One half of a word: the low one for an even `which`, the high one for an odd.
#[inline]
#[must_use]
pub const fn half(word: u32, which: u32) -> u16 {
    (word >> (16 * (which & 1))) as u16
}

/// The low half of a word, widened.
#[inline]
#[must_use]
pub const fn low(word: u32) -> f32 {
    f32::from_bits(word << 16)
}

/// The high half of a word, widened.
#[inline]
#[must_use]
pub const fn high(word: u32) -> f32 {
    f32::from_bits(word & 0xffff_0000)
}

/// Packed words seen as bf16 bit patterns, in place: element i is half `i & 1` of word `i / 2`.
#[inline]
#[must_use]
pub fn halves(words: &[u32]) -> &[u16] {
    bytemuck::cast_slice(words)
}

/// [`halves`], to write to.
#[inline]
#[must_use]
pub fn halves_mut(words: &mut [u32]) -> &mut [u16] {
    bytemuck::cast_slice_mut(words)
}
