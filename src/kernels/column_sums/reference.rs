use super::ColumnSums;
use crate::format::bf16;
use crate::tensor::DType;

/// The sum over the rows, taken in f64 and rounded to f32, then to bf16 if `y` is.
pub(crate) fn column_sums(op: &ColumnSums, x: &[u32], y: &mut [u32]) {
    let (from, to) = (op.x(), op.y());
    for col in 0..op.cols {
        let mut sum = 0.0;
        for row in 0..op.rows {
            sum += from.load(x, row, col);
        }
        let bits = (sum as f32).to_bits();
        match op.to {
            DType::F64 => to.store_f64(y, 0, col, sum),
            DType::F32 | DType::U32 | DType::U16 => to.store_bits(y, 0, col, bits),
            DType::Bf16 => {
                let code = bf16::encode(bits, op.rounding, op.draw.bits(col as u64));
                to.store_bits(y, 0, col, code.into());
            }
        }
    }
}
