//! bfloat16: 1 sign, 8 exponent and 7 mantissa bits, the upper half of an f32. All rounding is on bit patterns.
//!
//! Rounding f32 bits `u` to nearest even: with `low = u & 0xffff` and `b` = bit 16, adding `0x7fff + b` carries
//! into bit 16 exactly when `low > 0x8000`, or `low = 0x8000` and `b = 1`: to nearest, ties to even. The
//! exponent sits above the mantissa, so a carry out of the mantissa is the next binade, and `0x7f7f8000` and up
//! become Inf. Sign and magnitude are apart, so the rule is symmetric; f32 and bf16 subnormals also differ by
//! 16 bits, so they need nothing.
//!
//! Stochastic: `low + r16` carries for exactly `low` of the 65,536 values of `r16`, so P(up) = low / 65536 and
//! the mean is the value. `low = 0` never moves: exact values and infinities stay. Past the largest finite
//! value the upper neighbour is Inf.

use super::Rounding;

#[cfg(target_endian = "big")]
compile_error!("packed bf16 is two per little-endian u32 word: big-endian hosts are not supported");

const QUIET_NAN: u32 = 0x7fc0;

fn is_nan(u: u32) -> bool {
    u & 0x7fff_ffff > 0x7f80_0000
}

/// f32 bits to nearest even; NaN stays NaN, quiet, with its sign.
#[inline]
#[must_use]
pub fn round_nearest(u: u32) -> u16 {
    let nan = ((u >> 16) & 0x8000) | QUIET_NAN;
    // The sum wraps for some NaN only, whose value is not taken.
    let rounded = u.wrapping_add(0x7fff + ((u >> 16) & 1)) >> 16;
    (if is_nan(u) { nan } else { rounded }) as u16
}

/// f32 bits to one of the two neighbours: up (away from zero) with probability `(u & 0xffff) / 65536` over
/// `r16` uniform in `0..=65535`.
#[inline]
#[must_use]
pub fn round_stochastic(u: u32, r16: u32) -> u16 {
    let nan = ((u >> 16) & 0x8000) | QUIET_NAN;
    let rounded = u.wrapping_add(r16 & 0xffff) >> 16;
    (if is_nan(u) { nan } else { rounded }) as u16
}

/// f32 bits toward zero; NaN stays NaN, quiet.
#[inline]
#[must_use]
pub fn truncate(u: u32) -> u16 {
    let nan = ((u >> 16) & 0x8000) | QUIET_NAN;
    (if is_nan(u) { nan } else { u >> 16 }) as u16
}

/// The saturating flag: where rounding the finite `source` bits gave Inf, the largest finite value of that
/// sign. Inf stays Inf and NaN stays NaN.
#[inline]
#[must_use]
pub fn saturate(code: u16, source: u32) -> u16 {
    let overflowed = code & 0x7fff == 0x7f80 && source & 0x7fff_ffff < 0x7f80_0000;
    if overflowed { code - 1 } else { code }
}

/// Rounds f32 bits as asked; `r16` is read by stochastic rounding only.
#[inline]
#[must_use]
pub fn encode(u: u32, rounding: Rounding, r16: u32, saturating: bool) -> u16 {
    let code = match rounding {
        Rounding::Nearest => round_nearest(u),
        Rounding::Stochastic => round_stochastic(u, r16),
        Rounding::TowardZero => truncate(u),
    };
    if saturating { saturate(code, u) } else { code }
}

/// The f32 of the same value; every bf16 is one.
#[inline]
#[must_use]
pub fn widen(code: u16) -> f32 {
    f32::from_bits(u32::from(code) << 16)
}

/// The nearest bf16.
#[inline]
#[must_use]
pub fn from_f32(value: f32) -> u16 {
    round_nearest(value.to_bits())
}

/// Two bf16 in one word, `low` in the low half: the element with the even index.
#[inline]
#[must_use]
pub fn pack(low: u16, high: u16) -> u32 {
    u32::from(low) | (u32::from(high) << 16)
}

/// Packed words as 16-bit elements.
#[inline]
#[must_use]
pub fn halves(words: &[u32]) -> &[u16] {
    bytemuck::cast_slice(words)
}

/// Packed words as 16-bit elements, to write.
#[inline]
#[must_use]
pub fn halves_mut(words: &mut [u32]) -> &mut [u16] {
    bytemuck::cast_slice_mut(words)
}
