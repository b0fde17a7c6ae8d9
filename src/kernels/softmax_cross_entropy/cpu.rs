//! Softmax cross entropy in the arithmetic of its logits, one row after another as the shader does.

use crate::cpu::Cpu;
use crate::format::{Rounding, bf16};
use crate::kernels::SoftmaxCrossEntropy;
use crate::tensor::DType;

/// One row of the results.
struct Row<'a> {
    index: usize,
    /// The class; none leaves the row out.
    label: Option<usize>,
    loss: &'a mut [u32],
    grad: &'a mut [u32],
    kept: &'a mut [u32],
}

pub(crate) fn softmax_cross_entropy(
    cpu: &Cpu,
    op: &SoftmaxCrossEntropy,
    logits: &[u32],
    labels: &[u32],
    loss: &mut [u32],
    grad: &mut [u32],
    kept: &mut [u32],
) {
    // An exponential, a draw and a division cost some sixteen elements of plain rounding.
    let cpu = cpu.for_elements(
        op.rows.saturating_mul(op.classes).saturating_mul(16),
        Rounding::Stochastic,
    );
    let kept = kept
        .chunks_mut(op.classes)
        .chain(std::iter::repeat_with(|| &mut [][..]));
    let losses = loss.chunks_mut(op.loss().dtype.words(1) as usize);
    let grads = grad.chunks_mut(op.grad().row_words() as usize);
    let items: Vec<_> = losses.zip(grads).zip(kept).take(op.rows).collect();
    cpu.items(items, |index, ((loss, grad), kept)| {
        let label = labels[index] as usize;
        let row = Row {
            index,
            label: (label < op.classes).then_some(label),
            loss,
            grad,
            kept,
        };
        match op.logits {
            DType::F64 => wide(op, logits, row),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => narrow(op, logits, row),
        }
    });
}

/// Exponentials of a row that are kept from the sum to the gradient; those of more classes are computed again.
const HELD: usize = 64;

/// In f32.
fn narrow(op: &SoftmaxCrossEntropy, logits: &[u32], row: Row<'_>) {
    let (from, to, scale) = (op.logits(), op.grad(), op.scale.get());
    let z = |col: usize| f32::from_bits(from.load_bits(logits, row.index, col));
    let top = (0..op.classes).map(z).fold(f32::NEG_INFINITY, f32::max);
    let mut held = [0.0; HELD];
    for (col, held) in held.iter_mut().enumerate().take(op.classes) {
        *held = (z(col) - top).exp();
    }
    let exp = |col: usize| match held.get(col) {
        Some(held) => *held,
        None => (z(col) - top).exp(),
    };
    let sum: f32 = (0..op.classes).map(exp).sum();
    let value = row.label.map_or(0.0, |label| sum.ln() - (z(label) - top));
    row.loss[0] = value.to_bits();
    for col in 0..op.classes {
        let value = row.label.map_or(0.0, |label| {
            let onehot = if col == label { 1.0 } else { 0.0 };
            (exp(col) / sum - onehot) * scale
        });
        let bits = value.to_bits();
        if let Some(kept) = row.kept.get_mut(col) {
            *kept = bits;
        }
        let stored = match op.grad {
            DType::Bf16 => {
                let index = (row.index * op.classes + col) as u64;
                bf16::encode(bits, op.rounding, op.draw.bits(index)).into()
            }
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
        };
        to.store_bits(row.grad, 0, col, stored);
    }
}

/// In f64, loss and gradient too.
fn wide(op: &SoftmaxCrossEntropy, logits: &[u32], row: Row<'_>) {
    let (from, to, scale) = (op.logits(), op.grad(), f64::from(op.scale));
    let (mut top, mut sum) = (f64::NEG_INFINITY, 0.0);
    for col in 0..op.classes {
        top = top.max(from.load(logits, row.index, col));
    }
    let below = |col| from.load(logits, row.index, col) - top;
    for col in 0..op.classes {
        sum += below(col).exp();
    }
    let loss = row.label.map_or(0.0, |label| sum.ln() - below(label));
    op.loss().store_f64(row.loss, 0, 0, loss);
    for col in 0..op.classes {
        let value = match row.label {
            None => 0.0,
            Some(label) if label == col => (below(col).exp() / sum - 1.0) * scale,
            Some(_) => below(col).exp() / sum * scale,
        };
        to.store_f64(row.grad, 0, col, value);
        if let Some(kept) = row.kept.get_mut(col) {
            *kept = (value as f32).to_bits();
        }
    }
}
