//! Every kernel, a folder each: the operation as a value (`mod.rs`), its specification (`reference.rs`), the CPU
//! device's kernel (`cpu.rs`), its cases (`cases.rs`), and its methods of [`Device`](crate::Device).

#[cfg(feature = "nn")]
pub(crate) mod accumulate;
#[cfg(feature = "nn")]
pub(crate) mod adamw;
pub(crate) mod ceiling;
#[cfg(feature = "nn")]
pub(crate) mod choose;
#[cfg(feature = "nn")]
pub(crate) mod column_sums;
pub(crate) mod convert;
pub(crate) mod copy;
#[cfg(feature = "nn")]
pub(crate) mod decide;
#[cfg(feature = "quant")]
pub(crate) mod decode;
#[cfg(feature = "nn")]
pub(crate) mod distillation;
#[cfg(feature = "nn")]
pub(crate) mod dropout;
#[cfg(feature = "quant")]
pub(crate) mod encode;
pub(crate) mod fmac;
#[cfg(feature = "quant")]
pub(crate) mod improvement;
pub(crate) mod matmul;
#[cfg(feature = "nn")]
pub(crate) mod max_pool;
#[cfg(feature = "nn")]
pub(crate) mod patches;
#[cfg(feature = "nn")]
pub(crate) mod relu;
#[cfg(feature = "nn")]
pub(crate) mod sgd;
mod shared;
#[cfg(feature = "nn")]
pub(crate) mod softmax_cross_entropy;
#[cfg(feature = "sparse")]
pub(crate) mod spmm;
#[cfg(feature = "sparse")]
pub(crate) mod spmv;
#[cfg(feature = "nn")]
pub(crate) mod squares;
#[cfg(feature = "nn")]
pub(crate) mod transpose;

#[cfg(feature = "nn")]
pub use accumulate::Accumulate;
#[cfg(feature = "nn")]
pub use adamw::AdamW;
pub use ceiling::{Ceiling, CeilingKind};
#[cfg(feature = "nn")]
pub use choose::Choose;
#[cfg(feature = "nn")]
pub use column_sums::ColumnSums;
pub use convert::{Convert, ConvertOptions};
pub use copy::Copy;
#[cfg(feature = "nn")]
pub use decide::Decide;
#[cfg(feature = "quant")]
pub use decode::Decode;
#[cfg(feature = "nn")]
pub use distillation::Distillation;
#[cfg(feature = "nn")]
pub use dropout::Dropout;
#[cfg(feature = "quant")]
pub use encode::Encode;
#[cfg(not(target_arch = "wasm32"))]
pub use fmac::probe_float_fmac_blocking;
pub use fmac::{
    Fmac, FmacMatmul, float_fmac_exact, fmac_product_bits, fmac_round, fmac_sum, fmac_sum_bits,
    probe_float_fmac,
};
#[cfg(feature = "quant")]
pub use improvement::Improvement;
pub use matmul::{Matmul, MatmulOptions, MatrixLayout, Weights};
#[cfg(feature = "nn")]
pub use max_pool::{MaxPool, MaxPoolGrad};
#[cfg(feature = "nn")]
pub use patches::{Patches, PatchesGrad};
#[cfg(feature = "nn")]
pub use relu::{Relu, ReluGrad};
#[cfg(feature = "nn")]
pub use sgd::{Sgd, SgdOperands};
#[cfg(feature = "nn")]
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
#[cfg(feature = "sparse")]
pub use spmm::Spmm;
#[cfg(feature = "sparse")]
pub use spmv::Spmv;
#[cfg(feature = "nn")]
pub use squares::Squares;
#[cfg(feature = "nn")]
pub use transpose::Transpose;

