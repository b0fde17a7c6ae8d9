//! Sign and magnitude: the elements of block floating point (BFP).
//!
//! A code of m bits is sign << (m-1) | magnitude; m counts the sign (papers that count it apart, like FAST, say m - 1).
//! It stands for q * 2^(byte - 127 - (m-2)), q an integer below 2^(m-1) in magnitude, byte the E8M0 byte of the scale
//! that its block shares: for a block's exponent e = floor(log2(largest magnitude)), at least -127, that is e + 127.
//! Rounding up to 2^(m-1) saturates. -0, and negatives that round to 0, keep their sign bit.
//!
//! WGSL twin: `shaders/lib/element.wgsl`.

use super::rounding::{Rounding, compose, exponent, shift_round, significand};

/// The m-bit code of one element (f32 bits `u`) over a scale of 2^(byte - 127). The byte must not be below
/// the element's own exponent field, or the code saturates. Only stochastic rounding looks at `r16` (0..=65535).
///
/// The element is significand * 2^(f-150), f = max(its exponent field, 1), and one step of the block is
/// 2^(byte-127-(m-2)), so the magnitude is the significand shifted right by sh = byte + 25 - m - f. Where
/// f <= byte, sh >= 25 - m >= 17; else f = 1 and byte = 0, and sh = 24 - m >= 16: never a shift to the left,
/// and always 16 whole bits for stochastic rounding to look at.
#[inline]
#[must_use]
pub fn sign_magnitude_encode(u: u32, byte: u8, m: u32, rounding: Rounding, r16: u32) -> u16 {
    // Nine at least, for a scale that is too small: 2^23 shifted by it is past every magnitude.
    let sh = (u32::from(byte) + 25 - m).saturating_sub(exponent(u)).max(9);
    let magnitude = shift_round(significand(u), sh, rounding, r16).min((1 << (m - 1)) - 1);
    ((u >> 31) << (m - 1) | magnitude) as u16
}

/// The f32 bits of an m-bit code over a scale of 2^(byte - 127): exact, subnormal results included. See [`compose`]: a
/// step is 2^(byte - 127 - (m-2)), and byte + 25 - m is at least 17.
#[inline]
#[must_use]
pub const fn sign_magnitude_decode(code: u32, byte: u8, m: u32) -> u32 {
    let sign = ((code >> (m - 1)) & 1) << 31;
    compose(sign, code & ((1 << (m - 1)) - 1), byte as u32 + 25 - m)
}

/// The signed integer q of an m-bit code; 0 for -0.
#[inline]
#[must_use]
pub const fn sign_magnitude_integer(code: u32, m: u32) -> i32 {
    let magnitude = (code & ((1 << (m - 1)) - 1)) as i32;
    if (code >> (m - 1)) & 1 == 1 {
        -magnitude
    } else {
        magnitude
    }
}
