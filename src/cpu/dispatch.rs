//! Run-time choice of instruction set for portable code.
//!
//! A kernel is written once, as a plain loop in an `#[inline(always)]` body. [`Cpu::run`] compiles
//! that body under each level's instruction set and calls the copy that the machine can execute,
//! so the compiler vectorises it for AVX2 or AVX-512 and no kernel needs `unsafe`.
//!
//! ```
//! use fewbit::cpu::{Cpu, Kernel, Lanes};
//!
//! /// y[i] += a * x[i]
//! struct Axpy<'a> {
//!     a: f32,
//!     x: &'a [f32],
//!     y: &'a mut [f32],
//! }
//!
//! impl Kernel for Axpy<'_> {
//!     type Output = ();
//!
//!     #[inline(always)] // the body must be inlined into the copy made for each level
//!     fn run<L: Lanes>(self, lanes: L) {
//!         for (y, x) in self.y.iter_mut().zip(self.x) {
//!             *y = lanes.mul_add(self.a, *x, *y);
//!         }
//!     }
//! }
//!
//! let mut y = [1.0, 2.0];
//! Cpu::detect().run(Axpy { a: 2.0, x: &[10.0, 20.0], y: &mut y });
//! assert_eq!(y, [21.0, 42.0]);
//! ```
//!
//! Rules for a body:
//!
//! - Mark it, and every helper it calls in its inner loop, `#[inline(always)]`: a helper that stays
//!   a function of its own is compiled for the baseline.
//! - Give the loops slices of equal length (`zip`, `chunks_exact`), so that no bound is checked.
//! - Integer and bit operations give the same bits at every level, and so do single f32 operations.
//!   [`Lanes::mul_add`] does not: it is fused where the level has FMA. Kernels of the *exact* class
//!   use `*` and `+`, which Rust never fuses or reorders.

use super::portable;
use super::random;
use super::{Cpu, Isa};

/// A computation whose body is compiled once per instruction set; see the [module](self).
pub trait Kernel {
    /// What the computation returns.
    type Output;

    /// The body. Implementations must be `#[inline(always)]`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Sixteen chains of sixteen lanes.
pub type Chains<T> = [[T; 16]; 16];

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// Proof that the machine has one level's instructions, and the few operations that plain loops
/// do not compile well to.
///
/// Sealed: values exist only for levels that were detected.
pub trait Lanes: Copy + Send + Sync + Sealed {
    /// Whether [`Lanes::mul_add`] rounds once (a fused multiply-add).
    const FMA: bool;

    /// Whether vectors are so wide that [`Lanes::columns`] and [`Lanes::dots_of_rows`] are the fast way.
    const WIDE: bool = false;

    /// Runs `kernel` compiled for this level.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// `a * b + c`, rounded once if [`Lanes::FMA`], else after the product and after the sum.
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // Without the instruction `f32::mul_add` is a library call, hundreds of times slower.
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }

    /// Transposes four rows of eight words into eight rows of four.
    #[inline(always)]
    fn transpose4x8(self, rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
        portable::transpose4x8(rows)
    }

    /// The largest of each `B` consecutive values (a multiple of 8), all of which are below 2^31 once `mask` is
    /// applied.
    #[inline(always)]
    fn block_maxima<const B: usize>(self, values: &[u32], mask: u32, maxima: &mut [u32]) {
        for (max, values) in maxima.iter_mut().zip(values.as_chunks::<B>().0) {
            // Signed, because the oldest instruction sets have no unsigned maximum.
            let values = values.iter().map(|&value| (value & mask).cast_signed());
            *max = values.fold(0, i32::max).cast_unsigned();
        }
    }

    /// Fills `B` elements (a multiple of 8).
    #[inline(always)]
    fn fill<const B: usize>(self, out: &mut [f32; B], value: f32) {
        out.fill(value);
    }

    /// Sixteen codes of `bits` bits (2 to 16) each, the first of them in the lowest bits of `bytes`.
    #[inline(always)]
    fn unpack(self, bytes: &[u8; 32], bits: u32, codes: &mut [u32; 16]) {
        portable::unpack(bytes, bits, codes);
    }

    /// Asks for memory that is going to be read.
    #[inline(always)]
    fn prefetch(self, _: &[u32]) {}

    /// The integer part of `x`, which is not negative, or of `limit`, which is below 2^23, where `x` is a NaN or
    /// larger.
    #[inline(always)]
    fn truncate(self, x: f32, limit: f32) -> u32 {
        portable::truncate(x, limit)
    }

    /// Threefry4x32-20 over `N` counters side by side, in place: lane i of the four words is counter i. `N` is a
    /// multiple of 32.
    #[inline(always)]
    fn threefry<const N: usize>(self, seed: u64, counters: &mut [[u32; N]; 4]) {
        random::threefry_lanes(seed, counters);
    }

