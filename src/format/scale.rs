//! The scales that elements share, and the rules that choose them.

/// The E8M0 byte of a scale that marks a NaN or an Inf among the elements that share it: their codes are 0, and all of
/// them decode to NaN.
pub const NAN_SCALE: u8 = 255;
/// The E8M0 byte of the scale 1.
pub const UNIT_SCALE: u8 = 127;
/// What every element under [`NAN_SCALE`] decodes to: the bits of a quiet NaN.
pub const NAN_BITS: u32 = 0x7fc0_0000;

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scale {
    /// None has one.
    None,
    /// Up to `size` neighbours along a row (8, 16, 32, 64 or 128; the row's last block may be shorter) share a power of
    /// two, an E8M0 byte, which `rule` chooses.
    Block {
        /// Elements that share one.
        size: u32,
        /// How it is chosen.
        rule: ScaleRule,
    },
}

/// Zero points: whether the value 0 has a code of its own that is stored beside the scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Zero {
    /// Code 0 is the value 0.
    #[default]
    None,
}

/// A scale that all elements of a tensor share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorScale {
    /// There is none.
    None,
    /// A power of two, chosen by a rule. It stands as f32 bits in the first word of the scales.
    PowerOfTwo(ScaleRule),
}

/// How a power of two is chosen from the largest magnitude among the elements that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScaleRule {
    /// floor(log2(largest magnitude)) - floor(log2(largest value of the element)), as OCP MX v1.0 has it: magnitudes
    /// above the largest value times the scale saturate.
    Floor,
    /// The least power of two under which nothing saturates, but none under which the largest value of the element is
    /// past f32's range: there, magnitudes above that value saturate.
    Up,
}

impl ScaleRule {
    /// The number that WGSL kernels know the rule by: `SCALE_FLOOR` 0, `SCALE_UP` 1.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Floor => 0,
            Self::Up => 1,
        }
    }

    /// The E8M0 byte for a largest magnitude of these f32 bits (sign bit ignored), for elements of this largest
    /// magnitude ([`Element::largest_magnitude`](super::Element::largest_magnitude)): clamped to the scales there are, 0 for zero, [`NAN_SCALE`] for NaN and Inf.
    ///
    /// floor(log2 x) + 127 is the f32 exponent field (and not a log2 that rounds, which is wrong just under powers of
    /// two); a subnormal's or zero's is at most 0, and stays there, for the largest values' exponents are not negative.
    /// Inf and NaN have field 255, and as the largest patterns they win any maximum of bits. The rule `Up` adds one
    /// where the significand is past that of the largest value; of a subnormal, whose scale is 2^-127 at least, only
    /// where its exponent is -127 and the element's is 0. It adds none to field 254, or codes would decode to Inf.
    #[inline]
    #[must_use]
    pub const fn byte(self, max_abs_bits: u32, largest: (u32, u32)) -> u8 {
        let (exponent, largest) = largest;
        let field = (max_abs_bits >> 23) & 0xff;
        if field == 255 {
            return NAN_SCALE;
        }
        let mantissa = max_abs_bits & 0x007f_ffff;
        // A subnormal of exponent -127 has its leading bit at bit 22.
        let significand = match field {
            0 => mantissa << 1,
            _ => mantissa | 0x0080_0000,
        };
        let more = match self {
            Self::Floor => 0,
            Self::Up => (significand > largest) as u32,
        };
        let above = if field + more > 254 { 254 } else { field + more };
        above.saturating_sub(exponent) as u8
    }
}

/// The E8M0 byte of a power of two in f32 bits, as it stands at the head of the scales: [`NAN_SCALE`] for NaN.
#[inline]
#[must_use]
pub const fn scale_byte(bits: u32) -> u8 {
    ((bits >> 23) & 0xff) as u8
}
