//! Softmax cross entropy in f32, one row after another as the shader does.

use super::reference;
use crate::cpu::Cpu;
use crate::format::bf16;
use crate::kernels::SoftmaxCrossEntropy;
use crate::tensor::DType;
use crate::tensor::element::{load_bits, store_half};

pub(crate) fn softmax_cross_entropy(
    cpu: &Cpu,
    op: &SoftmaxCrossEntropy,
    logits: &[u32],
    labels: &[u32],
    loss: &mut [u32],
    grad: &mut [u32],
    kept: &mut [u32],
) {
    if op.logits == DType::F64 {
        return reference::softmax_cross_entropy(op, logits, labels, loss, grad, kept);
    }
    let grad_words = op.grad.words(op.grad_ld as u64) as usize;
    let kept = kept
        .chunks_mut(op.classes)
        .chain(std::iter::repeat_with(|| &mut [][..]));
    let rows = loss.iter_mut().zip(grad.chunks_mut(grad_words)).zip(kept);
    let items: Vec<_> = rows.take(op.rows).collect();
    cpu.items(items, |row, ((loss, grad), kept)| {
        let z = |col: usize| f32::from_bits(load_bits(op.logits, logits, row * op.logits_ld + col));
        let label = labels[row] as usize;
        let counts = label < op.classes;
        let top = (0..op.classes).map(z).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = (0..op.classes).map(|col| (z(col) - top).exp()).sum();
        let value = if counts { sum.ln() - (z(label) - top) } else { 0.0 };
        *loss = value.to_bits();
        for col in 0..op.classes {
            let onehot = if col == label { 1.0 } else { 0.0 };
            let value = match counts {
                true => ((z(col) - top).exp() / sum - onehot) * op.scale,
                false => 0.0,
            };
            let bits = value.to_bits();
            if op.keep_f32 {
                kept[col] = bits;
            }
            if op.grad == DType::F32 {
                grad[col] = bits;
            } else {
                let index = (row * op.classes + col) as u64;
                let code = bf16::encode(bits, op.rounding, op.draw.bits(index), false);
                store_half(grad, col, col + 1 == op.classes, code);
            }
        }
    });
}
