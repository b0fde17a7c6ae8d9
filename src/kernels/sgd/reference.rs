use super::{Rates, Sgd, SgdOperands};
use crate::format::bf16;
use crate::format::random::Draw;
use crate::tensor::DType;

/// `v' = mu v + (g + decay w)`, `w' = w - rate v'`, in f64, stored as `op` says; `w'` uses `v'` before rounding.
pub(crate) fn sgd(op: &Sgd, (w_draw, v_draw): (Draw, Draw), rates: &Rates, operands: SgdOperands<'_>) {
    let SgdOperands {
        g,
        w,
        v,
        copy,
        w_kept,
        v_kept,
    } = operands;
    let [rate, momentum, decay] = [rates.learning_rate, rates.momentum, rates.weight_decay].map(f64::from);
    let (g_view, w_view, v_view) = (op.g(), op.w(), op.v());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let before = w_view.load(w, row, col);
            let gradient = g_view.load(g, row, col);
            let velocity = momentum * v_view.load(v, row, col) + (gradient + decay * before);
            let after = before - rate * velocity;
            let index = row * op.cols + col;
            if op.keep_f32 {
                w_kept[index] = (after as f32).to_bits();
                v_kept[index] = (velocity as f32).to_bits();
            }
            for (view, words, value, draw) in [
                (v_view, &mut *v, velocity, v_draw),
                (w_view, &mut *w, after, w_draw),
            ] {
                let bits = (value as f32).to_bits();
                match view.dtype {
                    DType::F64 => view.store_f64(words, row, col, value),
                    DType::Bf16 => {
                        let code = bf16::encode(bits, op.rounding, draw.bits(index as u64));
                        view.store_bits(words, row, col, code.into());
                    }
                    DType::F32 | DType::U32 | DType::U16 => view.store_bits(words, row, col, bits),
                }
            }
            if let Some(view) = op.copy() {
                let code = bf16::round_nearest((after as f32).to_bits());
                view.store_bits(copy, row, col, code.into());
            }
        }
    }
}
