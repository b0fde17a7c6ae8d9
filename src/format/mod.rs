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
//! - [`block`]: block floating point (BFP);
//! - [`minifloat`]: FP8, FP6, FP4 and the E8M0 scale;
//! - [`fixed`]: fixed point Qm.n and the MX INT8 element;
//! - [`table`]: what the formats can hold, for people to read.

pub mod bf16;
pub mod block;
mod dtype;
pub mod fixed;
pub mod minifloat;
pub mod random;
pub mod rounding;
pub mod table;

pub use dtype::DType;
pub use rounding::Rounding;

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
    /// A BFP block of a size that is not offered.
    #[error("BFP block size {got} is not one of 8, 16, 32, 64, 128")]
    BlockSize {
        /// The size asked for.
        got: u32,
    },
    /// A BFP code of a width that is not offered.
    #[error("BFP code width {got} is not in 2..=8 bits (one of them the sign)")]
    CodeBits {
        /// The width asked for, in bits.
        got: u32,
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
