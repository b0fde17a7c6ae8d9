//! Sparse matrix times dense matrix.

use crate::cpu::dispatch::{Index, Kernel, Lanes, Value};
use crate::cpu::{Cpu, CpuError};
use crate::error::Result as OpResult;
use crate::format::bf16 as format;
use crate::kernels::Spmm;
use crate::tensor::DType;
use std::sync::Mutex;

/// Rows of C in one task. A task passes over them once per strip of columns, so that the strip's part of B, which
/// every row picks from, stays in the processor's own cache.
const ROWS: usize = 64;
/// Columns whose sums are held in registers: four vectors of 512 bits.
const STRIP: usize = 64;

/// The operation's twin over words: `row_ptr`, `col_idx`, `values`, `b`.
pub(crate) fn spmm(cpu: &Cpu, op: &Spmm, words: [&[u32]; 4], c: &mut [u32]) -> OpResult<()> {
    let [_, col_idx, values, _] = words;
    match (op.index, op.values) {
        (DType::U16, DType::Bf16) => by_b(cpu, op, words, format::halves(col_idx), format::halves(values), c),
        (DType::U16, _) => by_b(cpu, op, words, format::halves(col_idx), floats(values), c),
        (_, DType::Bf16) => by_b(cpu, op, words, col_idx, format::halves(values), c),
        _ => by_b(cpu, op, words, col_idx, floats(values), c),
    }
}

fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

fn by_b<V: Value, I: Index>(
    cpu: &Cpu,
    op: &Spmm,
    [row_ptr, _, _, b]: [&[u32]; 4],
    columns: &[I],
    values: &[V],
    c: &mut [u32],
) -> OpResult<()> {
    match op.b {
        DType::Bf16 => run(cpu, op, row_ptr, (columns, values), format::halves(b), c),
        _ => run(cpu, op, row_ptr, (columns, values), floats(b), c),
    }
}

fn run<V: Value, I: Index, B: Value>(
    cpu: &Cpu,
    op: &Spmm,
    row_ptr: &[u32],
    (columns, values): (&[I], &[V]),
    b: &[B],
    c: &mut [u32],
) -> OpResult<()> {
    if op.rows == 0 || op.n == 0 {
        return Ok(());
    }
    // So few rows that threads would idle are cut finer, whatever the number of threads.
    let rows = (op.rows / 16).clamp(1, ROWS);
    let failed = Mutex::new(None::<usize>);
    let words = op.c.words(op.c_ld as u64) as usize;
    let used = (op.rows - 1) * words + op.c.words(op.n as u64) as usize;
    cpu.rows(&mut c[..used], words, rows, |first, c| {
        let task = Task {
            op,
            row_ptr: &row_ptr[first..],
            columns,
            values,
            b,
            c,
        };
        if !cpu.run(task)
            && let Ok(mut failed) = failed.lock()
            // The earliest task, so that the error does not depend on the threads.
            && failed.is_none_or(|seen| first < seen)
        {
            *failed = Some(first);
        }
    });
    match failed.into_inner() {
        Ok(Some(first)) => Err(CpuError::ColumnIndex {
            first,
            end: (first + rows).min(op.rows),
            columns: op.cols,
        }
        .into()),
        _ => Ok(()),
    }
}

struct Task<'a, V, I, B> {
    op: &'a Spmm,
    /// Of the task's rows and all after them.
    row_ptr: &'a [u32],
    columns: &'a [I],
    values: &'a [V],
    b: &'a [B],
    c: &'a mut [u32],
}

impl<V: Value, I: Index, B: Value> Kernel for Task<'_, V, I, B> {
    /// Whether every column was inside.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> bool {
        let n = self.op.n;
        let mut col = 0;
        let mut inside = true;
        while col < n {
            let left = n - col;
            if left >= STRIP {
                inside &= strip::<L, V, I, B, STRIP>(lanes, &mut self, col, STRIP);
                col += STRIP;
            } else if left >= 16 {
                inside &= strip::<L, V, I, B, 16>(lanes, &mut self, col, 16);
                col += 16;
            } else {
                inside &= strip::<L, V, I, B, 16>(lanes, &mut self, col, left);
                col = n;
            }
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
    let words = op.c.words(op.c_ld as u64) as usize;
    for (c, ends) in task.c.chunks_mut(words).zip(task.row_ptr.windows(2)) {
        let range = ends[0] as usize..ends[1] as usize;
        let mut sums = [0f32; W];
        for (value, column) in task.values[range.clone()].iter().zip(&task.columns[range]) {
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
        match op.c {
            DType::Bf16 => {
                let end = col + width;
                let halves = &mut format::halves_mut(c)[col..];
                for (half, sum) in halves.iter_mut().zip(&sums[..width]) {
                    *half = format::from_f32(*sum);
                }
                // The half beside an odd last column.
                if end == op.n && end % 2 == 1 {
                    halves[width] = 0;
                }
            }
            _ => {
                for (word, sum) in c[col..col + width].iter_mut().zip(&sums) {
                    *word = sum.to_bits();
                }
            }
        }
    }
    true
}
