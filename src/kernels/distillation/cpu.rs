//! Distillation in the arithmetic of its logits, one row after another as the shader does.

use super::{Distillation, Results};
use crate::cpu::Cpu;
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// One row of the results.
struct Row<'a> {
    index: usize,
    label: Label,
    loss: &'a mut [u32],
    grad: &'a mut [u32],
    kept: &'a mut [u32],
}

#[derive(Clone, Copy)]
enum Label {
    Class(usize),
    /// The teacher alone is learned from.
    None,
    /// The row counts for nothing.
    Out,
}

pub(crate) fn distillation(
    cpu: &Cpu,
    op: &Distillation,
    [logits, teacher, labels]: [&[u32]; 3],
    Results { loss, grad, kept }: Results<'_>,
) {
    // Three exponentials, a draw and divisions cost some forty elements of plain rounding.
    let cpu = cpu.for_elements(
        op.rows.saturating_mul(op.classes).saturating_mul(40),
        Rounding::Stochastic,
    );
    let kept = kept
        .chunks_mut(op.classes)
        .chain(std::iter::repeat_with(|| &mut [][..]));
    let losses = loss.chunks_mut(op.loss().dtype.words(1) as usize);
    let grads = grad.chunks_mut(op.grad().row_words() as usize);
    let items: Vec<_> = losses.zip(grads).zip(kept).take(op.rows).collect();
    cpu.items(items, |index, ((loss, grad), kept)| {
        let label = match labels[index] {
            label if (label as usize) < op.classes => Label::Class(label as usize),
            Distillation::UNLABELLED => Label::None,
            _ => Label::Out,
        };
        let row = Row {
            index,
            label,
            loss,
            grad,
            kept,
        };
        match op.logits {
            DType::F64 => wide(op, [logits, teacher], row),
            DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => narrow(op, [logits, teacher], row),
        }
    });
}

/// p h(d) with h(d) = d + exp(-d) - 1: the series where d is small, p d + (q - p) elsewhere.
#[allow(
    clippy::excessive_precision,
    reason = "the shader's constants, digit for digit"
)]
fn divergence(q: f32, p: f32, d: f32) -> f32 {
    if d.abs() < 0.25 {
        let series =
            0.16666667 - d * (0.041666668 - d * (0.008333334 - d * (0.0013888889 - d * 0.0001984127)));
        return p * (d * d * (0.5 - d * series));
    }
    // Where p is 0, d may be infinite.
    let moved = if p == 0.0 { 0.0 } else { p * d };
    moved + (q - p)
}

/// In f32.
fn narrow(op: &Distillation, [logits, teacher]: [&[u32]; 2], row: Row<'_>) {
    let (student, taught) = (op.logits(), op.teacher());
    let z = |col: usize| f32::from_bits(student.load_bits(logits, row.index, col));
    let v = |col: usize| f32::from_bits(taught.load_bits(teacher, row.index, col));
    let (alpha, t, scale) = (op.alpha.get(), op.temperature.get(), op.scale.get());
    let (pull, soft) = (op.pull() as f32, op.soft() as f32);
    let (mut z_top, mut v_top) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for col in 0..op.classes {
        (z_top, v_top) = (z_top.max(z(col)), v_top.max(v(col)));
    }
    let (mut plain, mut q_sum, mut p_sum) = (0.0, 0.0, 0.0);
    for col in 0..op.classes {
        let below = z(col) - z_top;
        plain += below.exp();
        q_sum += (below / t).exp();
        p_sum += ((v(col) - v_top) / t).exp();
    }
    let (q_log, p_log) = (q_sum.ln(), p_sum.ln());
    let (to, mut total) = (op.grad(), 0.0);
    for col in 0..op.classes {
        let mut slope = 0.0;
        if !matches!(row.label, Label::Out) {
            let below = z(col) - z_top;
            let (z, v) = (below / t, (v(col) - v_top) / t);
            let (q, p) = (z.exp() / q_sum, v.exp() / p_sum);
            total += divergence(q, p, (v - p_log) - (z - q_log));
            slope = pull * (q - p);
            if let Label::Class(label) = row.label {
                let onehot = if col == label { 1.0 } else { 0.0 };
                slope += alpha * (below.exp() / plain - onehot);
            }
            slope *= scale;
        }
        let bits = slope.to_bits();
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
    let loss = match row.label {
        Label::Class(label) => alpha * (plain.ln() - (z(label) - z_top)) + soft * total,
        Label::None => soft * total,
        Label::Out => 0.0,
    };
    row.loss[0] = loss.to_bits();
}

/// In f64, loss and gradient too: the specification's operations in its order.
fn wide(op: &Distillation, [logits, teacher]: [&[u32]; 2], row: Row<'_>) {
    let (student, taught) = (op.logits(), op.teacher());
    let z = |col: usize| student.load(logits, row.index, col);
    let v = |col: usize| taught.load(teacher, row.index, col);
    let (alpha, t, scale) = (
        f64::from(op.alpha),
        f64::from(op.temperature),
        f64::from(op.scale),
    );
    let (mut z_top, mut v_top) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for col in 0..op.classes {
        (z_top, v_top) = (z_top.max(z(col)), v_top.max(v(col)));
    }
    let (mut plain, mut q_sum, mut p_sum) = (0.0, 0.0, 0.0);
    for col in 0..op.classes {
        let below = z(col) - z_top;
        plain += below.exp();
        q_sum += (below / t).exp();
        p_sum += ((v(col) - v_top) / t).exp();
    }
    let (q_log, p_log) = (q_sum.ln(), p_sum.ln());
    let (to, mut total) = (op.grad(), 0.0);
    for col in 0..op.classes {
        let below = z(col) - z_top;
        let (z, v) = (below / t, (v(col) - v_top) / t);
        let (q, p) = (z.exp() / q_sum, v.exp() / p_sum);
        if p != 0.0 {
            total += p * ((v - p_log) - (z - q_log));
        }
        let pull = (1.0 - alpha) * t * (q - p);
        let value = match row.label {
            Label::Class(label) => {
                let onehot = if col == label { 1.0 } else { 0.0 };
                (pull + alpha * (below.exp() / plain - onehot)) * scale
            }
            Label::None => pull * scale,
            Label::Out => 0.0,
        };
        to.store_f64(row.grad, 0, col, value);
        if let Some(kept) = row.kept.get_mut(col) {
            *kept = (value as f32).to_bits();
        }
    }
    let soft = (1.0 - alpha) * t * t * total;
    let loss = match row.label {
        Label::Class(label) => alpha * (plain.ln() - (z(label) - z_top)) + soft,
        Label::None => soft,
        Label::Out => 0.0,
    };
    op.loss().store_f64(row.loss, 0, 0, loss);
}
