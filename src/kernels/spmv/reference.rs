use super::Spmv;
use crate::tensor::element::load;

/// `y = A x`: each row's products summed in f64 in the order they are stored, then rounded to f32. Only stored
/// entries are multiplied.
pub(crate) fn spmv(op: &Spmv, row_ptr: &[u32], col_idx: &[u32], values: &[u32], x: &[u32], y: &mut [u32]) {
    for row in 0..op.rows {
        let mut sum = 0.0f64;
        for entry in row_ptr[row] as usize..row_ptr[row + 1] as usize {
            let column = op.column(col_idx, entry);
            sum += load(op.values, values, entry) * load(op.x, x, column);
        }
        y[row] = (sum as f32).to_bits();
    }
}
