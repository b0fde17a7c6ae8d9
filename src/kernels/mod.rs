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
use crate::op::{Entry, NoVariants};

/// Every operation of the crate: what tests, the correctness run, the bench and the tuner take their lists from.
pub static ALL: &[Entry] = &[
    Entry {
        name: "copy",
        table: &copy::gpu::VARIANTS,
        cases: copy::cases::cases,
        bench: copy::cases::bench,
        awkward: copy::cases::awkward,
    },
    Entry {
        name: "ceiling",
        table: &NoVariants,
        cases: ceiling::cases::cases,
        bench: ceiling::cases::bench,
        awkward: ceiling::cases::bench,
    },
    Entry {
        name: "convert",
        table: &NoVariants,
        cases: convert::cases::cases,
        bench: convert::cases::bench,
        awkward: convert::cases::awkward,
    },
    Entry {
        name: "matmul",
        table: &matmul::gpu::VARIANTS,
        cases: matmul::cases::cases,
        bench: matmul::cases::bench,
        awkward: matmul::cases::awkward,
    },
    Entry {
        name: "fmac",
        table: &NoVariants,
        cases: fmac::cases::cases,
        bench: fmac::cases::bench,
        awkward: fmac::cases::awkward,
    },
    Entry {
        name: "fmac_matmul",
        table: &NoVariants,
        cases: fmac::cases::cases,
        bench: fmac::cases::bench,
        awkward: fmac::cases::awkward,
    },
    Entry {
        name: "bfp_encode",
        table: &NoVariants,
        cases: bfp::cases::cases,
        bench: bfp::cases::bench,
        awkward: bfp::cases::awkward,
    },
    Entry {
        name: "bfp_decode",
        table: &NoVariants,
        cases: bfp::cases::cases,
        bench: bfp::cases::bench,
        awkward: bfp::cases::awkward,
    },
    Entry {
        name: "bfp_matmul",
        table: &NoVariants,
        cases: bfp::cases::cases,
        bench: bfp::cases::bench,
        awkward: bfp::cases::awkward,
    },
    Entry {
        name: "spmv",
        table: &NoVariants,
        cases: spmv::cases::cases,
        bench: spmv::cases::bench,
        awkward: spmv::cases::awkward,
    },
    Entry {
        name: "spmm",
        table: &NoVariants,
        cases: spmm::cases::cases,
        bench: spmm::cases::bench,
        awkward: spmm::cases::awkward,
    },
    Entry {
        name: "relu",
        table: &NoVariants,
        cases: relu::cases::cases,
        bench: relu::cases::bench,
        awkward: relu::cases::awkward,
    },
    Entry {
        name: "relu_grad",
        table: &NoVariants,
        cases: relu::cases::cases,
        bench: relu::cases::bench,
        awkward: relu::cases::awkward,
    },
    Entry {
        name: "column_sums",
        table: &NoVariants,
        cases: column_sums::cases::cases,
        bench: column_sums::cases::bench,
        awkward: column_sums::cases::awkward,
    },
    Entry {
        name: "softmax_cross_entropy",
        table: &NoVariants,
        cases: softmax_cross_entropy::cases::cases,
        bench: softmax_cross_entropy::cases::bench,
        awkward: softmax_cross_entropy::cases::awkward,
    },
    Entry {
        name: "sgd",
        table: &sgd::gpu::VARIANTS,
        cases: sgd::cases::cases,
        bench: sgd::cases::bench,
        awkward: sgd::cases::awkward,
    },
];

/// Every permutation of every built-in kernel, for tests that hold the bindings against the shaders.
#[must_use]
pub fn permutations() -> Vec<Permutation> {
    let mut all: Vec<_> = ALL.iter().flat_map(|entry| entry.table.permutations()).collect();
    all.extend(
        [
            bfp::permutations(),
            bfp::product_permutations(),
            ceiling::permutations(),
            column_sums::permutations(),
            convert::permutations(),
            fmac::permutations(),
            fmac::product_permutations(),
            relu::permutations(),
            softmax_cross_entropy::permutations(),
            spmm::permutations(),
            spmv::permutations(),
        ]
        .concat(),
    );
    all
}