    /// Threefry4x32-20 of `counter` and of the `N - 1` that follow it in its first word, which does not wrap, block
    /// by block. `N` is a multiple of 32.
    #[inline(always)]
    fn threefry_blocks<const N: usize>(self, seed: u64, counter: [u32; 4], out: &mut [[u32; 4]; N]) {
        random::threefry_blocks(self, seed, counter, out);
    }

    /// Sums of products of `row` with each of the first `S` of `vectors`, which follow one another
    /// and are as long as `row`. Each sum is kept in `U` vector registers where that applies.
    ///
    /// # Panics
    /// If `vectors` is shorter than `S` rows.
    #[inline(always)]
    fn dots<V: Value, const S: usize, const U: usize>(self, row: &[V], vectors: &[f32]) -> [f32; S] {
        portable::dots(self, row, vectors)
    }

    /// Sums of products of each of `R` rows with each of the first `S` of `vectors`, which follow one another and are as
    /// long as a row. Where [`Lanes::WIDE`], the order of a sum depends on the rows' length alone.
    ///
    /// # Panics
    /// If the rows' lengths differ, or `vectors` is shorter than `S` of them.
    #[inline(always)]
    fn dots_of_rows<V: Value, const R: usize, const S: usize>(
        self,
        rows: [&[V]; R],
        vectors: &[f32],
    ) -> [[f32; S]; R] {
        rows.map(|row| self.dots::<V, S, 1>(row, vectors))
    }

    /// Writes at most sixteen rows as columns: word i of row r becomes `out[i * stride + r]`, and where there is no row
    /// r below sixteen, zero. A word is an f32; a bf16 widened; or, if `PAIRS`, two bf16, the first in the low half and
    /// the second of an odd last one zero.
    ///
    /// # Panics
    /// If there are more rows, their lengths differ, or `out` is too short.
    #[inline(always)]
    fn columns<V: Value, const PAIRS: bool>(self, rows: &[&[V]], out: &mut [u32], stride: usize) {
        portable::columns::<V, PAIRS>(rows, out, stride);
    }

    /// `steps` times `x <- x * factor + summand`, in every lane of sixteen independent chains: the rate of
    /// multiply-adds when nothing else is in the way.
    #[inline(always)]
    fn multiply_add_chains(self, x: &mut Chains<f32>, steps: u32, factor: f32, summand: f32) {
        for _ in 0..steps {
            for x in x.iter_mut().flatten() {
                *x = self.mul_add(*x, factor, summand);
            }
        }
    }

    /// `steps` times `x <- (x ^ mask) + odd`, likewise: the rate of integer operations.
    #[inline(always)]
    fn integer_chains(self, x: &mut Chains<u32>, steps: u32, mask: u32, odd: u32) {
        for _ in 0..steps {
            for x in x.iter_mut().flatten() {
                *x = (*x ^ mask).wrapping_add(odd);
            }
        }
    }

    /// Sum of `values[i] * x[columns[i]]` over one sparse row, or `None` if a column is outside `x`.
    ///
    /// The slices have equal lengths (the shorter one counts).
    #[inline(always)]
    fn sparse_dot<V: Value, I: Index>(self, values: &[V], columns: &[I], x: &[f32]) -> Option<f32> {
        portable::sparse_dot(self, values, columns, x)
    }
}

/// An element type that kernels read as f32: `f32` itself, or `u16` holding bf16 bits.
pub trait Value: Copy + Send + Sync + bytemuck::Pod + Sealed {
    /// Whether the type is bf16 bits.
    const BF16: bool;
    /// The value, exactly.
    fn widen(self) -> f32;
}

/// A column index of a sparse matrix: `u32` or `u16`.
pub trait Index: Copy + Send + Sync + bytemuck::Pod + Sealed {
    /// Whether the type is 16 bits wide.
    const NARROW: bool;
    /// The index as a position.
    fn at(self) -> usize;
}

impl Sealed for f32 {}
impl Sealed for u16 {}
impl Sealed for u32 {}

impl Value for f32 {
    const BF16: bool = false;
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Value for u16 {
    const BF16: bool = true;
    #[inline(always)]
    fn widen(self) -> f32 {
        crate::format::bf16::widen(self)
    }
}

impl Index for u32 {
    const NARROW: bool = false;
    #[inline(always)]
    fn at(self) -> usize {
        self as usize
    }
}

impl Index for u16 {
    const NARROW: bool = true;
    #[inline(always)]
    fn at(self) -> usize {
        usize::from(self)
    }
}

impl Cpu {
    /// Runs `kernel` on the calling thread, compiled for this device's level.
    #[inline]
    pub fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        match self.isa {
            Isa::Portable(lanes) => lanes.call(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(lanes) => lanes.call(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(lanes) => lanes.call(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16(lanes) => lanes.base().call(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(lanes) => lanes.call(kernel),
        }
    }
}
