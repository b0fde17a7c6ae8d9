//! Sparse matrix times dense vector.

use super::{OP, Spmv};
use crate::cpu::Cpu;
use crate::cpu::dispatch::{Index, Kernel, Lanes, Value};
use crate::error::Result;
use crate::format::bf16;
use crate::kernels::shared::csr::Product;
use crate::tensor::DType;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries plus rows per parallel chunk: some tens of microseconds of work.
const CHUNK: usize = 1 << 15;
/// Rows with more entries than this are cut into parts of `CHUNK`, which threads share.
const LONG: usize = 2 * CHUNK;

/// The operation over words: `row_ptr`, `col_idx` and `values`, then `x`. The order of a row's sum depends on its length
/// and the level alone.
pub(super) fn spmv(cpu: &Cpu, op: &Spmv, words: [&[u32]; 3], x: &[u32], y: &mut [u32]) -> Result<()> {
    // The vector is small beside the matrix: widened once, gathered from many times.
    let widened: Vec<f32>;
    let x = match op.x == DType::Bf16 {
        true => {
            let halves = &bf16::halves(x)[..op.cols];
            widened = halves.iter().map(|&half| bf16::widen(half)).collect();
            &widened
        }
        false => &bytemuck::cast_slice(x)[..op.cols],
    };
    let y = bytemuck::cast_slice_mut(&mut y[..op.rows]);
    op.a().on_cpu(OP, words, Task { cpu, x, y })
}

struct Task<'a> {
    cpu: &'a Cpu,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Product for Task<'_> {
    fn run<V: Value, I: Index>(self, row_ptr: &[u32], columns: &[I], values: &[V]) -> bool {
        let Self { cpu, x, y } = self;
        // Chunks of about equal work (entries + rows), cut at fixed amounts of it and around long rows.
        let lengths = row_ptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
        let long: Vec<usize> = (0..y.len())
            .zip(lengths)
            .filter_map(|(row, length)| (length > LONG).then_some(row))
            .collect();
        let entries = |row: usize| row_ptr[row] as usize..row_ptr[row + 1] as usize;
        let parts: usize = long.iter().map(|&row| entries(row).len().div_ceil(CHUNK)).sum();
        let mut partial = vec![0.0; parts];
        let mut sums = partial.iter_mut();
        let mut shared = Vec::with_capacity(long.len());
        let mut chunks = Vec::new();
        let mut next_long = long.iter().copied().peekable();
        let mut first = 0;
        let mut rest = y;
        while !rest.is_empty() {
            let stop = next_long.peek().copied().unwrap_or(row_ptr.len() - 1);
            if first == stop {
                next_long.next();
                let range = entries(first);
                for (start, sum) in range.clone().step_by(CHUNK).zip(&mut sums) {
                    let part = start..range.end.min(start + CHUNK);
                    chunks.push(Chunk::Part { entries: part, sum });
                }
                let (one, tail) = rest.split_at_mut(1);
                shared.push((range.len().div_ceil(CHUNK), one));
                first += 1;
                rest = tail;
                continue;
            }
            let limit = row_ptr[first] as usize + first + CHUNK;
            // `row_ptr[i] + i` increases with i: the first row end past the limit closes the chunk.
            let (mut low, mut high) = (first + 1, stop);
            while low < high {
                let middle = low + (high - low) / 2;
                if row_ptr[middle] as usize + middle < limit {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            let (y, tail) = rest.split_at_mut(low - first);
            chunks.push(Chunk::Rows { first, y });
            first = low;
            rest = tail;
        }
        let inside = AtomicBool::new(true);
        cpu.for_each(chunks, |chunk| {
            let part;
            let (row_ptr, y) = match chunk {
                Chunk::Rows { first, y } => (&row_ptr[first..=first + y.len()], y),
                Chunk::Part { entries, sum } => {
                    part = [entries.start as u32, entries.end as u32];
                    (&part[..], std::slice::from_mut(sum))
                }
            };
            let rows = Rows {
                row_ptr,
                values,
                columns,
                x,
                y,
            };
            if !cpu.run(rows) {
                inside.store(false, Ordering::Relaxed);
            }
        });
        // In ascending order, whoever made them.
        let mut sums = partial.iter();
        for (parts, y) in shared {
            y.fill(sums.by_ref().take(parts).sum());
        }
        inside.into_inner()
    }
}

/// What one thread takes at a time.
enum Chunk<'a> {
    Rows {
        first: usize,
        y: &'a mut [f32],
    },
    /// Some entries of a long row.
    Part {
        entries: Range<usize>,
        sum: &'a mut f32,
    },
}

struct Rows<'a, V, I> {
    row_ptr: &'a [u32],
    values: &'a [V],
    columns: &'a [I],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<V: Value, I: Index> Kernel for Rows<'_, V, I> {
    /// Whether every column was inside.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        for (y, ends) in self.y.iter_mut().zip(self.row_ptr.windows(2)) {
            let range = ends[0] as usize..ends[1] as usize;
            let (values, columns) = (&self.values[range.clone()], &self.columns[range]);
            match lanes.sparse_dot(values, columns, self.x) {
                Some(sum) => *y = sum,
                None => return false,
            }
        }
        true
    }
}
