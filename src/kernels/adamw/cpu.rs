//! AdamW: many elements side by side, one draw for eight roundings.

use super::{AdamW, Operands, Rates};
use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::random::{HALVES, fill};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::{Rounding, bf16};
use crate::gpu::StepValues;
use crate::kernels::shared::updates::{WIDTH, compensate, load, put_f64, store, value_f64};
use crate::tensor::{DType, View};

pub(super) fn adamw(cpu: &Cpu, op: &AdamW, step: &StepValues, rates: &Rates, operands: Operands<'_>) {
    let rounding = match op.drawn().contains(&true) {
        true => Rounding::Stochastic,
        false => Rounding::Nearest,
    };
    let cpu = &cpu.for_elements(op.rows * op.cols, rounding);
    let cut = Cut::new(op.views().iter().all(View::is_contiguous), op.rows, op.cols);
    let (copy_ld, c_ld) = (op.copy_ld.unwrap_or(2), op.compensation_ld.unwrap_or(2));
    let g = cut.read(operands.g, op.g, op.g_ld);
    let w = cut.write(operands.w, op.w, op.w_ld);
    let m = cut.write(operands.m, op.m, op.m_ld);
    let v = cut.write(operands.v, op.v_stored(), op.v_ld);
    let copy = cut.write(operands.copy, DType::Bf16, copy_ld);
    let c = cut.write(operands.c, DType::Bf16, c_ld);
    let w_kept = cut.write(operands.w_kept, DType::F32, op.cols);
    let m_kept = cut.write(operands.m_kept, DType::F32, op.cols);
    let v_kept = cut.write(operands.v_kept, DType::F32, op.cols);
    let kept = w_kept.zip(m_kept).zip(v_kept);
    let items: Vec<_> = g.zip(w).zip(m).zip(v).zip(copy.zip(c)).zip(kept).collect();
    cpu.items(
        items,
        |i, (((((g, w), m), v), (copy, c)), ((w_kept, m_kept), v_kept))| {
            for (r, base, len) in cut.runs(i) {
                let operands = Operands {
                    g: row(g, r, op.g, op.g_ld),
                    w: row_mut(w, r, op.w, op.w_ld),
                    m: row_mut(m, r, op.m, op.m_ld),
                    v: row_mut(v, r, op.v_stored(), op.v_ld),
                    copy: row_mut(copy, r, DType::Bf16, copy_ld),
                    c: row_mut(c, r, DType::Bf16, c_ld),
                    w_kept: row_mut(w_kept, r, DType::F32, op.cols),
                    m_kept: row_mut(m_kept, r, DType::F32, op.cols),
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
        },
    );
}

/// f64 throughout, one element after the other.
fn wide(len: usize, rates: &Rates, operands: Operands<'_>) {
    let [rate, decay, epsilon] = [rates.learning_rate, rates.weight_decay, rates.epsilon].map(f64::from);
    let [beta1, beta2] = [rates.beta1, rates.beta2].map(f64::from);
    let [correction1, correction2] = [rates.correction1, rates.correction2].map(f64::from);
    let (m, v) = (operands.m.chunks_exact_mut(2), operands.v.chunks_exact_mut(2));
    let (g, w) = (operands.g.chunks_exact(2), operands.w.chunks_exact_mut(2));
    for (i, (((g, w), m), v)) in g.zip(w).zip(m).zip(v).take(len).enumerate() {
        let (mut gradient, weight) = (value_f64(g), value_f64(w));
        if let Some(factor) = rates.factor {
            gradient *= f64::from(factor);
        }
        let mean = beta1 * value_f64(m) + (1.0 - beta1) * gradient;
        let square = beta2 * value_f64(v) + (1.0 - beta2) * gradient * gradient;
        let moved = mean * correction1 / ((square * correction2).sqrt() + epsilon);
        let updated = weight - rate * (moved + decay * weight);
        put_f64(w, updated);
        put_f64(m, mean);
        put_f64(v, square);
        // The test build keeps all three as f32.
        let kept = [&mut *operands.w_kept, operands.m_kept, operands.v_kept];
        for (kept, value) in kept.into_iter().zip([updated, mean, square]) {
            if let Some(kept) = kept.get_mut(i) {
                *kept = (value as f32).to_bits();
            }
        }
    }
}

/// Elements of one row from logical index `base` on.
struct Run<'a> {
    op: &'a AdamW,
    step: &'a StepValues,
    rates: &'a Rates,
    base: u64,
    len: usize,
    operands: Operands<'a>,
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
        let draws = op.draws(step);
        let draws = [draws.w, draws.m, draws.v];
        let drawn = op.drawn();
        let mut random = [[0; HALVES]; 3];
        // Where draws do not begin with the run, one set of them covers less.
        let piece = match base % 8 {
            0 => HALVES,
            _ => HALVES - WIDTH,
        };
        for first in (0..len).step_by(piece) {
            let end = len.min(first + piece);
            for ((random, draw), drawn) in random.iter_mut().zip(&draws).zip(drawn) {
                if drawn {
                    fill(lanes, draw, base + first as u64, &mut random[..end - first]);
                }
            }
            let halves = |at: usize| [0, 1, 2].map(|i| drawn[i].then_some(&random[i][at..]));
            let mut at = first;
            while at + WIDTH <= end {
                // A constant count, for loops without remainders.
                update(op, rates, &mut operands, at, WIDTH, halves(at - first));
                at += WIDTH;
            }
            if at < end {
                update(op, rates, &mut operands, at, end - at, halves(at - first));
            }
        }
    }
}

