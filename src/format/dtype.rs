use std::fmt;

/// The type of one stored element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary64. Reference and CPU devices only: WGSL has none.
    F64,
    /// IEEE 754 binary32, one per `u32` word.
    F32,
    /// bfloat16: 1 sign, 8 exponent and 7 mantissa bits, two per `u32` word, low half first.
    Bf16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer, two per `u32` word, low half first.
    U16,
}

impl DType {
    /// Bits of one element.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::F64 => 64,
            Self::F32 | Self::U32 => 32,
            Self::Bf16 | Self::U16 => 16,
        }
    }

    /// `u32` words that `elements` consecutive elements take; an odd count of 16-bit elements takes half a
    /// word more, written as zero. Never wraps: `u64::MAX` where there are more.
    #[must_use]
    pub const fn words(self, elements: u64) -> u64 {
        let bits = self.bits() as u64;
        // Thirty-two elements take `bits` words, so that no product of bits is needed.
        (elements / 32)
            .saturating_mul(bits)
            .saturating_add((elements % 32 * bits).div_ceil(32))
    }

    /// The multiple that a `Tensor` rounds its leading dimension up to: 8 for packed 16-bit elements, so that
    /// rows never share a word and `vec4<u32>` loads line up; 4 for 32-bit ones; 2 for 64-bit ones.
    #[must_use]
    pub const fn row_multiple(self) -> usize {
        (128 / self.bits()) as usize
    }

    /// The leading dimension of rows of so many elements in a `Tensor`; past every limit where it wraps.
    pub(crate) const fn row_ld(self, cols: usize) -> usize {
        match cols.checked_next_multiple_of(self.row_multiple()) {
            Some(ld) => ld,
            None => usize::MAX,
        }
    }

    /// The field's short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::U32 => "u32",
            Self::U16 => "u16",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
