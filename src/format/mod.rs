//! Number formats, rounding and counter-based random bits. Pure: no GPU, no I/O.
//!
//! Every encode, decode and rounding here is integer arithmetic on bit patterns, because its twin in
//! `shaders/lib/` may lean on nothing else: WGSL promises neither round-to-nearest nor subnormals, NaN or
//! Inf. A function and its WGSL twin have the same name (a module's prefix aside: [`bf16::round_nearest`] is
//! `bf16_round_nearest` there), and the argument for each bit trick is written once, above the Rust one.
//!
//! - [`DType`]: the plain types of stored elements;
//! - [`Rounding`] and [`rounding`]: the three roundings, and right shifts that round;
//! - [`random`]: Threefry4x32-20 and Philox4x32-10, and which counter each rounding draws from;
//! - [`bf16`]: f32 to bfloat16 and back, packing two to a word;
//! - [`Format`]: formats of few-bit codes as data, an [`Element`] with a [`Scale`]; [`NAMED`], the table of them;
//! - [`minifloat`], [`signed`], [`fixed`]: the elements, and the E8M0 scale;
//! - [`Elements`]: plain numbers or codes, what an operand is made of;
//! - [`table`]: what the formats can hold, for people to read.

pub mod bf16;
mod coded;
mod dtype;
mod element;
pub mod fixed;
pub mod minifloat;
mod name;
pub mod random;
pub mod rounding;
mod scale;
pub mod signed;
pub mod table;

pub use coded::{Elements, Format, code_extract};
pub use dtype::DType;
pub use element::Element;
pub use name::{NAMED, Named, ParseFormatError};
pub use rounding::Rounding;
pub use scale::{NAN_BITS, NAN_SCALE, Scale, ScaleRule, TensorScale, UNIT_SCALE, Zero, scale_byte};

/// Packed data is viewed as bytes and half-words in place, which is only right where the low half of a word
/// comes first in memory (as it does on every GPU).
#[cfg(target_endian = "big")]
compile_error!(
    "fewbit stores packed data little-endian and views it in place: big-endian targets are not supported"
);

/// A number format that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Blocks of a size that is not offered.
    #[error("block size {got} is not one of 8, 16, 32, 64, 128")]
    BlockSize {
        /// The size asked for.
        got: u32,
    },
    /// A code of sign and magnitude of a width that is not offered.
    #[error("sign and magnitude of {got} bits is not in 2..=8 bits (one of them the sign)")]
    CodeBits {
        /// The width asked for, in bits.
        got: u32,
    },
    /// An element too wide for a code.
    #[error("codes of {got} bits are more than 16")]
    CodeWidth {
        /// The width asked for, in bits.
        got: u32,
    },
    /// A scale for elements that take none, or a second one.
    #[error(
        "elements of {bits} bits take a scale only up to 8 bits with a largest value of 1 or more, and only one"
    )]
    Unscalable {
        /// The element's width.
        bits: u32,
    },
    /// A fixed point format without a sign bit, or of fewer than 2 or more than 32 bits.
    #[error(
        "fixed point Q{integer}.{fraction} needs an integer part of at least 1 bit (the sign) and 2 to 32 bits in all"
    )]
    FixedPoint {
        /// Integer bits asked for, the sign among them.
        integer: u32,
        /// Fraction bits asked for.
        fraction: u32,
    },
}
