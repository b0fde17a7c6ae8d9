//! Products with at most eight rows or columns: a few vectors times a matrix.
//!
//! The matrix is read once, as it is stored, and nothing of it is packed: memory bounds the time.
//! Chunks along the matrix' outer index run in parallel. Sums are f32 and their order depends on
//! the shape and the level alone.

use super::coded::{CodedRows, with_kept};
use super::pack::{Mixed, View};
use super::store::{Finish, FinishTile, tiles};
#[cfg(target_arch = "x86_64")]
use crate::cpu::avx512bf16::Avx512Bf16;
use crate::cpu::dispatch::{Kernel, Lanes, Value};
use crate::cpu::{Cpu, CpuError};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Largest number of vectors taken here.
pub(crate) const FEW: usize = 8;

/// Least and most elements of the matrix per chunk where its k are adjacent: a chunk costs a fraction of a microsecond
/// to start, and some chunks a thread are there to share. No sum depends on the choice.
const ELEMENTS: [usize; 2] = [1 << 16, 1 << 18];

/// Least and most outer indices per chunk where consecutive outer indices are adjacent: long pieces
/// of a row suit the prefetchers, many chunks the threads. No sum depends on the choice.
const COLUMNS: [usize; 2] = [256, 2048];

/// Runs a product where `vectors` (count x k, k adjacent) meets the matrix `w` (outer x k). C is
/// count x outer, or outer x count if `transposed`.
pub(crate) fn few<F: Finish<f32>>(
    cpu: &Cpu,
    vectors: &[f32],
    count: usize,
    k: usize,
    w: Mixed<'_>,
    outer: usize,
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    let k_adjacent = match w {
        Mixed::F32(view) => view.k_adjacent,
        Mixed::Bf16(view) => view.k_adjacent,
    };
    let shape = (count, outer, k);
    let sums = |range, acc: &mut [f32]| match w {
        Mixed::F32(w) => cpu.run(Chunk {
            vectors,
            k,
            w,
            range,
            acc,
        }),
        Mixed::Bf16(w) => cpu.run(Chunk {
            vectors,
            k,
            w,
            range,
            acc,
        }),
    };
    let size = match k_adjacent {
        true => Size::Elements(ELEMENTS[1]),
        false => Size::Columns,
    };
    chunks(cpu, shape, size, transposed, bias, finish, c, ldc, sums)
}

/// The same of bf16 vectors and a bf16 matrix whose k are adjacent, through products of pairs.
#[cfg(target_arch = "x86_64")]
pub(crate) fn few_pairs<F: Finish<f32>>(
    cpu: &Cpu,
    isa: Avx512Bf16,
    vectors: &[u16],
    k: usize,
    w: View<'_, u16>,
    outer: usize,
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    let shape = (vectors.len() / k, outer, k);
    let row = |o: usize| &w.data[o * w.ld..][..k];
    let sums = |range: Range<usize>, acc: &mut [f32]| {
        let one = |rows: [&[u16]; 8], vector: &[u16]| isa.dots_of_rows::<8, 1>(rows, vector);
        let four = |rows: [&[u16]; 4], vectors: &[u16]| isa.dots_of_rows::<4, 4>(rows, vectors);
        by_eights(range, vectors, k, acc, row, one, four);
    };
    let size = Size::Elements(ELEMENTS[1]);
    chunks(cpu, shape, size, transposed, bias, finish, c, ldc, sums)
}

/// [`few`] of a matrix of codes, of which a chunk's rows are decoded before they are multiplied.
pub(crate) fn few_coded<F: Finish<f32>>(
    cpu: &Cpu,
    vectors: &[f32],
    count: usize,
    k: usize,
    codes: CodedRows<'_>,
    outer: usize,
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    let shape = (count, outer, k);
    let sums = |range: Range<usize>, acc: &mut [f32]| {
        with_kept(range.len() * k, |data: &mut [f32]| {
            codes.decode(cpu, range.start, data);
            let w = View {
                data: &*data,
                ld: k,
                k_adjacent: true,
            };
            let range = 0..range.len();
            cpu.run(Chunk {
                vectors,
                k,
                w,
                range,
                acc,
            });
        })
    };
    tried(cpu, shape, transposed, bias, finish, c, ldc, sums)
}