use crate::gpu::Permutation;
use crate::op::Entry;

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
        table: &ceiling::gpu::VARIANTS,
        cases: ceiling::cases::cases,
        bench: ceiling::cases::bench,
        awkward: ceiling::cases::bench,
    },
    Entry {
        name: "convert",
        table: &convert::gpu::VARIANTS,
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
        table: &fmac::gpu::VARIANTS,
        cases: fmac::cases::cases,
        bench: fmac::cases::bench,
        awkward: fmac::cases::awkward,
    },
    Entry {
        name: "fmac_matmul",
        table: &fmac::product::gpu::VARIANTS,
        cases: fmac::cases::cases,
        bench: fmac::cases::bench,
        awkward: fmac::cases::awkward,
    },
    #[cfg(feature = "quant")]
    Entry {
        name: "encode",
        table: &encode::gpu::VARIANTS,
        cases: encode::cases::cases,
        bench: encode::cases::bench,
        awkward: encode::cases::awkward,
    },
    #[cfg(feature = "quant")]
    Entry {
        name: "decode",
        table: &decode::gpu::VARIANTS,
        cases: decode::cases::cases,
        bench: decode::cases::bench,
        awkward: decode::cases::awkward,
    },
    #[cfg(feature = "quant")]
    Entry {
        name: "improvement",
        table: &improvement::gpu::VARIANTS,
        cases: improvement::cases::cases,
        bench: improvement::cases::bench,
        awkward: improvement::cases::awkward,
    },
    #[cfg(feature = "sparse")]
    Entry {
        name: "spmv",
        table: &spmv::gpu::VARIANTS,
        cases: spmv::cases::cases,
        bench: spmv::cases::bench,
        awkward: spmv::cases::awkward,
    },
    #[cfg(feature = "sparse")]
    Entry {
        name: "spmm",
        table: &spmm::gpu::VARIANTS,
        cases: spmm::cases::cases,
        bench: spmm::cases::bench,
        awkward: spmm::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "relu",
        table: &relu::gpu::FORWARD,
        cases: relu::cases::cases,
        bench: relu::cases::bench,
        awkward: relu::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "relu_grad",
        table: &relu::gpu::BACKWARD,
        cases: relu::cases::cases,
        bench: relu::cases::bench,
        awkward: relu::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "dropout",
        table: &dropout::gpu::VARIANTS,
        cases: dropout::cases::cases,
        bench: dropout::cases::bench,
        awkward: dropout::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "max_pool",
        table: &max_pool::gpu::FORWARD,
        cases: max_pool::cases::cases,
        bench: max_pool::cases::bench,
        awkward: max_pool::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "max_pool_grad",
        table: &max_pool::gpu::BACKWARD,
        cases: max_pool::cases::cases,
        bench: max_pool::cases::bench,
        awkward: max_pool::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "patches",
        table: &patches::gpu::FORWARD,
        cases: patches::cases::cases,
        bench: patches::cases::bench,
        awkward: patches::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "patches_grad",
        table: &patches::gpu::BACKWARD,
        cases: patches::cases::cases,
        bench: patches::cases::bench,
        awkward: patches::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "transpose",
        table: &transpose::gpu::VARIANTS,
        cases: transpose::cases::cases,
        bench: transpose::cases::bench,
        awkward: transpose::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "column_sums",
        table: &column_sums::gpu::VARIANTS,
        cases: column_sums::cases::cases,
        bench: column_sums::cases::bench,
        awkward: column_sums::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "squares",
        table: &squares::gpu::VARIANTS,
        cases: squares::cases::cases,
        bench: squares::cases::bench,
        awkward: squares::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "decide",
        table: &decide::gpu::VARIANTS,
        cases: decide::cases::cases,
        bench: decide::cases::bench,
        awkward: decide::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "choose",
        table: &choose::gpu::VARIANTS,
        cases: choose::cases::cases,
        bench: choose::cases::bench,
        awkward: choose::cases::bench,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "softmax_cross_entropy",
        table: &softmax_cross_entropy::gpu::VARIANTS,
        cases: softmax_cross_entropy::cases::cases,
        bench: softmax_cross_entropy::cases::bench,
        awkward: softmax_cross_entropy::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "distillation",
        table: &distillation::gpu::VARIANTS,
        cases: distillation::cases::cases,
        bench: distillation::cases::bench,
        awkward: distillation::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "sgd",
        table: &sgd::gpu::VARIANTS,
        cases: sgd::cases::cases,
        bench: sgd::cases::bench,
        awkward: sgd::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "accumulate",
        table: &accumulate::gpu::VARIANTS,
        cases: accumulate::cases::cases,
        bench: accumulate::cases::bench,
        awkward: accumulate::cases::awkward,
    },
    #[cfg(feature = "nn")]
    Entry {
        name: "adamw",
        table: &adamw::gpu::VARIANTS,
        cases: adamw::cases::cases,
        bench: adamw::cases::bench,
        awkward: adamw::cases::awkward,
    },
];

/// Every permutation of every built-in kernel, for tests that hold the bindings against the shaders.
#[must_use]
pub fn permutations() -> Vec<Permutation> {
    ALL.iter().flat_map(|entry| entry.table.permutations()).collect()
}
