//! The rectifier and its gradient: on the bits, four bytes or two at a time.

use super::reference;
use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::bf16::{halves, halves_mut};
use crate::kernels::{Relu, ReluGrad};
use crate::op::rows;
use crate::tensor::DType;

/// Bit patterns of one element.
trait Bits: Copy {
    /// The number unless it is negative (or -0).
    fn rectified(self) -> Self;
    /// The number where `y` is positive, else 0.
    fn where_positive(self, y: Self) -> Self;
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

            #[inline(always)]
            fn where_positive(self, y: Self) -> Self {
                // From 1 to +Inf.
                match y.wrapping_sub(1) < $infinity {
                    true => self,
                    false => 0,
                }
            }
        }
    };
}

bits!(u32, 0x8000_0000, 0x7f80_0000);
bits!(u16, 0x8000, 0x7f80);

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
struct Mask<'a, T> {
    y: &'a [T],
    dy: Option<&'a [T]>,
    dx: &'a mut [T],
}

impl<T: Bits> Kernel for Mask<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { y, dy, dx } = self;
        match dy {
            None => {
                for (dx, &y) in dx.iter_mut().zip(y) {
                    *dx = dx.where_positive(y);
                }
            }
            Some(dy) => {
                for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx = dy.where_positive(y);
                }
            }
        }
    }
}

/// Words of a run of `cols` elements; those of bf16 whose count is odd have a half to spare, which the caller
/// clears.
fn words(dtype: DType, cols: usize) -> usize {
    dtype.words(cols as u64) as usize
}

fn clear_spare(dtype: DType, cols: usize, words: &mut [u32]) {
    if dtype == DType::Bf16
        && cols % 2 == 1
        && let Some(word) = words.get_mut(cols / 2)
    {
        *word &= 0xffff;
    }
}

pub(crate) fn relu(cpu: &Cpu, op: &Relu, x: Option<&[u32]>, y: &mut [u32]) {
    if op.dtype == DType::F64 {
        return reference::relu(op, x, y);
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let x_ld = if op.in_place { op.y_ld } else { op.x_ld };
    let contiguous = rows::contiguous(op.rows, op.cols, &[(op.dtype, x_ld), (op.dtype, op.y_ld)]);
    let cut = Cut::new(contiguous, op.rows, op.cols);
    let sources = cut.read(x.unwrap_or(&[]), op.dtype, x_ld);
    let items: Vec<_> = sources.zip(cut.write(y, op.dtype, op.y_ld)).collect();
    cpu.items(items, |i, (x, y)| {
        for (r, _, cols) in cut.runs(i) {
            let len = words(op.dtype, cols);
            let x = (!op.in_place).then(|| &row(x, r, op.dtype, x_ld)[..len]);
            let y = &mut row_mut(y, r, op.dtype, op.y_ld)[..len];
            match op.dtype {
                DType::Bf16 => cpu.run(Rectify {
                    x: x.map(halves),
                    y: halves_mut(y),
                }),
                _ => cpu.run(Rectify { x, y }),
            }
            clear_spare(op.dtype, cols, y);
        }
    });
}

pub(crate) fn relu_grad(cpu: &Cpu, op: &ReluGrad, y: &[u32], dy: Option<&[u32]>, dx: &mut [u32]) {
    if op.dtype == DType::F64 {
        return reference::relu_grad(op, y, dy, dx);
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let dy_ld = if op.in_place { op.dx_ld } else { op.dy_ld };
    let lds = [op.y_ld, dy_ld, op.dx_ld].map(|ld| (op.dtype, ld));
    let cut = Cut::new(rows::contiguous(op.rows, op.cols, &lds), op.rows, op.cols);
    let masks = cut.read(y, op.dtype, op.y_ld);
    let sources = cut.read(dy.unwrap_or(&[]), op.dtype, dy_ld);
    let outputs = cut.write(dx, op.dtype, op.dx_ld);
    let items: Vec<_> = masks.zip(sources).zip(outputs).collect();
    cpu.items(items, |i, ((y, dy), dx)| {
        for (r, _, cols) in cut.runs(i) {
            let len = words(op.dtype, cols);
            let y = &row(y, r, op.dtype, op.y_ld)[..len];
            let dy = (!op.in_place).then(|| &row(dy, r, op.dtype, dy_ld)[..len]);
            let dx = &mut row_mut(dx, r, op.dtype, op.dx_ld)[..len];
            match op.dtype {
                DType::Bf16 => cpu.run(Mask {
                    y: halves(y),
                    dy: dy.map(halves),
                    dx: halves_mut(dx),
                }),
                _ => cpu.run(Mask { y, dy, dx }),
            }
            clear_spare(op.dtype, cols, dx);
        }
    });
}
