use super::Spmm;
use crate::format::{Rounding, bf16};
use crate::tensor::DType;
use crate::tensor::element::{load, store_half};

/// `C = A B`: each element's products summed in f64 in the order A's row stores them, then rounded to f32, and to
/// nearest bf16 where C is bf16. Only stored entries are multiplied.
pub(crate) fn spmm(op: &Spmm, row_ptr: &[u32], col_idx: &[u32], values: &[u32], b: &[u32], c: &mut [u32]) {
    for row in 0..op.rows {
        for col in 0..op.n {
            let mut sum = 0.0f64;
            for entry in row_ptr[row] as usize..row_ptr[row + 1] as usize {
                let column = op.column(col_idx, entry);
                sum += load(op.values, values, entry) * load(op.b, b, column * op.b_ld + col);
            }
            let bits = (sum as f32).to_bits();
            let element = row * op.c_ld + col;
            match op.c {
                DType::Bf16 => {
                    let code = bf16::encode(bits, Rounding::Nearest, 0, false);
                    store_half(c, element, col + 1 == op.n, code);
                }
                _ => c[element] = bits,
            }
        }
    }
}
