//! Sparse matrix times dense matrix.

use super::{OP, Spmm};
use crate::cpu::Cpu;
use crate::cpu::dispatch::{Index, Kernel, Lanes, Value};
use crate::error::Result;
use crate::format::bf16;
use crate::kernels::shared::csr::Product;
use crate::tensor::DType;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows of C in one task. A task passes over them once per strip of columns, so that the strip's part of B, which
/// every row picks from, stays in the processor's own cache.
const ROWS: usize = 64;
/// Columns whose sums are held in registers: four vectors of 512 bits.
const STRIP: usize = 64;

/// The operation over words: `row_ptr`, `col_idx` and `values`, then `b`.
pub(super) fn spmm(cpu: &Cpu, op: &Spmm, words: [&[u32]; 3], b: &[u32], c: &mut [u32]) -> Result<()> {
    op.a().on_cpu(OP, words, Whole { cpu, op, b, c })
}

struct Whole<'a> {
    cpu: &'a Cpu,
    op: &'a Spmm,
    b: &'a [u32],
    c: &'a mut [u32],
}

impl Product for Whole<'_> {
    fn run<V: Value, I: Index>(self, row_ptr: &[u32], columns: &[I], values: &[V]) -> bool {
        let (entries, b) = ((columns, values), self.b);
        match self.op.b == DType::Bf16 {
            true => self.rows(row_ptr, entries, bf16::halves(b)),
            false => self.rows(row_ptr, entries, bytemuck::cast_slice::<_, f32>(b)),
        }
    }
}

impl Whole<'_> {
    fn rows<V: Value, I: Index, B: Value>(self, row_ptr: &[u32], entries: (&[I], &[V]), b: &[B]) -> bool {
        let Self { cpu, op, c, .. } = self;
        // So few rows that threads would idle are cut finer, whatever the number of threads.
        let rows = (op.rows / 16).clamp(1, ROWS);
        let inside = AtomicBool::new(true);
        let (words, used) = (op.c().row_words() as usize, op.c().words() as usize);
        cpu.rows(&mut c[..used], words, rows, |first, c| {
            let task = Task {
                op,
                row_ptr: &row_ptr[first..],
                entries,
                b,
                c,
            };
            if !cpu.run(task) {
                inside.store(false, Ordering::Relaxed);
            }
        });
        inside.into_inner()
    }
}

struct Task<'a, V, I, B> {
    op: &'a Spmm,
    /// Of the task's rows and all after them.
    row_ptr: &'a [u32],
    /// Columns and values.
    entries: (&'a [I], &'a [V]),
    b: &'a [B],
    c: &'a mut [u32],
}

impl<V: Value, I: Index, B: Value> Kernel for Task<'_, V, I, B> {
    /// Whether every column was inside.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> bool {
        let n = self.op.n;
        let (mut col, mut inside) = (0, true);
        while col < n {
            let width = if n - col < STRIP { (n - col).min(16) } else { STRIP };
            inside &= match width {
                STRIP => strip::<L, V, I, B, STRIP>(lanes, &mut self, col, width),
                _ => strip::<L, V, I, B, 16>(lanes, &mut self, col, width),
            };
            col += width;
        }
        inside
    }
}

/// Columns `col .. col + width` (at most W) of the task's rows.
#[inline(always)]
fn strip<L: Lanes, V: Value, I: Index, B: Value, const W: usize>(
    lanes: L,
    task: &mut Task<'_, V, I, B>,
    col: usize,
    width: usize,
) -> bool {
    let op = task.op;
    let rows = task.c.chunks_mut(op.c().row_words() as usize);
    for (c, ends) in rows.zip(task.row_ptr.windows(2)) {
        let range = ends[0] as usize..ends[1] as usize;
        let mut sums = [0f32; W];
        let (columns, values) = (&task.entries.0[range.clone()], &task.entries.1[range]);
        for (value, column) in values.iter().zip(columns) {
            let column = column.at();
            if column >= op.cols {
                return false;
            }
            let value = value.widen();
            let start = column * op.b_ld + col;
            if width == W {
                let Some(b) = task.b[start..].first_chunk::<W>() else {
                    return false;
                };
                for i in 0..W {
                    sums[i] = lanes.mul_add(value, b[i].widen(), sums[i]);
                }
            } else {
                for (sum, b) in sums.iter_mut().zip(&task.b[start..start + width]) {
                    *sum = lanes.mul_add(value, b.widen(), *sum);
                }
            }
        }
        match op.c == DType::Bf16 {
            true => {
                let end = col + width;
                let halves = &mut bf16::halves_mut(c)[col..];
                for (half, sum) in halves.iter_mut().zip(&sums[..width]) {
                    *half = bf16::from_f32(*sum);
                }
                // The half beside an odd last column.
                if end == op.n && end % 2 == 1 {
                    halves[width] = 0;
                }
            }
            false => {
                for (word, sum) in c[col..col + width].iter_mut().zip(&sums) {
                    *word = sum.to_bits();
                }
            }
        }
    }
    true
}
