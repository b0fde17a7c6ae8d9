use super::{Distillation, Results};
use crate::format::bf16;
use crate::tensor::DType;

/// Loss of every row and its gradient for the student's logits, in f64, rounded to f32 and, where the gradient is stored
/// so, to bf16.
pub(crate) fn distillation(
    op: &Distillation,
    [logits, teacher, labels]: [&[u32]; 3],
    Results { loss, grad, kept }: Results<'_>,
) {
    let (losses, to) = (op.loss(), op.grad());
    let (alpha, t) = (f64::from(op.alpha), f64::from(op.temperature));
    for (row, label) in labels[..op.rows].iter().enumerate() {
        let z = |col: usize| op.logits().load(logits, row, col);
        let v = |col: usize| op.teacher().load(teacher, row, col);
        let z_top = (0..op.classes).map(z).fold(f64::NEG_INFINITY, f64::max);
        let v_top = (0..op.classes).map(v).fold(f64::NEG_INFINITY, f64::max);
        let plain: f64 = (0..op.classes).map(|col| (z(col) - z_top).exp()).sum();
        let q_sum: f64 = (0..op.classes).map(|col| ((z(col) - z_top) / t).exp()).sum();
        let p_sum: f64 = (0..op.classes).map(|col| ((v(col) - v_top) / t).exp()).sum();
        let q = |col: usize| ((z(col) - z_top) / t).exp() / q_sum;
        let p = |col: usize| ((v(col) - v_top) / t).exp() / p_sum;
        let log_q = |col: usize| (z(col) - z_top) / t - q_sum.ln();
        let log_p = |col: usize| (v(col) - v_top) / t - p_sum.ln();
        // 0 log 0 is 0.
        let share = |col: usize| match p(col) {
            0.0 => 0.0,
            p => p * (log_p(col) - log_q(col)),
        };
        let divergence: f64 = (0..op.classes).map(share).sum();
        let soft = (1.0 - alpha) * t * t * divergence;

        let label = *label as usize;
        let labelled = label < op.classes;
        let unlabelled = label == Distillation::UNLABELLED as usize;
        let row_loss = match (labelled, unlabelled) {
            (true, _) => alpha * (plain.ln() - (z(label) - z_top)) + soft,
            (false, true) => soft,
            (false, false) => 0.0,
        };
        match losses.dtype {
            DType::F64 => losses.store_f64(loss, 0, row, row_loss),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                losses.store_bits(loss, 0, row, (row_loss as f32).to_bits());
            }
        }
        for col in 0..op.classes {
            let onehot = if col == label { 1.0 } else { 0.0 };
            let hard = alpha * ((z(col) - z_top).exp() / plain - onehot);
            let pull = (1.0 - alpha) * t * (q(col) - p(col));
            let value = match (labelled, unlabelled) {
                (true, _) => (pull + hard) * f64::from(op.scale),
                (false, true) => pull * f64::from(op.scale),
                (false, false) => 0.0,
            };
            let bits = (value as f32).to_bits();
            let index = row * op.classes + col;
            if op.keep_f32 {
                kept[index] = bits;
            }
            match op.grad {
                DType::F64 => to.store_f64(grad, row, col, value),
                DType::F32 | DType::U32 | DType::U16 => to.store_bits(grad, row, col, bits),
                DType::Bf16 => {
                    let code = bf16::encode(bits, op.rounding, op.draw.bits(index as u64));
                    to.store_bits(grad, row, col, code.into());
                }
            }
        }
    }
}
