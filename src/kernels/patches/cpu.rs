//! Patches and their gradient, places of the window side by side: what a window holds of one row of pixels is one run of
//! numbers, which is copied, or added to a row of sums, as a whole.

use std::ops::Range;

use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::Rounding;
use crate::format::bf16::{self, halves, halves_mut};
use crate::kernels::shared::elements::{Wide, clear_spare, joined, wides, wides_mut};
use crate::kernels::{Patches, PatchesGrad};
use crate::tensor::{DType, alloc};

/// Bit patterns of one element.
trait Bits: Copy {
    const ZERO: Self;
    /// What its values are summed in.
    type Sum: Copy + Default + std::ops::AddAssign;
    fn value(self) -> Self::Sum;
    /// To nearest.
    fn rounded(sum: Self::Sum) -> Self;
}

impl Bits for u32 {
    const ZERO: Self = 0;
    type Sum = f32;

    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(self)
    }

    #[inline(always)]
    fn rounded(sum: f32) -> Self {
        sum.to_bits()
    }
}

impl Bits for u16 {
    const ZERO: Self = 0;
    type Sum = f32;

    #[inline(always)]
    fn value(self) -> f32 {
        bf16::widen(self)
    }

    #[inline(always)]
    fn rounded(sum: f32) -> Self {
        bf16::from_f32(sum)
    }
}

impl Bits for Wide {
    const ZERO: Self = [0; 2];
    type Sum = f64;

    #[inline(always)]
    fn value(self) -> f64 {
        f64::from_bits(joined(self))
    }

    #[inline(always)]
    fn rounded(sum: f64) -> Self {
        let bits = sum.to_bits();
        [bits as u32, (bits >> 32) as u32]
    }
}

/// The columns of a window that lie inside the image, at place `j` of its row.
fn inside(op: &Patches, j: usize) -> Range<usize> {
    let left = j * op.stride[1];
    let start = op.padding[1].saturating_sub(left).min(op.window[1]);
    let end = (op.padding[1] + op.width).saturating_sub(left).min(op.window[1]);
    start..end.max(start)
}

/// Elements from one row of a matrix to the next, which starts on a word.
fn elements(dtype: DType, row_words: u64) -> usize {
    (row_words * 32 / u64::from(dtype.bits())) as usize
}

/// Elements that short runs are copied in, whatever of them is needed: what follows is written next.
const BLOCK: usize = 8;

/// Copies a run to where `at` is of a row, whose numbers from there on are still to come.
#[inline(always)]
fn copy<T: Copy>(row: &mut [T], at: usize, from: &[T], len: usize) {
    let blocks = (from.first_chunk::<BLOCK>(), row[at..].first_chunk_mut::<BLOCK>());
    match blocks {
        (Some(from), Some(to)) if len <= BLOCK => *to = *from,
        _ => row[at..at + len].copy_from_slice(&from[..len]),
    }
}

/// Row `i` of the places of one image, and those that follow as far as `y` goes.
struct Gather<'a, T> {
    op: &'a Patches,
    i: usize,
    x: &'a [T],
    y: &'a mut [T],
    ld: usize,
}

impl<T: Bits> Gather<'_, T> {
    /// Window row `i` at place `j`, to a patch from `at` on, in order.
    #[inline(always)]
    fn window_row(&self, i: usize, j: usize, patch: &mut [T], at: usize) {
        let op = self.op;
        let (channels, inside) = (op.channels, inside(op, j));
        if inside.start > 0 {
            patch[at..at + inside.start * channels].fill(T::ZERO);
        }
        let first = i * op.width + (j * op.stride[1] + inside.start).saturating_sub(op.padding[1]);
        match op.pixel_ld == channels {
            _ if inside.is_empty() => {}
            true => {
                let from = &self.x[first * channels..];
                copy(patch, at + inside.start * channels, from, inside.len() * channels);
            }
            false => {
                for (k, col) in inside.clone().enumerate() {
                    let from = &self.x[(first + k) * op.pixel_ld..];
                    copy(patch, at + col * channels, from, channels);
                }
            }
        }
        if inside.end < op.window[1] {
            patch[at + inside.end * channels..at + op.window[1] * channels].fill(T::ZERO);
        }
    }
}

impl<T: Bits> Kernel for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, _: L) {
        let op = self.op;
        let [_, across] = op.places();
        let (run, cols) = (op.window[1] * op.channels, op.cols());
        // All of a window lies inside, a row of it in one run.
        let whole = op.padding == [0; 2] && op.pixel_ld == op.channels;
        let y = std::mem::take(&mut self.y);
        for (place, patch) in y.chunks_mut(self.ld).enumerate() {
            let (i, j) = ((self.i + place / across) * op.stride[0], place % across);
            let patch = &mut patch[..cols];
            if whole {
                let (first, line) = (
                    (i * op.width + j * op.stride[1]) * op.channels,
                    op.width * op.channels,
                );
                for inside in 0..op.window[0] {
                    copy(patch, inside * run, &self.x[first + inside * line..], run);
                }
                continue;
            }
            for inside in 0..op.window[0] {
                let at = inside * run;
                match (i + inside).checked_sub(op.padding[0]) {
                    Some(i) if i < op.height => self.window_row(i, j, patch, at),
                    _ => patch[at..at + run].fill(T::ZERO),
                }
            }
        }
    }
}