/// [`few_pairs`] of a matrix of codes.
#[cfg(target_arch = "x86_64")]
pub(crate) fn few_coded_pairs<F: Finish<f32>>(
    cpu: &Cpu,
    isa: Avx512Bf16,
    vectors: &[u16],
    k: usize,
    codes: CodedRows<'_>,
    outer: usize,
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    let shape = (vectors.len() / k, outer, k);
    let sums = |range: Range<usize>, acc: &mut [f32]| {
        with_kept(range.len() * k, |data: &mut [u16]| {
            codes.decode(cpu, range.start, data);
            let row = |o: usize| &data[o * k..][..k];
            let one = |rows: [&[u16]; 8], vector: &[u16]| isa.dots_of_rows::<8, 1>(rows, vector);
            let four = |rows: [&[u16]; 4], vectors: &[u16]| isa.dots_of_rows::<4, 4>(rows, vectors);
            by_eights(0..range.len(), vectors, k, acc, row, one, four);
        })
    };
    tried(cpu, shape, transposed, bias, finish, c, ldc, sums)
}

/// [`chunks`] of sums that may run out of memory: C then holds what it held, or what is finished of the product.
fn tried<F: Finish<f32>>(
    cpu: &Cpu,
    shape: (usize, usize, usize),
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
    sums: impl Fn(Range<usize>, &mut [f32]) -> Result<(), CpuError> + Sync,
) -> Result<(), CpuError> {
    let failed = Mutex::new(None);
    let run = |range: Range<usize>, acc: &mut [f32]| {
        if let Err(error) = sums(range, acc)
            && let Ok(mut failed) = failed.lock()
        {
            *failed = Some(error);
        }
    };
    // What is decoded stays in the second-level cache until it is multiplied.
    let size = Size::Elements(ELEMENTS[0]);
    chunks(cpu, shape, size, transposed, bias, finish, c, ldc, run)?;
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Whether the next loop over chunks goes backwards. Every other one does: of a matrix that is larger than a cache, and
/// is multiplied again and again, the end is still there.
static TURNED: AtomicBool = AtomicBool::new(false);

/// How large chunks are.
#[derive(Clone, Copy)]
enum Size {
    /// At most so many elements of the matrix, whatever their type.
    Elements(usize),
    /// As [`COLUMNS`] says.
    Columns,
}

/// Runs `sums` over chunks of outer indices, and finishes what it leaves: for each of the vectors a row of sums.
fn chunks<F: Finish<f32>>(
    cpu: &Cpu,
    (count, outer, k): (usize, usize, usize),
    size: Size,
    transposed: bool,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
    sums: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Result<(), CpuError> {
    let threads = cpu.threads();
    let chunk = match size {
        Size::Elements(most) => {
            let share = outer.saturating_mul(k) / (2 * threads);
            (share.clamp(ELEMENTS[0], most) / k)
                .next_multiple_of(8)
                .clamp(8, 4096)
        }
        Size::Columns => {
            let share = outer.div_ceil(4 * threads).next_multiple_of(64);
            share.clamp(COLUMNS[0], COLUMNS[1])
        }
    };
    let (m, n) = if transposed {
        (outer, count)
    } else {
        (count, outer)
    };
    let (mc, nc) = if transposed {
        (chunk, count)
    } else {
        (count, chunk)
    };
    let mut tiles = tiles(c, ldc, m, n, mc, nc)?;
    if TURNED.fetch_xor(true, Ordering::Relaxed) {
        // The caller begins at the front, and its helpers at the end (`Cpu::for_each`): the parts of both are turned.
        let own = tiles.len() / threads;
        let (first, rest) = tiles.split_at_mut(own);
        first.reverse();
        rest.reverse();
    }
    cpu.for_each(tiles, |mut tile| {
        let range = if transposed {
            tile.row..tile.row + tile.rows
        } else {
            tile.column..tile.column + tile.columns
        };
        let ld = range.len();
        let mut acc = vec![0.0; count * ld];
        sums(range, &mut acc);
        let tile = &mut tile;
        let rows = 0..tile.rows;
        cpu.run(FinishTile {
            finish,
            tile,
            rows,
            acc: &acc,
            ld,
            transposed,
            bias,
            n,
        });
    });
    Ok(())
}

struct Chunk<'a, T> {
    vectors: &'a [f32],
    k: usize,
    w: View<'a, T>,
    range: Range<usize>,
    acc: &'a mut [f32],
}

impl<T: Value> Kernel for Chunk<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Chunk {
            vectors,
            k,
            w,
            range,
            acc,
        } = self;
        let ld = range.len();
        if !w.k_adjacent {
            return axpy(lanes, vectors, k, w, range, acc);
        }
        if L::WIDE {
            let row = |o: usize| &w.data[o * w.ld..][..k];
            let one = |rows: [&[T]; 8], vector: &[f32]| lanes.dots_of_rows::<T, 8, 1>(rows, vector);
            let four = |rows: [&[T]; 4], vectors: &[f32]| lanes.dots_of_rows::<T, 4, 4>(rows, vectors);
            return by_eights(range, vectors, k, acc, row, one, four);
        }
        for (j, o) in range.enumerate() {
            let row = &w.data[o * w.ld..][..k];
            let mut i = 0;
            let mut vectors = vectors;
            // Four vectors share one pass over the row; alone, a vector needs more partial sums to
            // hide the latency of the additions.
            while vectors.len() >= 4 * k {
                let sums = lanes.dots::<T, 4, 2>(row, vectors);
                for sum in sums {
                    acc[i * ld + j] = sum;
                    i += 1;
                }
                vectors = &vectors[4 * k..];
            }
            while !vectors.is_empty() {
                let [sum] = lanes.dots::<T, 1, 8>(row, vectors);
                acc[i * ld + j] = sum;
                i += 1;
                vectors = &vectors[k..];
            }
        }
    }
}

