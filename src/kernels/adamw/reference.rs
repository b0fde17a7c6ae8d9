use super::{AdamW, Draws, Operands, Rates};
use crate::format::bf16;
use crate::tensor::DType;
use crate::tensor::stored::{compensate, compensated, store};

/// Both moments, and weights that take them before they are rounded, in f64, stored as `op` says.
/// Compensated weights move by their step less `c` instead. A factor is applied to the gradient first, and the product
/// rounded to f32 unless all is f64.
pub(super) fn adamw(op: &AdamW, draws: Draws, rates: &Rates, operands: Operands<'_>) {
    let Operands {
        g,
        w,
        m,
        v,
        copy,
        c,
        w_kept,
        m_kept,
        v_kept,
    } = operands;
    let [rate, decay, epsilon] = [rates.learning_rate, rates.weight_decay, rates.epsilon].map(f64::from);
    let [beta1, beta2] = [rates.beta1, rates.beta2].map(f64::from);
    let [correction1, correction2] = [rates.correction1, rates.correction2].map(f64::from);
    let (g_view, w_view, m_view, v_view) = (op.g(), op.w(), op.m(), op.v());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let gradient = match (rates.factor, op.g) {
                (None, _) => g_view.load(g, row, col),
                (Some(factor), DType::F64) => f64::from(factor) * g_view.load(g, row, col),
                (Some(factor), DType::F32 | DType::Bf16 | DType::U32 | DType::U16) => {
                    let product = f64::from(factor) * g_view.load(g, row, col);
                    f64::from(product as f32)
                }
            };
            let before = w_view.load(w, row, col);
            let first = beta1 * m_view.load(m, row, col) + (1.0 - beta1) * gradient;
            let (v_before, lost) = match op.v_pairs() {
                Some(pairs) => (pairs.load(v, row, 2 * col), pairs.load(v, row, 2 * col + 1)),
                None => (v_view.load(v, row, col), 0.0),
            };
            let second = beta2 * v_before + (1.0 - beta2) * gradient * gradient;
            let step = first * correction1 / ((second * correction2).sqrt() + epsilon);
            let start = op.compensation().map_or(before, |view| -view.load(c, row, col));
            let after = start - rate * (step + decay * before);
            let v_moved = (1.0 - beta2) * (gradient * gradient - v_before) - lost;
            let index = row * op.cols + col;
            if op.keep_f32 {
                w_kept[index] = (after as f32).to_bits();
                m_kept[index] = (first as f32).to_bits();
                v_kept[index] = (match op.v_compensated {
                    true => v_moved as f32,
                    false => second as f32,
                })
                .to_bits();
            }
            store(m_view, m, (row, col), first, (op.m_rounding, draws.m));
            match op.v_pairs() {
                Some(pairs) => {
                    let random = (op.v_rounding, draws.v);
                    let [sum, lost] = compensated(v_before, v_moved, index as u64, random);
                    pairs.store_bits(v, row, 2 * col, sum.into());
                    pairs.store_bits(v, row, 2 * col + 1, lost.into());
                }
                None => store(v_view, v, (row, col), second, (op.v_rounding, draws.v)),
            }
            if let Some(view) = op.compensation() {
                compensate(
                    [(w_view, w), (view, c)],
                    (row, col),
                    after,
                    (op.w_rounding, draws.w),
                );
            } else {
                store(w_view, w, (row, col), after, (op.w_rounding, draws.w));
            }
            if let Some(view) = op.copy() {
                let code = bf16::round_nearest((after as f32).to_bits());
                view.store_bits(copy, row, col, code.into());
            }
        }
    }
}
