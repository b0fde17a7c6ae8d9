//! Stochastic gradient descent: many elements side by side, one draw for eight roundings.

use super::{Rates, Sgd, SgdOperands};
use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::random::{HALVES, fill};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::gpu::StepValues;
use crate::kernels::shared::updates::{WIDTH, compensate, load, put_f64, store, value_f64};
use crate::tensor::{DType, View};

pub(crate) fn sgd(cpu: &Cpu, op: &Sgd, step: &StepValues, rates: &Rates, operands: SgdOperands<'_>) {
    let rounding = match op.drawn().contains(&true) {
        true => Rounding::Stochastic,
        false => op.rounding,
    };
    let cpu = &cpu.for_elements(op.rows * op.cols, rounding);
    let cut = Cut::new(op.views().iter().all(View::is_contiguous), op.rows, op.cols);
    let (copy_ld, c_ld) = (op.copy_ld.unwrap_or(2), op.compensation_ld.unwrap_or(2));
    let g = cut.read(operands.g, op.g, op.g_ld);
    let w = cut.write(operands.w, op.w, op.w_ld);
    let v = cut.write(operands.v, op.v, op.v_ld);
    let copy = cut.write(operands.copy, DType::Bf16, copy_ld);
    let c = cut.write(operands.c, DType::Bf16, c_ld);
    let w_kept = cut.write(operands.w_kept, DType::F32, op.cols);
    let v_kept = cut.write(operands.v_kept, DType::F32, op.cols);
    let all = g.zip(w).zip(v).zip(copy).zip(c).zip(w_kept.zip(v_kept));
    let items: Vec<_> = all.collect();
    cpu.items(items, |i, (((((g, w), v), copy), c), (w_kept, v_kept))| {
        for (r, base, len) in cut.runs(i) {
            let operands = SgdOperands {
                g: row(g, r, op.g, op.g_ld),
                w: row_mut(w, r, op.w, op.w_ld),
                v: row_mut(v, r, op.v, op.v_ld),
                copy: row_mut(copy, r, DType::Bf16, copy_ld),
                c: row_mut(c, r, DType::Bf16, c_ld),
                w_kept: row_mut(w_kept, r, DType::F32, op.cols),
                v_kept: row_mut(v_kept, r, DType::F32, op.cols),
            };
            match op.w {
                DType::F64 => wide(len, rates, operands),
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => cpu.run(Run {
                    op,
                    step,
                    rates,
                    base: base as u64,
                    len,
                    operands,
                }),
            }
        }
    });
}

/// f64 throughout, one element after the other.
fn wide(len: usize, rates: &Rates, operands: SgdOperands<'_>) {
    let [rate, momentum, decay] = [rates.learning_rate, rates.momentum, rates.weight_decay].map(f64::from);
    let (w, v) = (operands.w.chunks_exact_mut(2), operands.v.chunks_exact_mut(2));
    let both = operands.g.chunks_exact(2).zip(w).zip(v);
    for (i, ((g, w), v)) in both.take(len).enumerate() {
        let (mut gradient, weight) = (value_f64(g), value_f64(w));
        if let Some(factor) = rates.factor {
            gradient *= f64::from(factor);
        }
        let velocity = momentum * value_f64(v) + (gradient + decay * weight);
        let updated = weight - rate * velocity;
        put_f64(v, velocity);
        put_f64(w, updated);
        // The test build keeps both as f32.
        if let (Some(w), Some(v)) = (operands.w_kept.get_mut(i), operands.v_kept.get_mut(i)) {
            (*w, *v) = ((updated as f32).to_bits(), (velocity as f32).to_bits());
        }
    }
}

/// Elements of one row from logical index `base` on.
struct Run<'a> {
    op: &'a Sgd,
    step: &'a StepValues,
    rates: &'a Rates,
    base: u64,
    len: usize,
    operands: SgdOperands<'a>,
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self {
            op,
            step,
            rates,
            base,
            len,
            mut operands,
        } = self;
        let (w_draw, v_draw) = op.draws(step);
        let [w_drawn, v_drawn] = op.drawn();
        let (mut w_random, mut v_random) = ([0; HALVES], [0; HALVES]);
        // Where draws do not begin with the run, one set of them covers less.
        let piece = match base % 8 {
            0 => HALVES,
            _ => HALVES - WIDTH,
        };
        for first in (0..len).step_by(piece) {
            let end = len.min(first + piece);
            if w_drawn {
                fill(lanes, &w_draw, base + first as u64, &mut w_random[..end - first]);
            }
            if v_drawn {
                fill(lanes, &v_draw, base + first as u64, &mut v_random[..end - first]);
            }
            let random = |at: usize| {
                let random = [(w_drawn, &w_random), (v_drawn, &v_random)];
                random.map(|(drawn, random)| drawn.then_some(&random[at..]))
            };
            let mut at = first;
            while at + WIDTH <= end {
                // A constant count, for loops without remainders.
                update(op, rates, &mut operands, at, WIDTH, random(at - first));
                at += WIDTH;
            }
            if at < end {
                update(op, rates, &mut operands, at, end - at, random(at - first));
            }
        }
    }
}

/// Updates `count` elements from the even element `at` on, with half-words for w and for v where they are rounded
/// stochastically.
#[inline(always)]
fn update(
    op: &Sgd,
    rates: &Rates,
    operands: &mut SgdOperands<'_>,
    at: usize,
    count: usize,
    [w_random, v_random]: [Option<&[u16]>; 2],
) {
    let (mut g, mut w, mut v) = ([0f32; WIDTH], [0f32; WIDTH], [0f32; WIDTH]);
    load(op.g, operands.g, at, count, &mut g);
    load(op.w, operands.w, at, count, &mut w);
    load(op.v, operands.v, at, count, &mut v);
    if let Some(factor) = rates.factor {
        g = g.map(|g| factor * g);
    }
    let mut start = w;
    if op.compensation_ld.is_some() {
        let mut c = [0f32; WIDTH];
        load(DType::Bf16, operands.c, at, count, &mut c);
        start = c.map(|c| -c);
    }
    let [rate, momentum, decay] = [rates.learning_rate, rates.momentum, rates.weight_decay];
    let (mut w_bits, mut v_bits) = ([0u32; WIDTH], [0u32; WIDTH]);
    for i in 0..WIDTH {
        let velocity = momentum * v[i] + (g[i] + decay * w[i]);
        v_bits[i] = velocity.to_bits();
        w_bits[i] = (start[i] - rate * velocity).to_bits();
    }
    if op.keep_f32 {
        operands.w_kept[at..at + count].copy_from_slice(&w_bits[..count]);
        operands.v_kept[at..at + count].copy_from_slice(&v_bits[..count]);
    }
    store(op.v, operands.v, at, &v_bits[..count], v_random);
    if op.compensation_ld.is_some() {
        let c_bits = compensate(&w, &mut w_bits, w_random);
        store(DType::Bf16, operands.c, at, &c_bits[..count], None);
        // The sums are bf16 values.
        store(op.w, operands.w, at, &w_bits[..count], None);
        return;
    }
    let w = &w_bits[..count];
    store(op.w, operands.w, at, w, w_random);
    if op.copy_ld.is_some() {
        store(DType::Bf16, operands.copy, at, w, None);
    }
}