/// Loads moments and their compensations, a word for each two.
#[inline(always)]
fn load_pairs(words: &[u32], at: usize, count: usize, [values, lost]: [&mut [f32; WIDTH]; 2]) {
    let pairs = words[at..at + count].iter();
    for ((value, lost), &pair) in values.iter_mut().zip(lost).zip(pairs) {
        (*value, *lost) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
    }
}

/// Updates `count` elements from the even element `at` on; `random` holds half-words for w, m and v where they are
/// rounded stochastically.
#[inline(always)]
fn update(
    op: &AdamW,
    rates: &Rates,
    operands: &mut Operands<'_>,
    at: usize,
    count: usize,
    random: [Option<&[u16]>; 3],
) {
    let [mut g, mut w, mut m, mut v] = [[0f32; WIDTH]; 4];
    load(op.g, operands.g, at, count, &mut g);
    load(op.w, operands.w, at, count, &mut w);
    load(op.m, operands.m, at, count, &mut m);
    let mut lost = [0f32; WIDTH];
    match op.v_compensated {
        true => load_pairs(operands.v, at, count, [&mut v, &mut lost]),
        false => load(op.v, operands.v, at, count, &mut v),
    }
    if let Some(factor) = rates.factor {
        g = g.map(|g| factor * g);
    }
    let mut start = w;
    if op.compensation_ld.is_some() {
        let mut c = [0f32; WIDTH];
        load(DType::Bf16, operands.c, at, count, &mut c);
        start = c.map(|c| -c);
    }
    let [mut w_bits, mut m_bits, mut v_bits] = [[0u32; WIDTH]; 3];
    let Rates {
        learning_rate: rate,
        beta1,
        beta2,
        epsilon,
        weight_decay: decay,
        correction1,
        correction2,
        ..
    } = *rates;
    for i in 0..WIDTH {
        let mean = beta1 * m[i] + (1.0 - beta1) * g[i];
        let square = beta2 * v[i] + (1.0 - beta2) * g[i] * g[i];
        let moved = mean * correction1 / ((square * correction2).sqrt() + epsilon);
        m_bits[i] = mean.to_bits();
        v_bits[i] = match op.v_compensated {
            true => ((1.0 - beta2) * (g[i] * g[i] - v[i]) - lost[i]).to_bits(),
            false => square.to_bits(),
        };
        w_bits[i] = (start[i] - rate * (moved + decay * w[i])).to_bits();
    }
    if op.keep_f32 {
        operands.w_kept[at..at + count].copy_from_slice(&w_bits[..count]);
        operands.m_kept[at..at + count].copy_from_slice(&m_bits[..count]);
        operands.v_kept[at..at + count].copy_from_slice(&v_bits[..count]);
    }
    let [w_random, m_random, v_random] = random;
    store(op.m, operands.m, at, &m_bits[..count], m_random);
    match op.v_compensated {
        true => {
            let lost = compensate(&v, &mut v_bits, v_random);
            // The sums are bf16 values, and what they lost is rounded to one.
            for ((pair, sum), lost) in operands.v[at..at + count].iter_mut().zip(v_bits).zip(lost) {
                *pair = sum >> 16 | u32::from(bf16::round_nearest(lost)) << 16;
            }
        }
        false => store(op.v, operands.v, at, &v_bits[..count], v_random),
    }
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
