use super::Accumulate;
use crate::format::random::Draw;
use crate::tensor::stored::store;

/// `sum + x` in f64, or `x` alone, stored as `op` says.
pub(super) fn accumulate(
    op: &Accumulate,
    (draw, keep): (Draw, bool),
    x: &[u32],
    sum: &mut [u32],
    kept: &mut [u32],
) {
    let (from, to) = (op.x(), op.sum());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let before = if keep { to.load(sum, row, col) } else { 0.0 };
            let total = match keep {
                true => before + from.load(x, row, col),
                false => from.load(x, row, col),
            };
            if op.keep_f32 {
                kept[row * op.cols + col] = (total as f32).to_bits();
            }
            store(to, sum, (row, col), total, (op.rounding, draw));
        }
    }
}
