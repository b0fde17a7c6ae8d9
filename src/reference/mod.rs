//! The specification of every kernel: one file each, sequential and obvious, with the loop order of its
//! shader. Nothing here is meant to be fast.

#![allow(
    clippy::needless_range_loop,
    reason = "keeps the code comparable to the shaders"
)]

mod bfp;
mod ceiling;
mod column_sums;
mod convert;
mod copy;
pub(crate) mod element;
mod fmac;
mod fmac_integer;
mod matmul;
mod relu;
mod sgd;
mod softmax_cross_entropy;
mod spmm;
mod spmv;

pub use bfp::{bfp_decode, bfp_encode, bfp_matmul};
pub use ceiling::ceiling;
pub use column_sums::column_sums;
pub use convert::convert;
pub use copy::copy;
pub use fmac::{fmac, fmac_matmul, fmac_round, fmac_sum};
pub use fmac_integer::{fmac_product_bits, fmac_sum_bits};
pub(crate) use matmul::load;
pub use matmul::matmul;
pub use relu::{relu, relu_grad};
pub use sgd::sgd;
pub use softmax_cross_entropy::softmax_cross_entropy;
pub use spmm::spmm;
pub use spmv::spmv;
