use super::Matmul;
use crate::format::bf16;
use crate::tensor::{DType, View};

/// `C = round(relu(alpha op(A) op(B) + beta C + bias))` in f64, k ascending, rounded once: to f32, and from
/// there to bf16 as `op` says, drawing for the output's logical index. Padding keeps what it held, except that
/// the high half beside the last of an odd count of bf16 columns is written as zero.
#[expect(
    clippy::needless_range_loop,
    reason = "keeps the code comparable to the shader"
)]
pub(crate) fn matmul(op: &Matmul, a: &[u32], b: &[u32], c: &mut [u32], bias: &[u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    let (alpha, beta) = (f64::from(op.alpha), f64::from(op.beta));
    let products = if alpha == 0.0 { 0 } else { op.k };
    let (a_view, b_view) = (op.a.view(op.stored_a()), op.b.view(op.stored_b()));
    let c_view = op.c.view([op.m, op.n]);
    let mut sums = vec![0f64; op.n];
    for batch in 0..op.batch {
        // Nothing of an operand that is not read need be there.
        let a = a.get(op.a.batch_word(batch)..).unwrap_or_default();
        let b = b.get(op.b.batch_word(batch)..).unwrap_or_default();
        let c = &mut c[op.c.batch_word(batch)..];
        // op(B) of this batch, decoded once.
        let mut right = vec![0f64; products * op.n];
        for k in 0..products {
            for j in 0..op.n {
                let (row, col) = if op.b.transposed { (j, k) } else { (k, j) };
                right[k * op.n + j] = b_view.load(b, row, col);
            }
        }
        for i in 0..op.m {
            sums.fill(0.0);
            for k in 0..products {
                let (row, col) = if op.a.transposed { (k, i) } else { (i, k) };
                let left = a_view.load(a, row, col);
                for j in 0..op.n {
                    sums[j] += left * right[k * op.n + j];
                }
            }
            for j in 0..op.n {
                let mut value = alpha * sums[j];
                if beta != 0.0 {
                    value += beta * c_view.load(c, i, j);
                }
                if let Some(dtype) = op.bias {
                    value += View::vector(dtype, op.n).load(bias, 0, j);
                }
                if op.relu && value < 0.0 {
                    value = 0.0;
                }
                let index = ((batch * op.m + i) * op.n + j) as u64;
                store(op, &c_view, c, [i, j], value, index);
            }
        }
    }
}

fn store(op: &Matmul, view: &View, c: &mut [u32], [row, col]: [usize; 2], value: f64, index: u64) {
    let bits = (value as f32).to_bits();
    match view.dtype {
        DType::F64 => view.store_f64(c, row, col, value),
        DType::Bf16 => {
            let random = if op.is_stochastic() {
                op.draw.bits(index)
            } else {
                0
            };
            let code = bf16::encode(bits, op.rounding, random);
            view.store_bits(c, row, col, code.into());
        }
        DType::F32 | DType::U32 | DType::U16 => view.store_bits(c, row, col, bits),
    }
}
