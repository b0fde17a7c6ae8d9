//! The rectifier and its gradient: on the bits, eight bytes, four or two at a time.

use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::bf16::{halves, halves_mut};
use crate::kernels::shared::elements::{Wide, clear_spare, joined, wides, wides_mut};
use crate::kernels::{Relu, ReluGrad};
use crate::tensor::{DType, View};

/// Bit patterns of one element.
trait Bits: Copy {
    /// The number unless it is negative (or -0).
    fn rectified(self) -> Self;
    const ZERO: Self;
    /// Whether it is above zero, and no NaN.
    fn is_positive(self) -> bool;
}

macro_rules! bits {
    ($bits:ty, $zero:literal, $infinity:literal) => {
        impl Bits for $bits {
            #[inline(always)]
            fn rectified(self) -> Self {
                // From -0 to -Inf; above are the NaNs.
                match self.wrapping_sub($zero) <= $infinity {
                    true => 0,
                    false => self,
                }
            }

            const ZERO: Self = 0;

            #[inline(always)]
            fn is_positive(self) -> bool {
                // From 1 to +Inf.
                self.wrapping_sub(1) < $infinity
            }
        }
    };
}

bits!(u32, 0x8000_0000, 0x7f80_0000);
bits!(u16, 0x8000, 0x7f80);
bits!(u64, 0x8000_0000_0000_0000, 0x7ff0_0000_0000_0000);

fn split(bits: u64) -> Wide {
    [bits as u32, (bits >> 32) as u32]
}

impl Bits for Wide {
    #[inline(always)]
    fn rectified(self) -> Self {
        split(joined(self).rectified())
    }

    const ZERO: Self = [0; 2];

    #[inline(always)]
    fn is_positive(self) -> bool {
        joined(self).is_positive()
    }
}

/// One run of elements; without `x` the output's own.
struct Rectify<'a, T> {
    x: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<T: Bits> Kernel for Rectify<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let y = self.y;
        match self.x {
            None => y.iter_mut().for_each(|y| *y = y.rectified()),
            Some(x) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x.rectified()),
        }
    }
}

/// One run of elements; without `dy` the output's own.
struct Mask<'a, Y, T> {
    y: &'a [Y],
    dy: Option<&'a [T]>,
    dx: &'a mut [T],
}

/// The number where `y` is positive, else 0.
#[inline(always)]
fn where_positive<Y: Bits, T: Bits>(dy: T, y: Y) -> T {
    match y.is_positive() {
        true => dy,
        false => T::ZERO,
    }
}

impl<Y: Bits, T: Bits> Kernel for Mask<'_, Y, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { y, dy, dx } = self;
        match dy {
            None => {
                for (dx, &y) in dx.iter_mut().zip(y) {
                    *dx = where_positive(*dx, y);
                }
            }
            Some(dy) => {
                for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx = where_positive(dy, y);
                }
            }
        }
    }
}

/// The words of the `cols` elements of row `r` of a chunk; those of bf16 whose count is odd have a half to spare, which
/// the caller clears.
fn run<'a>(words: &'a [u32], view: &View, r: usize, cols: usize) -> &'a [u32] {
    &row(words, r, view.dtype, view.ld)[..view.dtype.words(cols as u64) as usize]
}

/// [`run`], to write to.
fn run_mut<'a>(words: &'a mut [u32], view: &View, r: usize, cols: usize) -> &'a mut [u32] {
    &mut row_mut(words, r, view.dtype, view.ld)[..view.dtype.words(cols as u64) as usize]
}

pub(crate) fn relu(cpu: &Cpu, op: &Relu, x: Option<&[u32]>, y: &mut [u32]) {
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let (from, to) = (op.x(), op.y());
    let cut = Cut::new(from.is_contiguous() && to.is_contiguous(), op.rows, op.cols);
    let sources = cut.read(x.unwrap_or(&[]), op.dtype, from.ld);
    let items: Vec<_> = sources.zip(cut.write(y, op.dtype, to.ld)).collect();
    cpu.items(items, |i, (x, y)| {
        for (r, _, cols) in cut.runs(i) {
            let x = (!op.in_place).then(|| run(x, &from, r, cols));
            let y = run_mut(y, &to, r, cols);
            match op.dtype {
                DType::F64 => cpu.run(Rectify {
                    x: x.map(wides),
                    y: wides_mut(y),
                }),
                DType::Bf16 | DType::U16 => cpu.run(Rectify {
                    x: x.map(halves),
                    y: halves_mut(y),
                }),
                DType::F32 | DType::U32 => cpu.run(Rectify { x, y }),
            }
            clear_spare(op.dtype, cols, y);
        }
    });
}

pub(crate) fn relu_grad(cpu: &Cpu, op: &ReluGrad, y: &[u32], dy: Option<&[u32]>, dx: &mut [u32]) {
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let (mask, from, to) = (op.y(), op.dy(), op.dx());
    let contiguous = [mask, from, to].iter().all(View::is_contiguous);
    let cut = Cut::new(contiguous, op.rows, op.cols);
    let masks = cut.read(y, op.y, mask.ld);
    let sources = cut.read(dy.unwrap_or(&[]), op.dtype, from.ld);
    let outputs = cut.write(dx, op.dtype, to.ld);
    let items: Vec<_> = masks.zip(sources).zip(outputs).collect();
    cpu.items(items, |i, ((y, dy), dx)| {
        for (r, _, cols) in cut.runs(i) {
            let y = run(y, &mask, r, cols);
            let dy = (!op.in_place).then(|| run(dy, &from, r, cols));
            let dx = run_mut(dx, &to, r, cols);
            match (op.y, op.dtype) {
                (DType::F64, _) | (_, DType::F64) => cpu.run(Mask {
                    y: wides(y),
                    dy: dy.map(wides),
                    dx: wides_mut(dx),
                }),
                (DType::Bf16 | DType::U16, DType::Bf16 | DType::U16) => cpu.run(Mask {
                    y: halves(y),
                    dy: dy.map(halves),
                    dx: halves_mut(dx),
                }),
                (DType::F32 | DType::U32, DType::Bf16 | DType::U16) => cpu.run(Mask {
                    y,
                    dy: dy.map(halves),
                    dx: halves_mut(dx),
                }),
                (DType::Bf16 | DType::U16, DType::F32 | DType::U32) => cpu.run(Mask { y: halves(y), dy, dx }),
                (DType::F32 | DType::U32, DType::F32 | DType::U32) => cpu.run(Mask { y, dy, dx }),
            }
            clear_spare(op.dtype, cols, dx);
        }
    });
}
