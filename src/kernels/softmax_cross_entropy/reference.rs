use super::SoftmaxCrossEntropy;
use crate::format::bf16;
use crate::tensor::DType;

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
    let (from, to, losses) = (op.logits(), op.grad(), op.loss());
    for (row, label) in labels[..op.rows].iter().enumerate() {
        let z = |col: usize| from.load(logits, row, col);
        let label = *label as usize;
        let top = (0..op.classes).map(z).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..op.classes).map(|col| (z(col) - top).exp()).sum();
        let counts = label < op.classes;
        let row_loss = if counts { sum.ln() - (z(label) - top) } else { 0.0 };
        match losses.dtype {
            DType::F64 => losses.store_f64(loss, 0, row, row_loss),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                losses.store_bits(loss, 0, row, (row_loss as f32).to_bits());
            }
        }
        for col in 0..op.classes {
            let onehot = if col == label { 1.0 } else { 0.0 };
            let value = match counts {
                true => ((z(col) - top).exp() / sum - onehot) * f64::from(op.scale),
                false => 0.0,
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