pub(crate) fn patches(cpu: &Cpu, op: &Patches, x: &[u32], y: &mut [u32]) {
    if op.is_empty() {
        return;
    }
    let (from, to) = (op.x(), op.y());
    let cpu = &cpu.for_elements(to.rows * to.cols, Rounding::Nearest);
    let [down, across] = op.places();
    // Whole images where there are enough of them.
    let lines = if op.batch < cpu.threads() { 1 } else { down };
    let row_words = to.row_words() as usize;
    let y = &mut y[..to.words() as usize];
    cpu.chunks_mut(y, lines * across * row_words, |chunk, y| {
        let first = chunk * lines;
        let x = &x[first / down * from.row_words() as usize..];
        let (i, ld) = (first % down, elements(op.dtype, to.row_words()));
        match op.dtype {
            DType::F64 => cpu.run(Gather {
                op,
                i,
                x: wides(x),
                y: wides_mut(y),
                ld,
            }),
            DType::Bf16 | DType::U16 => cpu.run(Gather {
                op,
                i,
                x: halves(x),
                y: halves_mut(y),
                ld,
            }),
            DType::F32 | DType::U32 => cpu.run(Gather { op, i, x, y, ld }),
        }
        for patch in y.chunks_mut(row_words) {
            clear_spare(op.dtype, to.cols, patch);
        }
    });
}

/// Row `i` of the pixels of one image, and those that follow as far as `dx` goes. `sums` has room for a row.
struct Scatter<'a, T: Bits> {
    op: &'a PatchesGrad,
    i: usize,
    dy: &'a [T],
    dy_ld: usize,
    dx: &'a mut [T],
    dx_ld: usize,
    sums: &'a mut [T::Sum],
}

impl<T: Bits> Kernel for Scatter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Patches {
            width,
            channels,
            window,
            stride,
            padding,
            ..
        } = self.op.patches;
        let [down, across] = self.op.patches.places();
        for (i, dx) in self.dx.chunks_mut(width * self.dx_ld).enumerate() {
            self.sums.fill(T::Sum::default());
            // The windows that reach this row, from the highest down: each pixel's terms come by place, row by row.
            let at = self.i + i + padding[0];
            let first = (at + 1).saturating_sub(window[0]).div_ceil(stride[0]);
            for place in first..down.min(at / stride[0] + 1) {
                let row = (at - place * stride[0]) * window[1] * channels;
                for j in 0..across {
                    let inside = inside(&self.op.patches, j);
                    if inside.is_empty() {
                        continue;
                    }
                    let patch = &self.dy[(place * across + j) * self.dy_ld + row..];
                    let pixel = j * stride[1] + inside.start - padding[1];
                    let sums = &mut self.sums[pixel * channels..][..inside.len() * channels];
                    let terms = &patch[inside.start * channels..inside.end * channels];
                    for (sum, term) in sums.iter_mut().zip(terms) {
                        *sum += term.value();
                    }
                }
            }
            if self.dx_ld == channels {
                for (dx, &sum) in dx.iter_mut().zip(self.sums.iter()) {
                    *dx = T::rounded(sum);
                }
                continue;
            }
            let pixels = dx.chunks_mut(self.dx_ld);
            for (dx, sums) in pixels.zip(self.sums.chunks_exact(channels)) {
                for (dx, &sum) in dx.iter_mut().zip(sums) {
                    *dx = T::rounded(sum);
                }
            }
        }
    }
}

pub(crate) fn patches_grad(cpu: &Cpu, op: &PatchesGrad, dy: &[u32], dx: &mut [u32]) -> Result<()> {
    let patches = &op.patches;
    if patches.is_empty() {
        return Ok(());
    }
    let (from, to) = (patches.y(), op.dx());
    let cpu = &cpu.for_elements(from.rows * from.cols, Rounding::Nearest);
    let (height, width) = (patches.height, patches.width);
    let lines = if patches.batch < cpu.threads() { 1 } else { height };
    let row_words = to.row_words() as usize;
    let image_words = patches.image_rows() * from.row_words() as usize;
    let chunks = dx[..to.words() as usize].chunks_mut(lines * width * row_words);
    let row = width * patches.channels;
    // One of the two is used.
    let wide = patches.dtype == DType::F64;
    let count = |used: bool| if used { chunks.len() * row } else { 0 };
    let mut narrow_sums = alloc::filled("patches_grad", count(!wide), 0f32)?;
    let mut wide_sums = alloc::filled("patches_grad", count(wide), 0f64)?;
    let of_row = |i: usize| {
        let first = i * lines;
        (first % height, &dy[first / height * image_words..])
    };
    let (dy_ld, dx_ld) = (
        elements(patches.dtype, from.row_words()),
        elements(patches.dtype, to.row_words()),
    );
    if wide {
        let items = chunks.zip(wide_sums.chunks_mut(row)).collect();
        cpu.items(items, |i, (dx, sums)| {
            let (i, dy) = of_row(i);
            cpu.run(Scatter {
                op,
                i,
                dy: wides(dy),
                dy_ld,
                dx: wides_mut(dx),
                dx_ld,
                sums,
            });
        });
        return Ok(());
    }
    let items = chunks.zip(narrow_sums.chunks_mut(row)).collect();
    cpu.items(items, |i, (dx, sums)| {
        let (i, dy) = of_row(i);
        match patches.dtype {
            DType::Bf16 | DType::U16 => cpu.run(Scatter {
                op,
                i,
                dy: halves(dy),
                dy_ld,
                dx: halves_mut(dx),
                dx_ld,
                sums,
            }),
            DType::F64 | DType::F32 | DType::U32 => cpu.run(Scatter {
                op,
                i,
                dy,
                dy_ld,
                dx,
                dx_ld,
                sums,
            }),
        }
        for pixel in dx.chunks_mut(row_words) {
            clear_spare(patches.dtype, to.cols, pixel);
        }
    });
    Ok(())
}
