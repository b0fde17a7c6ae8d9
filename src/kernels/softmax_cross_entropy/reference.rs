use super::SoftmaxCrossEntropy;
use crate::format::bf16;
use crate::tensor::DType;
use crate::tensor::element::{load, store_f64, store_half};

/// Loss of every row and its gradient, in f64, rounded to f32 and, where the gradient is stored so, to bf16.
/// A label that is no class leaves its row out. `kept` is empty unless `op.keep_f32`.
pub(crate) fn softmax_cross_entropy(
    op: &SoftmaxCrossEntropy,
    logits: &[u32],
    labels: &[u32],
    loss: &mut [u32],
    grad: &mut [u32],
    kept: &mut [u32],
) {
    for row in 0..op.rows {
        let z = |col: usize| load(op.logits, logits, row * op.logits_ld + col);
        let label = labels[row] as usize;
        let top = (0..op.classes).map(z).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..op.classes).map(|col| (z(col) - top).exp()).sum();
        let counts = label < op.classes;
        let row_loss = if counts { sum.ln() - (z(label) - top) } else { 0.0 };
        match op.logits {
            DType::F64 => store_f64(loss, row, row_loss),
            _ => loss[row] = (row_loss as f32).to_bits(),
        }
        for col in 0..op.classes {
            let onehot = if col == label { 1.0 } else { 0.0 };
            let value = match counts {
                true => ((z(col) - top).exp() / sum - onehot) * f64::from(op.scale),
                false => 0.0,
            };
            let bits = (value as f32).to_bits();
            let (index, to) = (row * op.classes + col, row * op.grad_ld + col);
            if op.keep_f32 {
                kept[index] = bits;
            }
            match op.grad {
                DType::F64 => store_f64(grad, to, value),
                DType::F32 => grad[to] = bits,
                _ => {
                    let code = bf16::encode(bits, op.rounding, op.draw.bits(index as u64), false);
                    store_half(grad, to, col + 1 == op.classes, code);
                }
            }
        }
    }
}
