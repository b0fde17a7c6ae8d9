//! Floats of 4, 6, 8 and 16 bits (E2M1, E2M3, E3M2, E4M3, E5M2, IEEE binary16), and the E8M0 scale.
//!
//! Values, specials and code layout after the OCP "8-bit Floating Point" and "Microscaling Formats (MX)"
//! specifications, v1.0. Where they leave a choice: casts saturate (finite overflow and infinities become the
//! largest value of their sign, in E5M2 too); E5M2 and E4M3 turn NaN into the code 0x7e or 0x7f of its sign;
//! E3M2, E2M3 and E2M1 have no NaN and turn it into the largest value of its sign; -0 is kept. IEEE binary16 (f16)
//! overflows to Inf as IEEE 754 says: from 65520 on to nearest, never toward zero, and in stochastic rounding Inf is
//! the upper neighbour of 65504; its NaN is 0x7e00 of its sign.
//!
//! Encoding and decoding take the E8M0 byte of a scale: the element stands for its value times 2^(byte - 127), 127 for
//! none. WGSL twin: `shaders/lib/element.wgsl`.

use super::rounding::{Rounding, compose, exponent, is_finite, is_nan, shift_round, significand};

/// A float format of at most 16 bits: sign, exponent, mantissa from the top; subnormals, no hidden surprises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Minifloat {
    name: &'static str,
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: u32,
    max_code: u16,
    infinity: Option<u16>,
    nan: Option<u16>,
    overflows: bool,
}

/// IEEE 754 binary16: largest 65504, Inf 0x7c00, NaN 0x7c01..=0x7fff.
pub const F16: Minifloat = Minifloat::new("f16", 5, 10, 15, 0x7bff, Some(0x7c00), Some(0x7e00)).overflowing();
/// FP8 with IEEE-like specials: largest 57344, Inf 0x7c, NaN 0x7d..=0x7f.
pub const E5M2: Minifloat = Minifloat::new("E5M2", 5, 2, 15, 0x7b, Some(0x7c), Some(0x7e));
/// FP8 without infinities (the "fn" variant): largest 448, NaN 0x7f.
pub const E4M3: Minifloat = Minifloat::new("E4M3", 4, 3, 7, 0x7e, None, Some(0x7f));
/// FP6, largest 28, no specials.
pub const E3M2: Minifloat = Minifloat::new("E3M2", 3, 2, 3, 0x1f, None, None);
/// FP6, largest 7.5, no specials.
pub const E2M3: Minifloat = Minifloat::new("E2M3", 2, 3, 1, 0x1f, None, None);
/// FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, no specials.
pub const E2M1: Minifloat = Minifloat::new("E2M1", 2, 1, 1, 0x07, None, None);

impl Minifloat {
    /// The formats, widest first, of equal width those with more exponent bits.
    pub const ALL: [Self; 6] = [F16, E5M2, E4M3, E3M2, E2M3, E2M1];

    const fn new(
        name: &'static str,
        exponent_bits: u32,
        mantissa_bits: u32,
        bias: u32,
        max_code: u16,
        infinity: Option<u16>,
        nan: Option<u16>,
    ) -> Self {
        Self {
            name,
            exponent_bits,
            mantissa_bits,
            bias,
            max_code,
            infinity,
            nan,
            overflows: false,
        }
    }

    /// Values past the largest become infinite.
    const fn overflowing(mut self) -> Self {
        self.overflows = true;
        self
    }

    /// Whether values past the largest become infinite; else they become the largest.
    #[must_use]
    pub const fn overflows(self) -> bool {
        self.overflows
    }

    /// The format's name, such as "E4M3".
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Width of a code in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    /// Exponent bits.
    #[must_use]
    pub const fn exponent_bits(self) -> u32 {
        self.exponent_bits
    }

    /// Mantissa bits stored (without the hidden one).
    #[must_use]
    pub const fn mantissa_bits(self) -> u32 {
        self.mantissa_bits
    }

    /// Exponent bias.
    #[must_use]
    pub const fn bias(self) -> u32 {
        self.bias
    }

    /// The code of the largest finite value.
    #[must_use]
    pub const fn max_code(self) -> u16 {
        self.max_code
    }

    /// The code of +Inf, if there is one.
    #[must_use]
    pub const fn infinity(self) -> Option<u16> {
        self.infinity
    }

