use super::{Rates, Sgd, SgdOperands};
use crate::format::bf16;
use crate::format::random::Draw;
use crate::tensor::DType;
use crate::tensor::stored::{compensate, store};

/// `v' = mu v + (g + decay w)`, `w' = w - rate v'`, in f64, stored as `op` says; `w'` uses `v'` before rounding. A factor
/// is applied to g first, and the product rounded to f32 unless all is f64.
/// Compensated weights move by `-c - rate v'` instead.
pub(crate) fn sgd(op: &Sgd, (w_draw, v_draw): (Draw, Draw), rates: &Rates, operands: SgdOperands<'_>) {
    let SgdOperands {
        g,
        w,
        v,
        copy,
        c,
        w_kept,
        v_kept,
    } = operands;
    let [rate, momentum, decay] = [rates.learning_rate, rates.momentum, rates.weight_decay].map(f64::from);
    let (g_view, w_view, v_view) = (op.g(), op.w(), op.v());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let before = w_view.load(w, row, col);
            let gradient = match (rates.factor, op.g) {
                (None, _) => g_view.load(g, row, col),
                (Some(factor), DType::F64) => f64::from(factor) * g_view.load(g, row, col),
                (Some(factor), DType::F32 | DType::Bf16 | DType::U32 | DType::U16) => {
                    let product = f64::from(factor) * g_view.load(g, row, col);
                    f64::from(product as f32)
                }
            };
            let velocity = momentum * v_view.load(v, row, col) + (gradient + decay * before);
            let start = op.compensation().map_or(before, |view| -view.load(c, row, col));
            let after = start - rate * velocity;
            let index = row * op.cols + col;
            if op.keep_f32 {
                w_kept[index] = (after as f32).to_bits();
                v_kept[index] = (velocity as f32).to_bits();
            }
            if let Some(view) = op.compensation() {
                compensate(
                    [(w_view, w), (view, c)],
                    (row, col),
                    after,
                    (op.y_rounding, w_draw),
                );
            } else {
                store(w_view, w, (row, col), after, (op.rounding, w_draw));
            }
            store(v_view, v, (row, col), velocity, (op.rounding, v_draw));
            if let Some(view) = op.copy() {
                let code = bf16::round_nearest((after as f32).to_bits());
                view.store_bits(copy, row, col, code.into());
            }
        }
    }
}
