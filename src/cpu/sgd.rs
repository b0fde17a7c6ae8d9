//! Stochastic gradient descent: many elements side by side, one draw for eight roundings.

use super::chunks::Cut;
use super::random::{HALVES, for_pieces};
use super::{Cpu, Kernel, Lanes};
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};
use crate::gpu::StepValues;
use crate::ops::{Sgd, SgdOperands};
use crate::reference;
use crate::tensor::DType;

pub(crate) fn sgd(cpu: &Cpu, op: &Sgd, step: &StepValues, operands: SgdOperands<'_>) {
    let cpu = &cpu.for_elements(op.rows * op.cols, op.rounding);
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
            _ => cpu.run(Run {
                op,
                step,
                base: base as u64,
                len,
                operands,
            }),
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

/// Elements of one row from logical index `base` on.
struct Run<'a> {
    op: &'a Sgd,
    step: &'a StepValues,
    base: u64,
    len: usize,
    operands: SgdOperands<'a>,
}

/// Elements updated at once: as many as the vectorised generator draws for.
const WIDTH: usize = HALVES;

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self {
            op,
            step,
            base,
            len,
            operands,
        } = self;
        let [rate, momentum, decay, _] = step.scalars;
        let (w_draw, v_draw) = op.draws(step);
        let (mut g, mut w, mut v) = ([0f32; WIDTH], [0f32; WIDTH], [0f32; WIDTH]);
        let (mut w_bits, mut v_bits) = ([0u32; WIDTH], [0u32; WIDTH]);
        for at in (0..len).step_by(WIDTH) {
            let count = (len - at).min(WIDTH);
            load(op.g, operands.g, at, count, &mut g);
            load(op.w, operands.w, at, count, &mut w);
            load(op.v, operands.v, at, count, &mut v);
            for i in 0..WIDTH {
                let velocity = momentum * v[i] + (g[i] + decay * w[i]);
                v_bits[i] = velocity.to_bits();
                w_bits[i] = (w[i] - rate * velocity).to_bits();
            }
            if op.keep_f32 {
                operands.w_kept[at..at + count].copy_from_slice(&w_bits[..count]);
                operands.v_kept[at..at + count].copy_from_slice(&v_bits[..count]);
            }
            let first = base + at as u64;
            let (w_draw, v_draw) = match op.rounding {
                Rounding::Stochastic => (Some(&w_draw), Some(&v_draw)),
                _ => (None, None),
            };
            store(lanes, op.v, operands.v, at, &v_bits[..count], v_draw, first);
            store(lanes, op.w, operands.w, at, &w_bits[..count], w_draw, first);
            if op.copy_ld.is_some() {
                store(
                    lanes,
                    DType::Bf16,
                    operands.copy,
                    at,
                    &w_bits[..count],
                    None,
                    first,
                );
            }
        }
    }
}

/// Loads `count` elements from the even element `at` on; what `values` holds past them means nothing.
#[inline(always)]
fn load(dtype: DType, words: &[u32], at: usize, count: usize, values: &mut [f32; WIDTH]) {
    match dtype {
        DType::Bf16 => {
            let halves = &bf16::halves(&words[at / 2..])[..count];
            for (value, &half) in values.iter_mut().zip(halves) {
                *value = bf16::widen(half);
            }
        }
        _ => {
            for (value, bits) in values.iter_mut().zip(&words[at..at + count]) {
                *value = f32::from_bits(*bits);
            }
        }
    }
}

/// Stores elements from the even element `at` on, rounding stochastically where there is a draw; `first` is the
/// logical index of the first of them. An odd count ends a row: the half beside the last becomes zero.
#[inline(always)]
fn store<L: Lanes>(
    lanes: L,
    dtype: DType,
    words: &mut [u32],
    at: usize,
    bits: &[u32],
    draw: Option<&Draw>,
    first: u64,
) {
    let count = bits.len();
    if dtype == DType::F32 {
        words[at..at + count].copy_from_slice(bits);
        return;
    }
    let words = &mut words[at / 2..(at + count).div_ceil(2)];
    if count % 2 == 1 {
        words[count / 2] = 0;
    }
    let halves = &mut bf16::halves_mut(words)[..count];
    match draw {
        None => {
            for (half, &bits) in halves.iter_mut().zip(bits) {
                *half = bf16::round_nearest(bits);
            }
        }
        Some(draw) => for_pieces(lanes, draw, first, count, |at, random| {
            let end = at + random.len();
            for ((half, &bits), &r16) in halves[at..end].iter_mut().zip(&bits[at..end]).zip(random) {
                *half = bf16::round_stochastic(bits, u32::from(r16));
            }
        }),
    }
}
