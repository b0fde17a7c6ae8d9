use super::{Rates, Sgd, SgdOperands};
use crate::format::bf16;
use crate::format::random::Draw;
use crate::tensor::DType;
use crate::tensor::element::{load, store_f64, store_half};

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
    for row in 0..op.rows {
        for col in 0..op.cols {
            let (at_w, at_v) = (row * op.w_ld + col, row * op.v_ld + col);
            let before = load(op.w, w, at_w);
            let gradient = load(op.g, g, row * op.g_ld + col);
            let velocity = momentum * load(op.v, v, at_v) + (gradient + decay * before);
            let after = before - rate * velocity;
            let (w_bits, v_bits) = ((after as f32).to_bits(), (velocity as f32).to_bits());
            let index = row * op.cols + col;
            let last = col + 1 == op.cols;
            if op.keep_f32 {
                (w_kept[index], v_kept[index]) = (w_bits, v_bits);
            }
            match op.v {
                DType::F64 => store_f64(v, at_v, velocity),
                DType::F32 => v[at_v] = v_bits,
                _ => {
                    let code = bf16::encode(v_bits, op.rounding, v_draw.bits(index as u64), false);
                    store_half(v, at_v, last, code);
                }
            }
            match op.w {
                DType::F64 => store_f64(w, at_w, after),
                DType::F32 => w[at_w] = w_bits,
                _ => {
                    let code = bf16::encode(w_bits, op.rounding, w_draw.bits(index as u64), false);
                    store_half(w, at_w, last, code);
                }
            }
            if let Some(ld) = op.copy_ld {
                store_half(copy, row * ld + col, last, bf16::round_nearest(w_bits));
            }
        }
    }
}
