//! Sums that stay: many elements side by side, one draw for eight roundings.

use super::Accumulate;
use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::random::{HALVES, fill};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::random::Draw;
use crate::kernels::shared::updates::{WIDTH, load, put_f64, store, value_f64};
use crate::tensor::{DType, View};

/// The operands; `kept` may be empty.
pub(super) struct Operands<'a> {
    pub(super) x: &'a [u32],
    pub(super) sum: &'a mut [u32],
    pub(super) kept: &'a mut [u32],
}

pub(super) fn accumulate(cpu: &Cpu, op: &Accumulate, (draw, keep): (Draw, bool), operands: Operands<'_>) {
    let rounding = match op.is_drawn() {
        true => Rounding::Stochastic,
        false => Rounding::Nearest,
    };
    let cpu = &cpu.for_elements(op.rows * op.cols, rounding);
    let cut = Cut::new(op.views().iter().all(View::is_contiguous), op.rows, op.cols);
    let x = cut.read(operands.x, op.x, op.x_ld);
    let sum = cut.write(operands.sum, op.sum, op.sum_ld);
    let kept = cut.write(operands.kept, DType::F32, op.cols);
    let items: Vec<_> = x.zip(sum).zip(kept).collect();
    cpu.items(items, |i, ((x, sum), kept)| {
        for (r, base, len) in cut.runs(i) {
            let operands = Operands {
                x: row(x, r, op.x, op.x_ld),
                sum: row_mut(sum, r, op.sum, op.sum_ld),
                kept: row_mut(kept, r, DType::F32, op.cols),
            };
            match op.sum {
                DType::F64 => wide(len, keep, operands),
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => cpu.run(Run {
                    op,
                    draw,
                    keep,
                    base: base as u64,
                    len,
                    operands,
                }),
            }
        }
    });
}

/// f64 throughout.
fn wide(len: usize, keep: bool, operands: Operands<'_>) {
    let both = operands.x.chunks_exact(2).zip(operands.sum.chunks_exact_mut(2));
    for (i, (x, sum)) in both.take(len).enumerate() {
        let total = match keep {
            true => value_f64(sum) + value_f64(x),
            false => value_f64(x),
        };
        put_f64(sum, total);
        // The test build keeps it as f32.
        if let Some(kept) = operands.kept.get_mut(i) {
            *kept = (total as f32).to_bits();
        }
    }
}

/// Elements of one row from logical index `base` on.
struct Run<'a> {
    op: &'a Accumulate,
    draw: Draw,
    keep: bool,
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
            draw,
            keep,
            base,
            len,
            mut operands,
        } = self;
        let drawn = op.is_drawn();
        let mut random = [0; HALVES];
        // Where draws do not begin with the run, one set of them covers less.
        let piece = match base % 8 {
            0 => HALVES,
            _ => HALVES - WIDTH,
        };
        for first in (0..len).step_by(piece) {
            let end = len.min(first + piece);
            if drawn {
                fill(lanes, &draw, base + first as u64, &mut random[..end - first]);
            }
            for at in (first..end).step_by(WIDTH) {
                let random = drawn.then_some(&random[at - first..]);
                add(op, keep, &mut operands, at, WIDTH.min(end - at), random);
            }
        }
    }
}

/// Adds `count` elements from the even element `at` on.
#[inline(always)]
fn add(
    op: &Accumulate,
    keep: bool,
    operands: &mut Operands<'_>,
    at: usize,
    count: usize,
    random: Option<&[u16]>,
) {
    let mut total = [0f32; WIDTH];
    load(op.x, operands.x, at, count, &mut total);
    if keep {
        let mut sum = [0f32; WIDTH];
        load(op.sum, operands.sum, at, count, &mut sum);
        for (total, sum) in total.iter_mut().zip(sum) {
            *total += sum;
        }
    }
    let bits = total.map(f32::to_bits);
    if op.keep_f32 {
        operands.kept[at..at + count].copy_from_slice(&bits[..count]);
    }
    store(op.sum, operands.sum, at, &bits[..count], random);
}
