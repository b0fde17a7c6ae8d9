use super::ColumnSums;
use crate::format::bf16;
use crate::tensor::DType;
use crate::tensor::element::{load, store_f64, store_half};

/// The sum over the rows, taken in f64 and rounded to f32, then to bf16 if `y` is.
pub(crate) fn column_sums(op: &ColumnSums, x: &[u32], y: &mut [u32]) {
    for col in 0..op.cols {
        let mut sum = 0.0;
        for row in 0..op.rows {
            sum += load(op.from, x, row * op.x_ld + col);
        }
        match op.to {
            DType::F64 => store_f64(y, col, sum),
            DType::F32 => y[col] = (sum as f32).to_bits(),
            _ => {
                let bits = (sum as f32).to_bits();
                let code = bf16::encode(bits, op.rounding, op.draw.bits(col as u64), false);
                store_half(y, col, col + 1 == op.cols, code);
            }
        }
    }
}
