//! The three roundings, and the right shifts that round: what every encoder here is made of.
//!
//! WGSL twin: `shaders/lib/rounding.wgsl`.

use std::fmt;

/// How a value between two representable neighbours becomes one of them. Exactly representable values never
/// move under any of the three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest; half-way cases to the neighbour with an even code (IEEE 754 roundTiesToEven).
    #[default]
    Nearest,
    /// Away from zero with a probability equal to the fraction passed (to 16 bits), else toward zero: right
    /// on average. The random bits come from [`super::random::Draw`].
    Stochastic,
    /// Toward zero: the dropped bits are cut off.
    TowardZero,
}

impl Rounding {
    /// The number WGSL kernels know this rounding by: `ROUND_NEAREST` 0, `ROUND_STOCHASTIC` 1,
    /// `ROUND_TOWARD_ZERO` 2.
    #[inline]
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Nearest => 0,
            Self::Stochastic => 1,
            Self::TowardZero => 2,
        }
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nearest => "nearest",
            Self::Stochastic => "stochastic",
            Self::TowardZero => "toward-zero",
        })
    }
}

/// Whether an f32 bit pattern is a NaN. On bits, because a GPU may assume that floats are never NaN.
#[inline]
#[must_use]
pub const fn is_nan(u: u32) -> bool {
    (u & 0x7fff_ffff) > 0x7f80_0000
}

/// Whether an f32 bit pattern is a number: neither NaN nor infinite.
#[inline]
#[must_use]
pub const fn is_finite(u: u32) -> bool {
    (u & 0x7fff_ffff) < 0x7f80_0000
}

/// The exponent field of an f32 bit pattern, but at least 1: a subnormal has the same weight per mantissa bit
/// as the first binade of normal numbers. With [`significand`], abs(x) = significand * 2^(exponent - 150).
#[inline]
#[must_use]
pub const fn exponent(u: u32) -> u32 {
    let field = (u >> 23) & 0xff;
    if field == 0 { 1 } else { field }
}

/// The 24-bit significand of an f32 bit pattern as an integer, its hidden bit made explicit (0 for
/// subnormals): below 2^24. See [`exponent`]. Means nothing for NaN; Inf looks like 2^128.
#[inline]
#[must_use]
pub const fn significand(u: u32) -> u32 {
    let mantissa = u & 0x007f_ffff;
    if (u & 0x7f80_0000) == 0 {
        mantissa
    } else {
        mantissa | 0x0080_0000
    }
}

/// `m / 2^sh` rounded to the nearest integer, ties to even; `m < 2^24`, `sh >= 1` of any size.
///
/// Adding 2^(sh-1) - 1 + (bit sh of m) carries into bit sh exactly if the dropped part is above one half, or
/// equal to it with an odd quotient. From sh = 25 on, m < 2^24 is below one half and the answer is 0; so is
/// the formula's at sh = 25 (m + 2^24 - 1 < 2^25), and larger shifts are clamped to it (a shift by 32 or more
/// is not a shift in WGSL, nor in Rust).
#[inline]
#[must_use]
pub fn shift_round_nearest(m: u32, sh: u32) -> u32 {
    let s = sh.clamp(1, 25);
    (m + (1 << (s - 1)) - 1 + ((m >> s) & 1)) >> s
}

/// `m / 2^sh` rounded up with probability equal to the dropped fraction cut to 16 bits, else down, for `r`
/// uniform in 0..=65535; `m < 2^24`, `sh >= 9` of any size.
///
/// With t = floor(m / 2^(sh-16)), the quotient followed by the first 16 dropped bits (zeros, where fewer are
/// dropped), (t + r) >> 16 carries into the quotient for exactly (t mod 2^16) of the 65536 values of r. Exact
/// quotients have t mod 2^16 = 0 and never move. From sh = 40 on t is 0, and so is the result; the clamp only
/// keeps the shift below 32. At sh = 9 t is below 2^31, so that adding r never wraps.
#[inline]
#[must_use]
pub fn shift_round_stochastic(m: u32, sh: u32, r: u32) -> u32 {
    let t = (m << 16u32.saturating_sub(sh).min(7)) >> sh.saturating_sub(16).min(31);
    (t + (r & 0xffff)) >> 16
}

/// `m / 2^sh` rounded toward zero; `m < 2^24`, `sh` of any size (31 already gives 0).
#[inline]
#[must_use]
pub fn shift_truncate(m: u32, sh: u32) -> u32 {
    m >> sh.min(31)
}

/// The one of the three shifts above that `rounding` names; `sh >= 9`. Only stochastic rounding looks at `r`.
#[inline]
#[must_use]
pub fn shift_round(m: u32, sh: u32, rounding: Rounding, r: u32) -> u32 {
    match rounding {
        Rounding::Nearest => shift_round_nearest(m, sh),
        Rounding::Stochastic => shift_round_stochastic(m, sh, r),
        Rounding::TowardZero => shift_truncate(m, sh),
    }
}

/// f64 to f32, rounded to odd: cut toward zero, and the last bit set if anything was cut off. Rounding the
/// result again, to a format at least 2 bits narrower, gives what one rounding of the f64 would: the last bit
/// stands for everything below it, so no value falls on a tie or an exact result that was not one. Finite
/// values beyond f32 become its largest finite value (odd), whose rounding overflows as the f64's would.
#[must_use]
pub fn f32_bits_odd(value: f64) -> u32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    let bits = nearest.to_bits();
    if value.is_nan() || back == value {
        return bits;
    }
    // Away from zero by the cast: one step back (from Inf to the largest finite value).
    let cut = if back.abs() > value.abs() { bits - 1 } else { bits };
    cut | 1
}

/// The f32 bits of `q * 2^(p - 150)`, `q < 2^24`, `p >= 1`, with this sign bit: exact where f32 has it, subnormals
/// included; infinite past f32's range.
///
/// With k = floor(log2 q), the exponent field is p + k - 23, and the mantissa is q moved up until its leading bit is
/// bit 23, then hidden. Where that field would be below 1 the value is a subnormal, in units of 2^-149: q << (p - 1),
/// below 2^23 because p + k <= 23.
#[inline]
#[must_use]
pub const fn compose(sign: u32, q: u32, p: u32) -> u32 {
    if q == 0 {
        return sign;
    }
    let k = 31 - q.leading_zeros();
    if p + k > 277 {
        sign | 0x7f80_0000
    } else if p + k > 23 {
        sign | (p + k - 23) << 23 | ((q << (23 - k)) & 0x007f_ffff)
    } else {
        sign | q << (p - 1)
    }
}
