//! Number formats and rounding: bf16, block floating point, counter-based random bits. Pure: no GPU, no I/O.

pub mod bf16;
pub mod random;
pub mod table;

/// How a value between two neighbours of a format is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest, ties to the even one.
    #[default]
    Nearest,
    /// Away from zero with a probability equal to the fraction that nearest rounding would drop.
    Stochastic,
    /// Toward zero.
    TowardZero,
}

impl std::fmt::Display for Rounding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nearest => "nearest",
            Self::Stochastic => "stochastic",
            Self::TowardZero => "toward-zero",
        })
    }
}

/// A number format's parameter outside what the format defines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format}: {what} is {value}, expected {expected}")]
pub struct FormatError {
    /// The format.
    pub format: &'static str,
    /// Which parameter.
    pub what: &'static str,
    /// The value given.
    pub value: u32,
    /// What the format defines, in words.
    pub expected: &'static str,
}

pub mod block {
    //! Placeholder until block floating point lands.

    /// Block size and bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct BfpFormat {
        /// Elements.
        pub block: u32,
        /// Bits.
        pub bits: u32,
    }

    impl BfpFormat {
        /// Words of codes per row.
        #[must_use]
        pub fn codes_words_per_row(self, cols: usize) -> usize {
            (cols * self.bits as usize).div_ceil(32)
        }

        /// Words of exponents per row.
        #[must_use]
        pub fn exponent_words_per_row(self, cols: usize) -> usize {
            cols.div_ceil(self.block as usize).div_ceil(4)
        }
    }
}
