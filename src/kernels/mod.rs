//! Every kernel, a folder each: the operation as a value (`mod.rs`), its specification (`reference.rs`), the CPU
//! device's kernel (`cpu.rs`), its cases (`cases.rs`), and its methods of [`Device`](crate::Device).

pub(crate) mod bfp;
pub(crate) mod ceiling;
pub(crate) mod column_sums;
pub(crate) mod convert;
pub(crate) mod copy;
pub(crate) mod fmac;
pub(crate) mod matmul;
pub(crate) mod relu;
pub(crate) mod sgd;
pub(crate) mod softmax_cross_entropy;
pub(crate) mod spmm;
pub(crate) mod spmv;

pub use bfp::{BfpDecode, BfpEncode, BfpMatmul};
pub use ceiling::{Ceiling, CeilingKind};
pub use column_sums::ColumnSums;
pub use convert::Convert;
pub use copy::Copy;
#[cfg(not(target_arch = "wasm32"))]
pub use fmac::probe_float_fmac_blocking;
pub use fmac::{Fmac, FmacMatmul, fmac_product_bits, fmac_round, fmac_sum, fmac_sum_bits, probe_float_fmac};
pub use matmul::{Matmul, MatmulOptions, MatrixLayout, Weights};
pub use relu::{Relu, ReluGrad};
pub use sgd::{Sgd, SgdOperands};
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
pub use spmm::Spmm;
pub use spmv::Spmv;
pub use spmv::cpu::{Columns, Csr as CsrSlices, spmv as spmv_slices};

use crate::gpu::Permutation;

/// Every permutation of every built-in kernel, for tests that hold the bindings against the shaders.
#[must_use]
pub fn permutations() -> Vec<Permutation> {
    [
        bfp::permutations(),
        bfp::product_permutations(),
        ceiling::permutations(),
        column_sums::permutations(),
        convert::permutations(),
        copy::permutations(),
        fmac::permutations(),
        fmac::product_permutations(),
        matmul::permutations(),
        relu::permutations(),
        sgd::permutations(),
        softmax_cross_entropy::permutations(),
        spmm::permutations(),
        spmv::permutations(),
    ]
    .concat()
}
