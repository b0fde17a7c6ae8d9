//! Stochastic gradient descent: eight elements at a time, one draw for their eight roundings.

use super::Cpu;
use super::chunks::Cut;
use crate::format::random::{Draw, half_word};
use crate::format::{Rounding, bf16};
use crate::gpu::StepValues;
use crate::ops::{Sgd, SgdOperands};
use crate::reference;
use crate::tensor::DType;

pub(crate) fn sgd(cpu: &Cpu, op: &Sgd, step: &StepValues, operands: SgdOperands<'_>) {
    let cut = Cut::new(op.contiguous(), op.rows, op.cols);
    let copy_ld = op.copy_ld.unwrap_or(2);
    let g = cut.read(operands.g, op.g, op.g_ld);
    let w = cut.write(operands.w, op.w, op.w_ld);
    let v = cut.write(operands.v, op.v, op.v_ld);
    let copy = cut.write(operands.copy, DType::Bf16, copy_ld);
    let w_kept = cut.write(operands.w_kept, DType::F32, op.cols);
    let v_kept = cut.write(operands.v_kept, DType::F32, op.cols);
    let all = g.zip(w).zip(v).zip(copy).zip(w_kept).zip(v_kept);
    let items: Vec<_> = all.collect();
    cpu.items(items, |i, (((((g, w), v), copy), w_kept), v_kept)| {
        let (base, len) = cut.range(i);
        let operands = SgdOperands {
            g,
            w,
            v,
            copy,
            w_kept,
            v_kept,
        };
        match op.w {
            DType::F64 => wide(op, len, step, operands),
            _ => chunk(op, base as u64, len, step, operands),
        }
    });
}

/// f64: the reference's own operations.
fn wide(op: &Sgd, len: usize, step: &StepValues, operands: SgdOperands<'_>) {
    let run = Sgd {
        rows: 1,
        cols: len,
        ..*op
    };
    reference::sgd(&run, step, operands);
}

fn chunk(op: &Sgd, base: u64, len: usize, step: &StepValues, operands: SgdOperands<'_>) {
    let [rate, momentum, decay, _] = step.scalars;
    let (w_draw, v_draw) = op.draws(step);
    for at in (0..len).step_by(8) {
        let count = (len - at).min(8);
        let last = at + 8 >= len;
        let g = load(op.g, operands.g, at, count);
        let w = load(op.w, operands.w, at, count);
        let v = load(op.v, operands.v, at, count);
        let (mut w_bits, mut v_bits) = ([0; 8], [0; 8]);
        for i in 0..8 {
            let velocity = momentum * v[i] + (g[i] + decay * w[i]);
            v_bits[i] = velocity.to_bits();
            w_bits[i] = (w[i] - rate * velocity).to_bits();
        }
        if op.keep_f32 {
            operands.w_kept[at..at + count].copy_from_slice(&w_bits[..count]);
            operands.v_kept[at..at + count].copy_from_slice(&v_bits[..count]);
        }
        let first = base + at as u64;
        let rounding = op.rounding;
        store(op.v, operands.v, at, count, last, v_bits, rounding, v_draw, first);
        store(op.w, operands.w, at, count, last, w_bits, rounding, w_draw, first);
        if op.copy_ld.is_some() {
            let (copy, nearest) = (&mut *operands.copy, Rounding::Nearest);
            store(DType::Bf16, copy, at, count, last, w_bits, nearest, w_draw, first);
        }
    }
}

#[inline]
fn load(dtype: DType, words: &[u32], at: usize, count: usize) -> [f32; 8] {
    let mut values = [0f32; 8];
    match dtype {
        DType::Bf16 => {
            for (i, word) in words[at / 2..(at + count).div_ceil(2)].iter().enumerate() {
                values[2 * i] = f32::from_bits(word << 16);
                values[2 * i + 1] = f32::from_bits(word & 0xffff_0000);
            }
        }
        _ => {
            for (value, bits) in values.iter_mut().zip(&words[at..at + count]) {
                *value = f32::from_bits(*bits);
            }
        }
    }
    values
}

/// Stores up to eight elements from `at` on; `first` is the logical index of the first of them, and `last` says
/// that they end a row.
#[inline]
fn store(
    dtype: DType,
    words: &mut [u32],
    at: usize,
    count: usize,
    last: bool,
    bits: [u32; 8],
    rounding: Rounding,
    draw: Draw,
    first: u64,
) {
    if dtype == DType::F32 {
        words[at..at + count].copy_from_slice(&bits[..count]);
        return;
    }
    let mut codes = [0u16; 8];
    match rounding {
        Rounding::Stochastic => {
            // The eight may straddle two blocks where rows are no multiple of eight long.
            let shift = (first % 8) as u32;
            let low = draw.block(first / 8);
            let high = if shift == 0 {
                low
            } else {
                draw.block(first / 8 + 1)
            };
            for (i, code) in (0u32..).zip(&mut codes) {
                let block = if i + shift < 8 { low } else { high };
                *code = bf16::round_stochastic(bits[i as usize], half_word(block, i + shift));
            }
        }
        _ => codes
            .iter_mut()
            .zip(bits)
            .for_each(|(code, bits)| *code = bf16::round_nearest(bits)),
    }
    if last && count % 2 == 1 {
        codes[count] = 0;
    }
    for (i, word) in words[at / 2..(at + count).div_ceil(2)].iter_mut().enumerate() {
        *word = bf16::pack(codes[2 * i], codes[2 * i + 1]);
    }
}