/// Sums of rows of the matrix with every vector, eight rows at a time: each half of the eight meets four vectors at
/// once, until fewer than four are left, which meet all eight one by one. So a row is loaded once for four vectors, and
/// a vector once for four rows or eight. Rows past the last are the last once more.
#[inline(always)]
fn by_eights<'a, T: 'a, X>(
    range: Range<usize>,
    vectors: &[X],
    k: usize,
    acc: &mut [f32],
    row: impl Fn(usize) -> &'a [T],
    one: impl Fn([&'a [T]; 8], &[X]) -> [[f32; 1]; 8],
    four: impl Fn([&'a [T]; 4], &[X]) -> [[f32; 4]; 4],
) {
    let ld = range.len();
    let (fours, rest) = vectors.split_at(vectors.len() / (4 * k) * 4 * k);
    for first in (0..ld).step_by(8) {
        let rows: [&[T]; 8] = std::array::from_fn(|i| row(range.start + (first + i).min(ld - 1)));
        let mut lines = acc.chunks_exact_mut(ld);
        for vectors in fours.chunks_exact(4 * k) {
            let mut lines: [_; 4] = std::array::from_fn(|_| lines.next());
            for (half, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
                if first + 4 * half < ld {
                    let sums = four(*rows, vectors);
                    for (i, sums) in sums.iter().enumerate().take(ld - first - 4 * half) {
                        for (line, sum) in lines.iter_mut().flatten().zip(sums) {
                            line[first + 4 * half + i] = *sum;
                        }
                    }
                }
            }
        }
        for (vector, line) in rest.chunks_exact(k).zip(lines) {
            let sums = one(rows, vector);
            for (sum, [value]) in line[first..].iter_mut().zip(sums) {
                *sum = value;
            }
        }
    }
}

/// acc += vectors x w for adjacent outer indices, four k at a time to save passes over `acc`.
#[inline(always)]
fn axpy<L: Lanes, T: Value>(
    lanes: L,
    vectors: &[f32],
    k: usize,
    w: View<'_, T>,
    range: Range<usize>,
    acc: &mut [f32],
) {
    let len = range.len();
    let row = |k: usize| &w.data[k * w.ld + range.start..][..len];
    let mut step = 0;
    while step + 4 <= k {
        let (w0, w1, w2, w3) = (row(step), row(step + 1), row(step + 2), row(step + 3));
        for (acc, x) in acc.chunks_exact_mut(len).zip(vectors.chunks_exact(k)) {
            let x = &x[step..step + 4];
            for j in 0..len {
                let mut sum = lanes.mul_add(x[0], w0[j].widen(), acc[j]);
                sum = lanes.mul_add(x[1], w1[j].widen(), sum);
                sum = lanes.mul_add(x[2], w2[j].widen(), sum);
                acc[j] = lanes.mul_add(x[3], w3[j].widen(), sum);
            }
        }
        step += 4;
    }
    for step in step..k {
        let w = row(step);
        for (acc, x) in acc.chunks_exact_mut(len).zip(vectors.chunks_exact(k)) {
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = lanes.mul_add(x[step], w.widen(), *acc);
            }
        }
    }
}
