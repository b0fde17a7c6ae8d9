//! Matmul on the CPU device: rows of C in parallel, each sum in f32 (f64 for f64) with k ascending, so results
//! depend on no thread count.

use super::Cpu;
use crate::format::bf16;
use crate::ops::Matmul;
use crate::reference::load;
use crate::tensor::DType;

/// Rows of C that one task makes.
const ROWS: usize = 8;

pub(crate) fn matmul(_cpu: &Cpu, op: &Matmul, a: &[u32], b: &[u32], c: &mut [u32], bias: &[u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    for batch in 0..op.batch {
        if op.c.dtype == DType::F64 {
            let sums = sums(op, batch, a, b, |value| value);
            store(op, batch, c, bias, |i, j, old, bias| {
                let mut value = f64::from(op.alpha) * sums[i * op.n + j];
                if let Some(old) = old {
                    value += f64::from(op.beta) * old;
                }
                value + bias.unwrap_or(0.0)
            });
        } else {
            let sums = sums(op, batch, a, b, |value| value as f32);
            store(op, batch, c, bias, |i, j, old, bias| {
                let mut value = op.alpha * sums[i * op.n + j];
                if let Some(old) = old {
                    value += op.beta * old as f32;
                }
                f64::from(value + bias.unwrap_or(0.0) as f32)
            });
        }
    }
}

/// op(A) op(B) of one batch, dense.
fn sums<T>(op: &Matmul, batch: usize, a: &[u32], b: &[u32], from: impl Fn(f64) -> T + Sync) -> Vec<T>
where
    T: Copy + Default + Send + Sync + std::ops::Mul<Output = T> + std::ops::AddAssign,
{
    let terms = op.terms();
    let mut right = vec![T::default(); terms * op.n];
    for k in 0..terms {
        for j in 0..op.n {
            let (row, col) = if op.b.transposed { (j, k) } else { (k, j) };
            right[k * op.n + j] = from(load(
                op.b.dtype,
                b,
                batch * op.b.batch_stride + row * op.b.ld + col,
            ));
        }
    }
    let rows = |(chunk, sums): (usize, &mut [T])| {
        for k in 0..terms {
            for (i, sums) in (chunk * ROWS..).zip(sums.chunks_mut(op.n)) {
                let (row, col) = if op.a.transposed { (k, i) } else { (i, k) };
                let left = from(load(
                    op.a.dtype,
                    a,
                    batch * op.a.batch_stride + row * op.a.ld + col,
                ));
                for (sum, &right) in sums.iter_mut().zip(&right[k * op.n..]) {
                    *sum += left * right;
                }
            }
        }
    };
    let mut sums = vec![T::default(); op.m * op.n];
    #[cfg(feature = "cpu")]
    {
        use rayon::prelude::*;
        sums.par_chunks_mut(ROWS * op.n).enumerate().for_each(rows);
    }
    #[cfg(not(feature = "cpu"))]
    sums.chunks_mut(ROWS * op.n).enumerate().for_each(rows);
    sums
}

/// Writes one batch of C; `value` gives an element before ReLU and rounding.
fn store(
    op: &Matmul,
    batch: usize,
    c: &mut [u32],
    bias: &[u32],
    value: impl Fn(usize, usize, Option<f64>, Option<f64>) -> f64,
) {
    for i in 0..op.m {
        for j in 0..op.n {
            let element = batch * op.c.batch_stride + i * op.c.ld + j;
            let old = (op.beta != 0.0).then(|| load(op.c.dtype, c, element));
            let value = value(i, j, old, op.bias.map(|dtype| load(dtype, bias, j)));
            let value = if op.relu && value < 0.0 { 0.0 } else { value };
            match op.c.dtype {
                DType::F64 => {
                    let bits = value.to_bits();
                    c[2 * element] = bits as u32;
                    c[2 * element + 1] = (bits >> 32) as u32;
                }
                DType::F32 => c[element] = (value as f32).to_bits(),
                _ => {
                    let index = ((batch * op.m + i) * op.n + j) as u64;
                    let random = if op.is_stochastic() {
                        op.draw.bits(index)
                    } else {
                        0
                    };
                    let code = bf16::encode((value as f32).to_bits(), op.rounding, random, false);
                    let code = u32::from(code);
                    let word = &mut c[element / 2];
                    *word = match element % 2 {
                        0 if j + 1 == op.n => code,
                        0 => (*word & 0xffff_0000) | code,
                        _ => (*word & 0x0000_ffff) | (code << 16),
                    };
                }
            }
        }
    }
}
