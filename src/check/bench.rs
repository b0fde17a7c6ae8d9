//! The cases that are measured, those of every operation; and those of curves.

use crate::kernels::{ALL, Matmul, Relu, spmv};
use crate::op::{BenchCase, Case, Fill};
use crate::tensor::DType;

/// The cases to time at size `n`: matrices of `n` x `n`, runs of `n * n` elements, batches of `n` rows.
#[must_use]
pub fn bench_cases(n: usize) -> Vec<BenchCase> {
    ALL.iter().flat_map(|entry| entry.bench(n)).collect()
}

/// The cases to time beside [`bench_cases`] at size `n`: odd shapes of about that size, a single row of it, and
/// tiny ones, of every operation.
#[must_use]
pub fn awkward_bench_cases(n: usize) -> Vec<BenchCase> {
    ALL.iter().flat_map(|entry| entry.awkward(n)).collect()
}

/// A product of `m` x `k` by `k` x `n` into f32, B stored transposed, both of `dtype`, f32 or bf16: for curves.
#[must_use]
pub fn matmul_case(m: usize, n: usize, k: usize, dtype: DType) -> Case {
    let op = Matmul::new(m, n, k).types(dtype, dtype, DType::F32).transpose_b();
    match dtype {
        DType::Bf16 => Case::timed(op, &[Fill::Bf16, Fill::Bf16, Fill::Out]),
        _ => Case::timed(op, &[Fill::F32, Fill::F32, Fill::Out]),
    }
}

/// `relu` over `len` elements of `dtype`, f32 or bf16, read once and written once: for curves.
#[must_use]
pub fn relu_case(len: usize, dtype: DType) -> Case {
    let op = Relu::contiguous(dtype, len);
    match dtype {
        DType::Bf16 => Case::timed(op, &[Fill::Bf16, Fill::Out]),
        _ => Case::timed(op, &[Fill::F32, Fill::Out]),
    }
}

/// An `n` x `n` sparse matrix of `dtype` (f32 with u32 columns, or bf16 with u16 columns where they fit) times a vector
/// of f32; of every million elements `per_million` are there. For curves.
#[must_use]
pub fn spmv_case(n: usize, per_million: u32, dtype: DType) -> Case {
    spmv::cases::of_density(n, per_million, dtype)
}
