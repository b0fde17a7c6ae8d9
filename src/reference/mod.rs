//! The specification of every kernel: one file each, sequential and obvious, with the loop order of its
//! shader. Nothing here is meant to be fast.

#![allow(clippy::needless_range_loop, reason = "keeps the code comparable to the shaders")]

mod ceiling;
mod convert;
mod copy;
mod matmul;

pub use ceiling::ceiling;
pub use convert::convert;
pub use copy::copy;
pub(crate) use matmul::load;
pub use matmul::matmul;
