use super::Spmm;
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// `C = A B`: each element's products summed in f64 in the order A's row stores them, then rounded to f32, and to
/// nearest bf16 where C is bf16. Only stored entries are multiplied.
pub(super) fn spmm(op: &Spmm, row_ptr: &[u32], col_idx: &[u32], values: &[u32], b: &[u32], c: &mut [u32]) {
    let (columns, entries) = (op.a().col_idx(), op.a().values());
    for row in 0..op.rows {
        for col in 0..op.n {
            let mut sum = 0.0f64;
            for entry in row_ptr[row] as usize..row_ptr[row + 1] as usize {
                let column = columns.load_bits(col_idx, 0, entry) as usize;
                sum += entries.load(values, 0, entry) * op.b().load(b, column, col);
            }
            let bits = (sum as f32).to_bits();
            let bits = match op.c == DType::Bf16 {
                true => bf16::encode(bits, Rounding::Nearest, 0).into(),
                false => bits,
            };
            op.c().store_bits(c, row, col, bits);
        }
    }
}
