//! The largest number of every window and its gradient: on the bits, image by image, the channels of a pixel beside one
//! another in a vector.

use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::bf16::{halves, halves_mut};
use crate::kernels::shared::elements::{Wide, clear_spare, joined, wides, wides_mut};
use crate::kernels::{MaxPool, MaxPoolGrad};
use crate::tensor::DType;

/// Bit patterns of one element.
trait Bits: Copy {
    const ZERO: Self;
    type Key: Copy + Ord;
    /// Ordered as the numbers are: zeros are equal, and a NaN is above all.
    fn key(self) -> Self::Key;
}

macro_rules! bits {
    ($bits:ty, $sign:literal, $infinity:literal) => {
        impl Bits for $bits {
            const ZERO: Self = 0;
            type Key = $bits;

            #[inline(always)]
            fn key(self) -> $bits {
                let magnitude = self & !$sign;
                let ordered = match self & $sign {
                    0 => self | $sign,
                    _ if magnitude == 0 => $sign,
                    _ => !self,
                };
                match magnitude > $infinity {
                    true => <$bits>::MAX,
                    false => ordered,
                }
            }
        }
    };
}

bits!(u32, 0x8000_0000, 0x7f80_0000);
bits!(u16, 0x8000, 0x7f80);
bits!(u64, 0x8000_0000_0000_0000, 0x7ff0_0000_0000_0000);

impl Bits for Wide {
    const ZERO: Self = [0; 2];
    type Key = u64;

    #[inline(always)]
    fn key(self) -> u64 {
        joined(self).key()
    }
}

/// The windows of an image: the first pixel of each, row by row.
fn windows(op: &MaxPool) -> impl Iterator<Item = usize> + use<> {
    let ([rows, cols], [down, right], width) = (op.pooled(), op.stride, op.width);
    (0..rows).flat_map(move |i| (0..cols).map(move |j| i * down * width + j * right))
}

/// The pixels of a window from its first on, row by row.
fn within(op: &MaxPool, first: usize) -> impl Iterator<Item = usize> + use<> {
    let ([rows, cols], width) = (op.window, op.width);
    (0..rows).flat_map(move |i| (0..cols).map(move |j| first + i * width + j))
}

/// One image.
struct Pool<'a, T> {
    op: &'a MaxPool,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Bits> Kernel for Pool<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { op, x, y } = self;
        let channels = op.channels;
        for (first, y) in windows(op).zip(y.chunks_exact_mut(channels)) {
            for start in blocks(channels) {
                let values = |pixel: usize| &x[pixel * op.x_ld + start..];
                let Some(mut best) = values(first).first_chunk::<BLOCK>().copied() else {
                    continue;
                };
                for pixel in within(op, first).skip(1) {
                    if let Some(values) = values(pixel).first_chunk::<BLOCK>() {
                        best = std::array::from_fn(|i| higher(values[i], best[i]));
                    }
                }
                if let Some(y) = y[start..].first_chunk_mut::<BLOCK>() {
                    *y = best;
                }
            }
            if channels >= BLOCK {
                continue;
            }
            y.copy_from_slice(&x[first * op.x_ld..][..channels]);
            for pixel in within(op, first).skip(1) {
                let x = &x[pixel * op.x_ld..][..channels];
                for (best, &x) in y.iter_mut().zip(x) {
                    *best = higher(x, *best);
                }
            }
        }
    }
}

/// The larger of two numbers, of equal ones the second.
#[inline(always)]
fn higher<T: Bits>(x: T, best: T) -> T {
    if x.key() > best.key() { x } else { best }
}

/// Channels that are taken together: a few instructions, whatever they are.
const BLOCK: usize = 16;

/// Where blocks of channels start. The last ends with the channels, and may do again what the one before did; none where
/// there are fewer channels than a block has.
fn blocks(channels: usize) -> impl Iterator<Item = usize> {
    let count = if channels < BLOCK {
        0
    } else {
        channels.div_ceil(BLOCK)
    };
    (0..count).map(move |block| (block * BLOCK).min(channels - BLOCK))
}

/// The gradient of one image. `at` has room for a pixel of each channel.
struct Unpool<'a, X, T> {
    op: &'a MaxPoolGrad,
    x: &'a [X],
    dy: &'a [T],
    dx: &'a mut [T],
    at: &'a mut [u32],
}

impl<X: Bits, T: Bits> Kernel for Unpool<'_, X, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { op, x, dy, dx, at } = self;
        let (pool, channels) = (&op.pool, op.pool.channels);
        // Blocks write every pixel of a window: where windows leave none out, none is cleared first.
        let [[rows, cols], [down, right]] = [pool.pooled(), pool.window];
        let covered = pool.stride == pool.window && [rows * down, cols * right] == [pool.height, pool.width];
        if channels < BLOCK || !covered {
            for pixel in 0..pool.pixels() {
                dx[pixel * op.dx_ld..][..channels].fill(T::ZERO);
            }
        }
        let pixel = |pixel: usize| &x[pixel * pool.x_ld..][..channels];
        for (first, dy) in windows(pool).zip(dy.chunks_exact(channels)) {
            for start in blocks(channels) {
                unpool(op, x, &dy[start..], dx, (first, start));
            }
            if channels >= BLOCK {
                continue;
            }
            at.fill(first as u32);
            for other in within(pool, first).skip(1) {
                for (channel, (at, value)) in at.iter_mut().zip(pixel(other)).enumerate() {
                    if value.key() > x[*at as usize * pool.x_ld + channel].key() {
                        *at = other as u32;
                    }
                }
            }
            for (channel, (&at, &dy)) in at.iter().zip(dy).enumerate() {
                dx[at as usize * op.dx_ld + channel] = dy;
            }
        }
    }
}

