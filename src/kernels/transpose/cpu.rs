//! Transposition on the CPU device: bands of rows of the result in parallel. A band walks along few rows of the source at
//! a time, whose lines are read one after the other, and writes whole lines of the result.

use crate::cpu::parallel::TASK;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::bf16::{halves, halves_mut};
use crate::kernels::Transpose;
use crate::kernels::shared::elements::{clear_spare, wides, wides_mut};
use crate::tensor::DType;

/// Rows of the result in a band, where they are long: whole lines of the source's rows, even, and few enough that the
/// pages that they lie in stay known to the processor.
const BAND: usize = 64;

/// Some rows of the result. `src` starts at their first column of it; rows are so many elements apart.
struct Band<'a, T> {
    src: &'a [T],
    src_ld: usize,
    dst: &'a mut [T],
    dst_ld: usize,
    /// Of the source.
    rows: usize,
    cols: usize,
}

impl<T: Copy> Band<'_, T> {
    /// Element by element.
    #[inline(always)]
    fn plain(&mut self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) {
        for col in cols {
            for row in rows.clone() {
                self.dst[col * self.dst_ld + row] = self.src[row * self.src_ld + col];
            }
        }
    }
}

/// Two words of each half a word.
#[inline(always)]
fn paired(a: u32, b: u32) -> [u32; 2] {
    [(a & 0xffff) | (b << 16), (a >> 16) | (b & 0xffff_0000)]
}

/// f32.
struct Words<'a>(Band<'a, u32>);

impl Kernel for Words<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        /// A line of the result.
        const ROWS: usize = 16;
        let Self(mut band) = self;
        let (rows, cols, src_ld, dst_ld) = (band.rows, band.cols, band.src_ld, band.dst_ld);
        for first in (0..rows).step_by(ROWS) {
            let end = rows.min(first + ROWS);
            if L::WIDE && end - first == ROWS {
                let lines: [&[f32]; ROWS] =
                    std::array::from_fn(|i| bytemuck::cast_slice(&band.src[(first + i) * src_ld..][..cols]));
                lanes.columns::<f32, false>(&lines, &mut band.dst[first..], dst_ld);
                continue;
            }
            for col in (0..cols).step_by(8) {
                for row in (first..end).step_by(4) {
                    if row + 4 > end || col + 8 > cols {
                        band.plain(row..end.min(row + 4), col..cols.min(col + 8));
                        continue;
                    }
                    let mut block = [[0; 8]; 4];
                    for (i, line) in block.iter_mut().enumerate() {
                        line.copy_from_slice(&band.src[(row + i) * src_ld + col..][..8]);
                    }
                    for (i, line) in lanes.transpose4x8(block).iter().enumerate() {
                        band.dst[(col + i) * dst_ld + row..][..4].copy_from_slice(line);
                    }
                }
            }
        }
    }
}

/// bf16: the numbers of two rows side by side are the words of two rows of the result. `words` are those of `src`.
struct Halves<'a> {
    band: Band<'a, u16>,
    words: &'a [u32],
}

impl Kernel for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        /// A line of the result.
        const ROWS: usize = 32;
        let Self { mut band, words } = self;
        let (rows, cols, src_ld, dst_ld) = (band.rows, band.cols, band.src_ld / 2, band.dst_ld);
        for first in (0..rows).step_by(ROWS) {
            let end = rows.min(first + ROWS);
            for col in (0..cols).step_by(16) {
                for row in (first..end).step_by(8) {
                    if row + 8 > end || col + 16 > cols {
                        band.plain(row..end.min(row + 8), col..cols.min(col + 16));
                        continue;
                    }
                    let line = |i: usize| &words[(row + i) * src_ld + col / 2..][..8];
                    let (mut even, mut odd) = ([[0; 8]; 4], [[0; 8]; 4]);
                    for (i, (even, odd)) in even.iter_mut().zip(&mut odd).enumerate() {
                        for (j, (&a, &b)) in line(2 * i).iter().zip(line(2 * i + 1)).enumerate() {
                            [even[j], odd[j]] = paired(a, b);
                        }
                    }
                    let (even, odd) = (lanes.transpose4x8(even), lanes.transpose4x8(odd));
                    for (i, (even, odd)) in even.iter().zip(&odd).enumerate() {
                        let at = (col + 2 * i) * dst_ld + row;
                        band.dst[at..][..8].copy_from_slice(bytemuck::cast_slice(even));
                        band.dst[at + dst_ld..][..8].copy_from_slice(bytemuck::cast_slice(odd));
                    }
                }
            }
        }
    }
}

pub(crate) fn transpose(cpu: &Cpu, op: &Transpose, src: &[u32], dst: &mut [u32]) {
    let (from, to) = (op.src(), op.dst());
    if from.is_empty() {
        return;
    }
    let (rows, cols) = (op.rows, op.cols);
    let cpu = &cpu.for_elements(rows.saturating_mul(cols), Rounding::Nearest);
    // Wide enough to be worth a task, and as many as there are threads where they can be whole lines.
    let share = cols.div_ceil(cpu.threads()).next_multiple_of(16);
    let band = (TASK / rows).next_multiple_of(BAND).max(BAND).min(share);
    let (src_words, dst_words) = (from.row_words() as usize, to.row_words() as usize);
    // What an operand's memory holds beyond its last row is not touched.
    let dst = &mut dst[..to.words() as usize];
    cpu.chunks_mut(dst, band * dst_words, |i, dst| {
        let first = i * band;
        let cols = band.min(cols - first);
        let src = &src[op.dtype.words(first as u64) as usize..];
        match op.dtype {
            DType::F64 => {
                let mut band = Band {
                    src: wides(src),
                    src_ld: op.src_ld,
                    dst: wides_mut(dst),
                    dst_ld: op.dst_ld,
                    rows,
                    cols,
                };
                // There for comparison, not for speed.
                for row in (0..rows).step_by(8) {
                    band.plain(row..rows.min(row + 8), 0..cols);
                }
            }
            DType::Bf16 | DType::U16 => {
                let band = Band {
                    src: halves(src),
                    src_ld: 2 * src_words,
                    dst: halves_mut(dst),
                    dst_ld: 2 * dst_words,
                    rows,
                    cols,
                };
                cpu.run(Halves { band, words: src });
            }
            DType::F32 | DType::U32 => cpu.run(Words(Band {
                src,
                src_ld: src_words,
                dst,
                dst_ld: dst_words,
                rows,
                cols,
            })),
        }
        for row in dst.chunks_mut(dst_words) {
            clear_spare(op.dtype, rows, row);
        }
    });
}
