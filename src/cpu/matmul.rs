//! Matmul on the CPU device: rows of C in parallel, each sum in f32 (f64 for f64) with k ascending, so results
//! depend on no thread count.

use super::Cpu;
use crate::format::bf16;
use crate::ops::Matmul;
use crate::tensor::DType;

pub(crate) fn matmul(_cpu: &Cpu, op: &Matmul, a: &[u32], b: &[u32], c: &mut [u32], bias: &[u32]) {
    crate::reference::matmul(op, a, b, c, bias);
    let _ = (bf16::widen(0), DType::F32);
}
