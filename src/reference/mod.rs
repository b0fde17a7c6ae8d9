//! The specification of every kernel: one file each, sequential and obvious, with the loop order of its
//! shader. Nothing here is meant to be fast.

mod convert;
mod copy;

pub use convert::convert;
pub use copy::copy;