    /// The code that a positive NaN becomes, if there is one.
    #[must_use]
    pub const fn nan(self) -> Option<u16> {
        self.nan
    }

    /// The code of f32 bits `u` over a scale of 2^(byte - 127), byte 0..=254. Only stochastic rounding looks at `r16`
    /// (0..=65535).
    ///
    /// The f32 is m * 2^(e-150) with m in [2^23, 2^24), once the leading bit of a subnormal's significand has been
    /// moved up and e down with it. The format's first normal binade has the exponent en = 1 - bias + byte. From there
    /// on 23 - mantissa_bits bits are dropped and, the hidden bit counted, the quotient plus (e - en) << mantissa_bits
    /// is the code; below it one more bit is dropped per binade and the quotient is the code. A mantissa carry is the
    /// next binade, as in bf16, and past the largest code it is the code of Inf, where there is one. At least 13 bits
    /// are dropped. Inf is larger than any code and saturates, or overflows, by itself.
    #[inline]
    #[must_use]
    pub fn encode(self, u: u32, byte: u8, rounding: Rounding, r16: u32) -> u16 {
        let sign = ((u >> 31) as u16) << (self.bits() - 1);
        if is_nan(u) {
            return sign | self.nan.unwrap_or(self.max_code);
        }
        let mut m = significand(u);
        if m == 0 {
            return sign;
        }
        let up = m.leading_zeros() - 8;
        m <<= up;
        let above = exponent(u) as i32 - up as i32 - (1 - self.bias as i32 + i32::from(byte));
        let sh = 23 - self.mantissa_bits + above.min(0).unsigned_abs();
        let code = shift_round(m, sh, rounding, r16) + ((above.max(0) as u32) << self.mantissa_bits);
        let limit = match self.infinity {
            Some(infinity) if self.overflows && !(rounding == Rounding::TowardZero && is_finite(u)) => {
                infinity
            }
            _ => self.max_code,
        };
        sign | code.min(limit.into()) as u16
    }

    /// The f32 bits of a code (bits above the format's width are ignored) over a scale of 2^(byte - 127): exact,
    /// infinite where the product passes f32's range. NaN codes give 0x7fc00000 with the code's sign. A format with
    /// more than three mantissa bits takes byte 127 alone: below it f32 may not have every value.
    ///
    /// A code's significand q (its hidden bit made explicit) is in units of 2^(field - bias - mantissa_bits) times the
    /// scale, field = max(exponent field, 1): [`compose`] with p = field - bias - mantissa_bits + byte + 23, at least 7.
    #[inline]
    #[must_use]
    pub const fn decode(self, code: u16, byte: u8) -> u32 {
        let code = code as u32;
        let sign = ((code >> (self.bits() - 1)) & 1) << 31;
        let rest = code & ((1 << (self.bits() - 1)) - 1);
        if rest > self.max_code as u32 {
            return match self.infinity {
                Some(infinity) if infinity as u32 == rest => sign | 0x7f80_0000,
                _ => sign | 0x7fc0_0000,
            };
        }
        let field = rest >> self.mantissa_bits;
        let mantissa = rest & ((1 << self.mantissa_bits) - 1);
        let (q, field) = match field {
            0 => (mantissa, 1),
            _ => (mantissa | 1 << self.mantissa_bits, field),
        };
        compose(sign, q, field + byte as u32 + 23 - self.bias - self.mantissa_bits)
    }
}

/// The f32 bits of an E8M0 scale: 2^(byte-127), NaN for 255. Byte 0 is 2^-127, an f32 subnormal.
#[inline]
#[must_use]
pub const fn e8m0_decode(byte: u8) -> u32 {
    match byte {
        0 => 0x0040_0000,
        255 => 0x7fc0_0000,
        _ => (byte as u32) << 23,
    }
}

/// The E8M0 byte of the largest power of two not above a positive f32 (bits `u`), at least 2^-127: as for BFP,
/// the exponent field itself. There is no zero (it gives 2^-127) and no sign: negatives, Inf and NaN give 255.
#[inline]
#[must_use]
pub const fn e8m0_encode(u: u32) -> u8 {
    if u > 0x8000_0000 {
        255
    } else {
        ((u >> 23) & 0xff) as u8
    }
}
