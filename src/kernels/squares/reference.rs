use super::Squares;
use crate::tensor::DType;

/// The sum is taken in f64 and rounded to f32 unless it stays f64.
pub(crate) fn squares(op: &Squares, x: &[u32], out: &mut [u32]) {
    let (mut sum, mut count) = (0.0, 0);
    for row in 0..op.rows {
        for col in 0..op.cols {
            let value = op.x().load(x, row, col);
            sum += value * value;
            if !value.is_finite() {
                count += 1;
            }
        }
    }
    match op.dtype {
        DType::F64 => op.sum().store_f64(out, 0, 0, sum),
        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
            op.sum().store_bits(out, 0, 0, (sum as f32).to_bits());
        }
    }
    out[op.count_word()] = count;
}
