//! Fixed point: Qm.n, and the MX INT8 element.
//!
//! Two's complement codes of m + n bits in an `i32`, m integer bits with the sign among them, n fraction bits;
//! value = code * 2^-n. Out-of-range values and infinities saturate; NaN becomes 0 (a caller who minds tests
//! for it with [`is_nan`]).

use super::FormatError;
use super::rounding::{
    Rounding, compose, exponent, is_nan, shift_round_nearest, shift_truncate, significand,
};

/// A fixed point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixed {
    integer: u32,
    fraction: u32,
    symmetric: bool,
}

/// 16 bits, 8 of them fraction: -128 to 127.99609375 in steps of 2^-8.
pub const Q8_8: Fixed = Fixed {
    integer: 8,
    fraction: 8,
    symmetric: false,
};
/// The MX INT8 element: 8 bits, 6 of them fraction, +-127/64. The code -128 decodes but is never made (OCP MX
/// v1.0 leaves that open; symmetric as in microxcaling).
pub const INT8: Fixed = Fixed {
    integer: 2,
    fraction: 6,
    symmetric: true,
};

impl Fixed {
    /// Q`integer`.`fraction`: at least one integer bit (the sign), 2 to 32 bits in all.
    pub const fn new(integer: u32, fraction: u32) -> Result<Self, FormatError> {
        // `integer` first: the sum must not overflow.
        if integer < 1 || integer > 32 || fraction > 31 || !matches!(integer + fraction, 2..=32) {
            return Err(FormatError::FixedPoint { integer, fraction });
        }
        Ok(Self {
            integer,
            fraction,
            symmetric: false,
        })
    }

    /// Width of a code in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.integer + self.fraction
    }

    /// Fraction bits.
    #[must_use]
    pub const fn fraction(self) -> u32 {
        self.fraction
    }

    /// The largest code.
    #[must_use]
    pub const fn max_code(self) -> i32 {
        ((1_u32 << (self.bits() - 1)) - 1) as i32
    }

    /// The smallest code that encoding makes.
    #[must_use]
    pub const fn min_code(self) -> i32 {
        if self.symmetric {
            -self.max_code()
        } else {
            -self.max_code() - 1
        }
    }

    /// The code of f32 bits `u` over a scale of 2^(byte - 127), 127 for none. Nearest is ties to even; stochastic moves
    /// away from zero with probability equal to the fraction of a step (`r16` in 0..=65535); toward zero cuts the
    /// *magnitude*: see [`Fixed::encode_floor`] for what an arithmetic shift does.
    #[must_use]
    pub fn encode(self, u: u32, byte: u8, rounding: Rounding, r16: u32) -> i32 {
        let Some((m, sh)) = self.magnitude(u, byte) else {
            return self.clamp_signed(u, u64::MAX >> 1);
        };
        let magnitude = match rounding {
            Rounding::Nearest if sh > 0 => u64::from(shift_round_nearest(m, sh)),
            // 16 bits below the binary point, whichever way they have to be moved; then as in bf16.
            Rounding::Stochastic if sh < 16 => ((u64::from(m) << (16 - sh)) + u64::from(r16 & 0xffff)) >> 16,
            Rounding::Stochastic => u64::from(super::rounding::shift_round_stochastic(m, sh, r16)),
            Rounding::Nearest | Rounding::TowardZero => u64::from(shift_truncate(m, sh)),
        };
        self.clamp_signed(u, magnitude)
    }

    /// The code of f32 bits `u`, without a scale, rounded toward minus infinity.
    #[must_use]
    pub fn encode_floor(self, u: u32) -> i32 {
        let Some((m, sh)) = self.magnitude(u, 127) else {
            return self.clamp_signed(u, u64::MAX >> 1);
        };
        let cut = shift_truncate(m, sh);
        let inexact = sh > 31 && m != 0 || sh <= 31 && cut << sh != m;
        self.clamp_signed(u, u64::from(cut) + u64::from(u >> 31 == 1 && inexact))
    }

    /// (m, sh): abs(x) in steps is m / 2^sh. None where it is 2^31 steps or more, so saturates in any format.
    fn magnitude(self, u: u32, byte: u8) -> Option<(u32, u32)> {
        if is_nan(u) {
            return Some((0, 0));
        }
        // abs(x) = m * 2^(e-150), a step is 2^(byte-127-n); e + n + 127 <= 254 + 31 + 127.
        let (m, up) = (significand(u), exponent(u) + self.fraction + 127);
        let down = 150 + u32::from(byte);
        if up <= down {
            return Some((m, down - up));
        }
        // Below 2^23 steps that many to the left is still an integer; 8 or more of a normal number is past 2^31.
        match m.checked_shl(up - down) {
            Some(shifted) if up - down < 8 => Some((shifted, 0)),
            _ if m == 0 => Some((0, 0)),
            _ => None,
        }
    }

    /// The sign of `u` on a magnitude in steps, clamped to the codes there are.
    fn clamp_signed(self, u: u32, magnitude: u64) -> i32 {
        let magnitude = magnitude as i64;
        let signed = if u >> 31 == 1 { -magnitude } else { magnitude };
        signed.clamp(i64::from(self.min_code()), i64::from(self.max_code())) as i32
    }

    /// The value of a code, exact.
    #[must_use]
    pub fn decode(self, code: i32) -> f64 {
        f64::from(code) / f64::from(1_u32 << self.fraction)
    }

    /// The f32 bits of a code of at most 24 bits over a scale of 2^(byte - 127): exact where f32 has the value, which
    /// is everywhere for 6 fraction bits. See [`compose`]: a step is 2^(byte - 127 - n).
    #[must_use]
    pub const fn decode_bits(self, code: i32, byte: u8) -> u32 {
        let sign = ((code < 0) as u32) << 31;
        let p = (byte as u32 + 23).saturating_sub(self.fraction);
        compose(sign, code.unsigned_abs(), if p == 0 { 1 } else { p })
    }

    /// Whether the smallest code is never made, so that every value's negative has a code too.
    #[must_use]
    pub const fn symmetric(self) -> bool {
        self.symmetric
    }
}
