//! What one code stands for: the grid of values of a format, apart from its scales and from how codes are packed.

use super::FormatError;
use super::fixed::Fixed;
use super::minifloat::Minifloat;
use super::rounding::Rounding;
use super::signed::{sign_magnitude_decode, sign_magnitude_encode};

/// The grid of values of one code, before its scale.
///
/// To add one: a module with its encode and decode, an arm of each match here, and the twin of both in
/// `shaders/lib/element.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// A float of at most 16 bits.
    Minifloat(Minifloat),
    /// Sign and magnitude of so many bits, 2 to 8, the sign among them; the unit is 2^-(bits - 2), so that magnitudes
    /// are below 2.
    SignMagnitude(u32),
    /// Two's complement of 2 to 16 bits, fraction bits among them.
    Fixed(Fixed),
}

impl Element {
    /// Sign and magnitude of `bits` bits.
    ///
    /// # Errors
    /// [`FormatError::CodeBits`] outside 2..=8.
    pub const fn sign_magnitude(bits: u32) -> Result<Self, FormatError> {
        match bits {
            2..=8 => Ok(Self::SignMagnitude(bits)),
            got => Err(FormatError::CodeBits { got }),
        }
    }

    /// Width of a code in bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Minifloat(float) => float.bits(),
            Self::SignMagnitude(bits) => bits,
            Self::Fixed(fixed) => fixed.bits(),
        }
    }

    /// The code of f32 bits `u` over a scale of 2^(byte - 127), 127 for none. Only stochastic rounding looks at `r16`
    /// (0..=65535).
    #[inline]
    #[must_use]
    pub fn encode(self, u: u32, byte: u8, rounding: Rounding, r16: u32) -> u16 {
        match self {
            Self::Minifloat(float) => float.encode(u, byte, rounding, r16),
            Self::SignMagnitude(bits) => sign_magnitude_encode(u, byte, bits, rounding, r16),
            Self::Fixed(fixed) => {
                (fixed.encode(u, byte, rounding, r16) as u32 & (u32::MAX >> (32 - fixed.bits()))) as u16
            }
        }
    }

    /// The f32 bits that a code stands for over a scale of 2^(byte - 127); exact, infinite past f32's range.
    #[inline]
    #[must_use]
    pub const fn decode(self, code: u16, byte: u8) -> u32 {
        match self {
            Self::Minifloat(float) => float.decode(code, byte),
            Self::SignMagnitude(bits) => sign_magnitude_decode(code as u32, byte, bits),
            Self::Fixed(fixed) => fixed.decode_bits(sign_extended(code, fixed.bits()), byte),
        }
    }

    /// Fraction bits of an even grid, whose unit is 2^-fraction; else none.
    #[must_use]
    pub const fn fraction(self) -> Option<u32> {
        match self {
            Self::Minifloat(_) => None,
            Self::SignMagnitude(bits) => Some(bits - 2),
            Self::Fixed(fixed) => Some(fixed.fraction()),
        }
    }

    /// The most significant bits of any value.
    #[must_use]
    pub const fn significant_bits(self) -> u32 {
        match self {
            Self::Minifloat(float) => float.mantissa_bits() + 1,
            Self::SignMagnitude(bits) => bits - 1,
            Self::Fixed(fixed) => fixed.bits() - 1,
        }
    }

    /// The code of the largest value.
    #[must_use]
    pub const fn max_code(self) -> u16 {
        match self {
            Self::Minifloat(float) => float.max_code(),
            Self::SignMagnitude(bits) => (1 << (bits - 1)) - 1,
            Self::Fixed(fixed) => fixed.max_code() as u16,
        }
    }

    /// Its largest magnitude for the rules that choose scales: floor(log2 x), and x * 2^(23 - that), 24 bits of which
    /// the first is set. Of two's complement the magnitude that both signs have.
    #[must_use]
    pub const fn largest_magnitude(self) -> (u32, u32) {
        let bits = self.decode(self.max_code(), 127);
        // Below 1 (a fixed point format of fractions alone) counts as exponent 0: such formats take no scale.
        (
            (bits >> 23).saturating_sub(127),
            (bits & 0x007f_ffff) | 0x0080_0000,
        )
    }

    /// Whether elements may share a scale: values below 2^9 of at most eight significant bits, so that every value
    /// over every scale is an f32.
    pub(super) const fn takes_scale(self) -> bool {
        match self {
            Self::Minifloat(float) => float.bits() <= 8,
            Self::SignMagnitude(_) => true,
            // One integer bit beside the sign at least: the largest magnitude is 1 or more.
            Self::Fixed(fixed) => fixed.bits() <= 8 && fixed.bits() - fixed.fraction() >= 2,
        }
    }
}

/// The low `bits` of a code as two's complement.
#[inline]
const fn sign_extended(code: u16, bits: u32) -> i32 {
    ((code as u32) << (32 - bits)) as i32 >> (32 - bits)
}
