//! Dropout on the CPU device: one draw for eight elements, many elements side by side.

use super::{Dropout, Kept};
use crate::cpu::chunks::{Cut, row, row_mut};
use crate::cpu::random::for_pieces;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::bf16::{self, halves, halves_mut};
use crate::kernels::shared::elements::{Wide, clear_spare, joined, wides, wides_mut};
use crate::tensor::{DType, View};

/// What kept elements are multiplied by, in both arithmetics.
#[derive(Clone, Copy)]
struct Scale {
    narrow: f32,
    wide: f64,
}

/// Bit patterns of one element.
trait Bits: Copy {
    const ZERO: Self;
    /// The product; a NaN is itself.
    fn scaled(self, scale: Scale) -> Self;
}

impl Bits for u32 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn scaled(self, scale: Scale) -> Self {
        match self & 0x7fff_ffff > 0x7f80_0000 {
            true => self,
            false => (f32::from_bits(self) * scale.narrow).to_bits(),
        }
    }
}

impl Bits for u16 {
    const ZERO: Self = 0;

    #[inline(always)]
    fn scaled(self, scale: Scale) -> Self {
        match self & 0x7fff > 0x7f80 {
            true => self,
            false => bf16::round_nearest((bf16::widen(self) * scale.narrow).to_bits()),
        }
    }
}

impl Bits for Wide {
    const ZERO: Self = [0; 2];

    #[inline(always)]
    fn scaled(self, scale: Scale) -> Self {
        let value = f64::from_bits(joined(self));
        if value.is_nan() {
            return self;
        }
        let bits = (value * scale.wide).to_bits();
        [bits as u32, (bits >> 32) as u32]
    }
}

/// One run of elements from logical index `first` on; without `x` the output's own.
struct Run<'a, T> {
    kept: &'a Kept,
    first: u64,
    x: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<T: Bits> Kernel for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { kept, first, x, y } = self;
        if kept.threshold == 0 {
            if let Some(x) = x {
                y.copy_from_slice(x);
            }
            return;
        }
        let scale = Scale {
            narrow: kept.scale as f32,
            wide: kept.scale,
        };
        let choose = |x: T, bits: u16| match u32::from(bits) >= kept.threshold {
            true => x.scaled(scale),
            false => T::ZERO,
        };
        for_pieces(lanes, &kept.draw, first, y.len(), |at, bits| {
            let y = &mut y[at..at + bits.len()];
            match x {
                None => {
                    for (y, &bits) in y.iter_mut().zip(bits) {
                        *y = choose(*y, bits);
                    }
                }
                Some(x) => {
                    for ((y, &x), &bits) in y.iter_mut().zip(&x[at..]).zip(bits) {
                        *y = choose(x, bits);
                    }
                }
            }
        });
    }
}

/// The words of the `cols` elements of row `r` of a chunk.
fn run<'a>(words: &'a [u32], view: &View, r: usize, cols: usize) -> &'a [u32] {
    &row(words, r, view.dtype, view.ld)[..view.dtype.words(cols as u64) as usize]
}

pub(crate) fn dropout(cpu: &Cpu, op: &Dropout, kept: &Kept, x: Option<&[u32]>, y: &mut [u32]) {
    let rounding = match kept.threshold {
        0 => Rounding::Nearest,
        _ => Rounding::Stochastic,
    };
    let cpu = &cpu.for_elements(op.rows * op.cols, rounding);
    let (from, to) = (op.x(), op.y());
    let cut = Cut::new(from.is_contiguous() && to.is_contiguous(), op.rows, op.cols);
    let sources = cut.read(x.unwrap_or(&[]), op.dtype, from.ld);
    let items: Vec<_> = sources.zip(cut.write(y, op.dtype, to.ld)).collect();
    cpu.items(items, |i, (x, y)| {
        for (r, base, cols) in cut.runs(i) {
            let first = base as u64;
            let x = (!op.in_place).then(|| run(x, &from, r, cols));
            let y = &mut row_mut(y, r, op.dtype, to.ld)[..op.dtype.words(cols as u64) as usize];
            match op.dtype {
                DType::F64 => cpu.run(Run {
                    kept,
                    first,
                    x: x.map(wides),
                    y: wides_mut(y),
                }),
                DType::Bf16 | DType::U16 => cpu.run(Run {
                    kept,
                    first,
                    x: x.map(|x| &halves(x)[..cols]),
                    y: &mut halves_mut(y)[..cols],
                }),
                DType::F32 | DType::U32 => cpu.run(Run { kept, first, x, y }),
            }
            clear_spare(op.dtype, cols, y);
        }
    });
}
