use super::{Inputs, Matmul, MatrixLayout};
use crate::format::{Elements, bf16};
use crate::tensor::{DType, View};

/// `C = round(relu(alpha op(A) op(B) + beta C + bias))` in f64, k ascending, rounded once: to f32, and from
/// there to bf16 as `op` says, drawing for the output's logical index. Padding keeps what it held, except that
/// the high half beside the last of an odd count of bf16 columns is written as zero.
#[expect(
    clippy::needless_range_loop,
    reason = "keeps the code comparable to the shader"
)]
pub(super) fn matmul(op: &Matmul, inputs: &Inputs<'_>, c: &mut [u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    let (alpha, beta) = (f64::from(op.alpha), f64::from(op.beta));
    let products = if alpha == 0.0 { 0 } else { op.k };
    let c_view = op.c.view([op.m, op.n]);
    let mut sums = vec![0f64; op.n];
    for batch in 0..op.batch {
        // Nothing of an operand that is not read need be there.
        let [mut left, mut right] = [Vec::new(), Vec::new()];
        if products > 0 {
            left = values(&op.a, [inputs.a, inputs.a_scales], batch, op.stored_a());
            right = values(&op.b, [inputs.b, inputs.b_scales], batch, op.stored_b());
        }
        let c = &mut c[op.c.batch_word(batch)..];
        for i in 0..op.m {
            sums.fill(0.0);
            for k in 0..products {
                let left = left[if op.a.transposed {
                    k * op.m + i
                } else {
                    i * op.k + k
                }];
                for j in 0..op.n {
                    let right = right[if op.b.transposed {
                        j * op.k + k
                    } else {
                        k * op.n + j
                    }];
                    sums[j] += left * right;
                }
            }
            for j in 0..op.n {
                let mut value = alpha * sums[j];
                if beta != 0.0 {
                    value += beta * c_view.load(c, i, j);
                }
                if let Some(dtype) = op.bias {
                    value += View::vector(dtype, op.n).load(inputs.bias, 0, j);
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

/// One batch of a stored matrix, row by row: plain values, or what codes stand for.
fn values(
    matrix: &MatrixLayout,
    [words, scales]: [&[u32]; 2],
    batch: usize,
    [rows, cols]: [usize; 2],
) -> Vec<f64> {
    let words = &words[matrix.batch_word(batch)..];
    let mut all = Vec::with_capacity(rows * cols);
    match matrix.elements {
        Elements::Plain(_) => {
            let view = matrix.view([rows, cols]);
            all.extend((0..rows * cols).map(|at| view.load(words, at / cols, at % cols)));
        }
        Elements::Coded(format) => {
            let tensor = format.common_scale(scales);
            let scales = &scales[format.head_words()..];
            let per_row = format.scale_words_per_row(cols);
            let first = batch * matrix.batch_rows();
            let mut decoded = vec![0; cols];
            for row in 0..rows {
                let codes = &words[row * matrix.row_words() as usize..];
                format.decode_row(
                    codes,
                    &scales[(first + row) * per_row..][..per_row],
                    tensor,
                    &mut decoded,
                );
                all.extend(decoded.iter().map(|&bits| f64::from(f32::from_bits(bits))));
            }
        }
    }
    all
}
