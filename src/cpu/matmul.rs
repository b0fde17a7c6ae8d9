//! Matmul on the CPU device: one product after the other, each spread over the threads.

use super::Cpu;
use super::gemm::{Gemm, Operand, Output, Source, gemm};
use crate::error::Result;
use crate::format::bf16;
use crate::ops::{Matmul, Matrix, check_f64};
use crate::tensor::DType;

/// # Errors
/// [`Error::Alignment`](crate::Error::Alignment) when a caller's f64 operand does not start on 8 bytes.
pub(crate) fn matmul(
    cpu: &Cpu,
    op: &Matmul,
    a: &[u32],
    b: &[u32],
    c: &mut [u32],
    bias: &[u32],
) -> Result<()> {
    if op.c.dtype == DType::F64 {
        for (operand, words) in [("a", a), ("b", b), ("c", &*c), ("bias", bias)] {
            check_f64("matmul", operand, words)?;
        }
    }
    for batch in 0..op.batch {
        let product = Gemm {
            m: op.m,
            n: op.n,
            k: op.k,
            alpha: f64::from(op.alpha),
            beta: f64::from(op.beta),
            bias: op.bias.map(|dtype| source(dtype, bias, 0)),
            relu: op.relu,
            ldc: op.c.ld,
            rounding: op.rounding,
            draw: op.draw,
            first_index: (batch * op.m * op.n) as u64,
        };
        let operand = |matrix: &Matrix, words| Operand {
            source: source(matrix.dtype, words, batch * matrix.batch_stride),
            ld: matrix.ld,
            transposed: matrix.transposed,
        };
        let first = batch * op.c.batch_stride;
        let c = match op.c.dtype {
            DType::F64 => {
                Output::F64(bytemuck::try_cast_slice_mut(c).map_or(&mut [], |c| tail_mut(c, first)))
            }
            DType::Bf16 => Output::Bf16(tail_mut(bf16::halves_mut(c), first)),
            _ => Output::F32(tail_mut(bytemuck::cast_slice_mut(c), first)),
        };
        gemm(cpu, &product, operand(&op.a, a), operand(&op.b, b), c);
    }
    Ok(())
}

fn tail_mut<T>(values: &mut [T], first: usize) -> &mut [T] {
    values.get_mut(first..).unwrap_or_default()
}

fn source(dtype: DType, words: &[u32], first: usize) -> Source<'_> {
    fn tail<T>(values: &[T], first: usize) -> &[T] {
        values.get(first..).unwrap_or_default()
    }
    match dtype {
        DType::F64 => Source::F64(bytemuck::try_cast_slice(words).map_or(&[], |words| tail(words, first))),
        DType::Bf16 => Source::Bf16(tail(bf16::halves(words), first)),
        _ => Source::F32(tail(bytemuck::cast_slice(words), first)),
    }
}
