use super::Spmv;

/// `y = A x`: each row's products summed in f64 in the order they are stored, then rounded to f32. Only stored
/// entries are multiplied.
pub(super) fn spmv(op: &Spmv, row_ptr: &[u32], col_idx: &[u32], values: &[u32], x: &[u32], y: &mut [u32]) {
    let (columns, entries) = (op.a().col_idx(), op.a().values());
    for row in 0..op.rows {
        let mut sum = 0.0f64;
        for entry in row_ptr[row] as usize..row_ptr[row + 1] as usize {
            let column = columns.load_bits(col_idx, 0, entry) as usize;
            sum += entries.load(values, 0, entry) * op.x().load(x, 0, column);
        }
        op.y().store_bits(y, row, 0, (sum as f32).to_bits());
    }
}
