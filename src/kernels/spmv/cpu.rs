//! Sparse matrix times dense vector.

use crate::cpu::dispatch::{Index, Kernel, Lanes, Value};
use crate::cpu::{Cpu, CpuError, Data};
use crate::error::Result as OpResult;
use crate::format::bf16 as format;
use crate::kernels::Spmv;
use crate::tensor::DType;
use std::ops::Range;
use std::sync::Mutex;

/// Entries plus rows per parallel chunk: some tens of microseconds of work.
const CHUNK: usize = 1 << 15;
/// Rows with more entries than this are cut into parts of `CHUNK`, which threads share.
const LONG: usize = 2 * CHUNK;

/// Column indices of a sparse matrix.
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a> {
    /// 32 bits each.
    U32(&'a [u32]),
    /// 16 bits each, for at most 65,536 columns.
    U16(&'a [u16]),
}

impl Columns<'_> {
    /// Number of indices.
    pub fn len(&self) -> usize {
        match self {
            Columns::U32(data) => data.len(),
            Columns::U16(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A matrix in compressed sparse rows. Row `i` has the entries `row_ptr[i]..row_ptr[i + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct Csr<'a> {
    /// One more than the rows; from 0 to the number of entries, never decreasing.
    pub row_ptr: &'a [u32],
    /// Column of each entry, in any order, duplicates allowed.
    pub columns: Columns<'a>,
    /// Value of each entry.
    pub values: Data<'a>,
}

/// y = A x, with f32 `x` and `y` and f32 sums.
///
/// A has `y.len()` rows and `x.len()` columns. Only stored entries are multiplied: an infinity in
/// `x` reaches only the rows that have an entry in its column.
///
/// Numerics: class *bounded* with K the length of the row. The order of a row's sum depends on its
/// length and the level alone.
///
/// # Errors
/// [`CpuError`] if lengths disagree, the row pointers are out of order, or a column is outside
/// `x`; then the contents of `y` are unspecified.
pub fn spmv(cpu: &Cpu, a: Csr<'_>, x: &[f32], y: &mut [f32]) -> Result<(), CpuError> {
    let (rows, entries) = (y.len(), a.values.len());
    if a.row_ptr.len() != rows + 1 {
        let len = a.row_ptr.len();
        return Err(CpuError::Length {
            operand: "row_ptr",
            expected: rows + 1,
            len,
        });
    }
    if a.columns.len() != entries {
        let len = a.columns.len();
        return Err(CpuError::Length {
            operand: "columns",
            expected: entries,
            len,
        });
    }
    let disorder = a.row_ptr.windows(2).position(|pair| pair[0] > pair[1]);
    if let Some(row) = disorder {
        return Err(CpuError::RowPointer { row });
    }
    if a.row_ptr[0] != 0 || a.row_ptr[rows] as usize != entries {
        return Err(CpuError::RowPointer {
            row: if a.row_ptr[0] != 0 { 0 } else { rows },
        });
    }
    match (a.values, a.columns) {
        (Data::F32(v), Columns::U32(c)) => run(cpu, a.row_ptr, v, c, x, y),
        (Data::F32(v), Columns::U16(c)) => run(cpu, a.row_ptr, v, c, x, y),
        (Data::Bf16(v), Columns::U32(c)) => run(cpu, a.row_ptr, v, c, x, y),
        (Data::Bf16(v), Columns::U16(c)) => run(cpu, a.row_ptr, v, c, x, y),
    }
}

fn run<V: Value, I: Index>(
    cpu: &Cpu,
    row_ptr: &[u32],
    values: &[V],
    columns: &[I],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), CpuError> {
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
                chunks.push(Chunk::Part {
                    row: first,
                    part,
                    sum,
                });
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
    let failed = Mutex::new(None::<(usize, usize)>);
    cpu.for_each(chunks, |chunk| {
        let (first, end, inside) = match chunk {
            Chunk::Rows { first, y } => {
                let end = first + y.len();
                let row_ptr = &row_ptr[first..=end];
                (
                    first,
                    end,
                    cpu.run(Rows {
                        row_ptr,
                        values,
                        columns,
                        x,
                        y,
                    }),
                )
            }
            Chunk::Part { row, part, sum } => {
                let (row_ptr, y) = (&[part.start as u32, part.end as u32], std::slice::from_mut(sum));
                (
                    row,
                    row + 1,
                    cpu.run(Rows {
                        row_ptr,
                        values,
                        columns,
                        x,
                        y,
                    }),
                )
            }
        };
        if !inside
            && let Ok(mut failed) = failed.lock()
            // The earliest chunk, so that the error does not depend on the threads either.
            && failed.is_none_or(|(seen, _)| first < seen)
        {
            *failed = Some((first, end));
        }
    });
    // In ascending order, whoever made them.
    let mut sums = partial.iter();
    for (parts, y) in shared {
        y.fill(sums.by_ref().take(parts).sum());
    }
    match failed.into_inner() {
        Ok(Some((first, end))) => Err(CpuError::ColumnIndex {
            first,
            end,
            columns: x.len(),
        }),
        _ => Ok(()),
    }
}

/// The operation's twin over words: `row_ptr`, `col_idx`, `values`, `x`.
pub(crate) fn spmv_words(cpu: &Cpu, op: &Spmv, words: [&[u32]; 4], y: &mut [u32]) -> OpResult<()> {
    let [row_ptr, col_idx, values, x] = words;
    let a = Csr {
        row_ptr: &row_ptr[..=op.rows],
        columns: match op.index {
            DType::U16 => Columns::U16(&format::halves(col_idx)[..op.nnz]),
            _ => Columns::U32(&col_idx[..op.nnz]),
        },
        values: match op.values {
            DType::Bf16 => Data::Bf16(&format::halves(values)[..op.nnz]),
            _ => Data::F32(&bytemuck::cast_slice(values)[..op.nnz]),
        },
    };
    // The vector is small beside the matrix: widened once, gathered from many times.
    let widened: Vec<f32>;
    let x = match op.x {
        DType::Bf16 => {
            widened = format::halves(x)[..op.cols]
                .iter()
                .map(|&half| format::widen(half))
                .collect();
            &widened
        }
        _ => &bytemuck::cast_slice(x)[..op.cols],
    };
    Ok(spmv(cpu, a, x, bytemuck::cast_slice_mut(&mut y[..op.rows]))?)
}

/// What one thread takes at a time.
enum Chunk<'a> {
    Rows {
        first: usize,
        y: &'a mut [f32],
    },
    /// Some entries of a long row.
    Part {
        row: usize,
        part: Range<usize>,
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