/// The gradient of a block of channels of one window. Every pixel of it is written: windows share none.
#[inline(always)]
fn unpool<X: Bits, T: Bits>(
    op: &MaxPoolGrad,
    x: &[X],
    dy: &[T],
    dx: &mut [T],
    (first, start): (usize, usize),
) {
    let pool = &op.pool;
    let values = |pixel: usize| x[pixel * pool.x_ld + start..].first_chunk::<BLOCK>();
    let (Some(values_first), Some(dy)) = (values(first), dy.first_chunk::<BLOCK>()) else {
        return;
    };
    let mut best = values_first.map(X::key);
    for pixel in within(pool, first).skip(1) {
        if let Some(values) = values(pixel) {
            best = std::array::from_fn(|i| values[i].key().max(best[i]));
        }
    }
    // The first that is as high has all of the gradient: to the next there is nothing left.
    let mut left = *dy;
    for pixel in within(pool, first) {
        let dx = dx[pixel * op.dx_ld + start..].first_chunk_mut::<BLOCK>();
        if let (Some(values), Some(dx)) = (values(pixel), dx) {
            let highest = |i: usize| values[i].key() == best[i];
            *dx = std::array::from_fn(|i| if highest(i) { left[i] } else { T::ZERO });
            left = std::array::from_fn(|i| if highest(i) { T::ZERO } else { left[i] });
        }
    }
}

/// The words of image `i`, to the end of the operand.
fn image(words: &[u32], i: usize, image_words: u64) -> &[u32] {
    words.get(i * image_words as usize..).unwrap_or_default()
}

pub(crate) fn max_pool(cpu: &Cpu, op: &MaxPool, x: &[u32], y: &mut [u32]) {
    if op.is_empty() {
        return;
    }
    let cpu = &cpu.for_elements(op.batch * op.pixels() * op.channels, Rounding::Nearest);
    let (from, to) = (op.x(), op.y());
    let words = from.row_words() * op.pixels() as u64;
    // What an operand's memory holds beyond its last image is not touched.
    let images = y.chunks_mut(to.row_words() as usize).take(op.batch);
    cpu.items(images.collect(), |i, y| {
        let x = image(x, i, words);
        let y = &mut y[..to.dtype.words(to.cols as u64) as usize];
        match op.dtype {
            DType::F64 => cpu.run(Pool {
                op,
                x: wides(x),
                y: wides_mut(y),
            }),
            DType::Bf16 | DType::U16 => cpu.run(Pool {
                op,
                x: halves(x),
                y: halves_mut(y),
            }),
            DType::F32 | DType::U32 => cpu.run(Pool { op, x, y }),
        }
        clear_spare(op.dtype, to.cols, y);
    });
}

pub(crate) fn max_pool_grad(cpu: &Cpu, op: &MaxPoolGrad, x: &[u32], dy: &[u32], dx: &mut [u32]) {
    let (pool, to) = (&op.pool, op.dx());
    if pool.is_empty() {
        return;
    }
    let cpu = &cpu.for_elements(pool.batch * pool.pixels() * pool.channels, Rounding::Nearest);
    let pixels = pool.pixels() as u64;
    let words = pool.x().row_words() * pixels;
    let images = dx.chunks_mut((to.row_words() * pixels) as usize).take(pool.batch);
    cpu.items(images.collect(), |i, dx| {
        let (x, dy) = (image(x, i, words), image(dy, i, op.dy().row_words()));
        let at = &mut vec![0; pool.channels];
        match (pool.dtype, op.dtype) {
            (DType::F64, _) | (_, DType::F64) => cpu.run(Unpool {
                op,
                x: wides(x),
                dy: wides(dy),
                dx: wides_mut(dx),
                at,
            }),
            (DType::Bf16 | DType::U16, DType::Bf16 | DType::U16) => cpu.run(Unpool {
                op,
                x: halves(x),
                dy: halves(dy),
                dx: halves_mut(dx),
                at,
            }),
            (DType::F32 | DType::U32, DType::Bf16 | DType::U16) => cpu.run(Unpool {
                op,
                x,
                dy: halves(dy),
                dx: halves_mut(dx),
                at,
            }),
            (DType::Bf16 | DType::U16, DType::F32 | DType::U32) => cpu.run(Unpool {
                op,
                x: halves(x),
                dy,
                dx,
                at,
            }),
            (DType::F32 | DType::U32, DType::F32 | DType::U32) => cpu.run(Unpool { op, x, dy, dx, at }),
        }
        for row in dx.chunks_mut(to.row_words() as usize).take(pool.pixels()) {
            clear_spare(op.dtype, to.cols, row);
        }
    });
}
