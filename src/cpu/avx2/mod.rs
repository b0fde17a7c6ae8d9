//! AVX2 and FMA: 256-bit vectors on x86-64.

mod products;
mod tiles;
mod words;

use super::dispatch::{Chains, Index, Kernel, Lanes, Sealed, Value};
use std::arch::x86_64::*;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Avx2(()))
    }

    /// For the levels that include this one.
    ///
    /// # Safety
    /// The machine must have the features that [`Avx2::detect`] asks for.
    pub(super) unsafe fn assume() -> Self {
        Avx2(())
    }
}

impl Sealed for Avx2 {}

impl Lanes for Avx2 {
    const FMA: bool = true;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        fn inner<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: `self` exists only where `detect` found these features.
        unsafe { inner(self, kernel) }
    }

    #[inline(always)]
    fn multiply_add_chains(self, x: &mut Chains<f32>, steps: u32, factor: f32, summand: f32) {
        #[target_feature(enable = "avx2,fma")]
        fn inner(x: &mut Chains<f32>, steps: u32, factor: f32, summand: f32) {
            let (factor, summand) = (_mm256_set1_ps(factor), _mm256_set1_ps(summand));
            // Eight halves of chains at a time: with the constants they fit the sixteen registers.
            for half in [0, 8] {
                for chains in x.chunks_exact_mut(8) {
                    let Ok(chains) = <&mut [[f32; 16]; 8]>::try_from(chains) else {
                        return;
                    };
                    // SAFETY: half a chain is eight lanes: 32 readable and writable bytes.
                    let mut v = chains
                        .each_ref()
                        .map(|x| unsafe { _mm256_loadu_ps(x[half..].as_ptr()) });
                    for _ in 0..steps {
                        for v in &mut v {
                            *v = _mm256_fmadd_ps(*v, factor, summand);
                        }
                    }
                    for (x, v) in chains.iter_mut().zip(v) {
                        // SAFETY: as above.
                        unsafe { _mm256_storeu_ps(x[half..].as_mut_ptr(), v) }
                    }
                }
            }
        }
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { inner(x, steps, factor, summand) }
    }

    #[inline(always)]
    fn integer_chains(self, x: &mut Chains<u32>, steps: u32, mask: u32, odd: u32) {
        #[target_feature(enable = "avx2")]
        fn inner(x: &mut Chains<u32>, steps: u32, mask: u32, odd: u32) {
            let (mask, odd) = (
                _mm256_set1_epi32(mask.cast_signed()),
                _mm256_set1_epi32(odd.cast_signed()),
            );
            for half in [0, 8] {
                for chains in x.chunks_exact_mut(8) {
                    let Ok(chains) = <&mut [[u32; 16]; 8]>::try_from(chains) else {
                        return;
                    };
                    // SAFETY: half a chain is eight lanes: 32 readable and writable bytes.
                    let load = |x: &[u32; 16]| unsafe { _mm256_loadu_si256(x[half..].as_ptr().cast()) };
                    let mut v = chains.each_ref().map(load);
                    for _ in 0..steps {
                        for v in &mut v {
                            *v = _mm256_add_epi32(_mm256_xor_si256(*v, mask), odd);
                        }
                    }
                    for (x, v) in chains.iter_mut().zip(v) {
                        // SAFETY: as above.
                        unsafe { _mm256_storeu_si256(x[half..].as_mut_ptr().cast(), v) }
                    }
                }
            }
        }
        // SAFETY: `self` proves AVX2.
        unsafe { inner(x, steps, mask, odd) }
    }

    #[inline(always)]
    fn transpose4x8(self, rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
        // SAFETY: `self` proves AVX2.
        unsafe { words::transpose4x8(rows) }
    }

    #[inline(always)]
    fn block_maxima<const B: usize>(self, values: &[u32], mask: u32, maxima: &mut [u32]) {
        // SAFETY: `self` proves AVX2.
        unsafe { words::block_maxima::<B>(values, mask, maxima) }
    }

    #[inline(always)]
    fn fill<const B: usize>(self, out: &mut [f32; B], value: f32) {
        // SAFETY: `self` proves AVX2.
        unsafe { fill(out, value) }
    }

    #[inline(always)]
    fn unpack(self, bytes: &[u8; 32], bits: u32, codes: &mut [u32; 16]) {
        // SAFETY: `self` proves AVX2.
        unsafe { words::unpack(bytes, bits, codes) }
    }

    #[inline(always)]
    fn prefetch(self, words: &[u32]) {
        for line in words.chunks(16) {
            // SAFETY: it reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
        }
    }

    #[inline(always)]
    fn truncate(self, x: f32, limit: f32) -> u32 {
        // 2^23: of floats that are not negative the bits are in order, and those of NaNs and of negative ones above.
        let limit = limit.to_bits().min(0x4b00_0000);
        let x = f32::from_bits(x.to_bits().min(limit));
        // SAFETY: between 0 and 2^23.
        unsafe { x.to_int_unchecked::<i32>() }.cast_unsigned()
    }

    #[inline(always)]
    fn threefry<const N: usize>(self, seed: u64, counters: &mut [[u32; N]; 4]) {
        // SAFETY: `self` proves AVX2.
        unsafe { words::threefry(seed, counters) }
    }

    #[inline(always)]
    fn threefry_blocks<const N: usize>(self, seed: u64, counter: [u32; 4], out: &mut [[u32; 4]; N]) {
        // SAFETY: `self` proves AVX2.
        unsafe { words::threefry_blocks(seed, counter, out) }
    }

    #[inline(always)]
    fn dots<V: Value, const S: usize, const U: usize>(self, row: &[V], vectors: &[f32]) -> [f32; S] {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { products::dots::<V, S, U>(self, row, vectors) }
    }

    #[inline(always)]
    fn sparse_dot<V: Value, I: Index>(self, values: &[V], columns: &[I], x: &[f32]) -> Option<f32> {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { products::sparse_dot(self, values, columns, x) }
    }
}

/// By hand, because the compiler would rather scatter one value to each of many blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn fill<const B: usize>(out: &mut [f32; B], value: f32) {
    const { assert!(B.is_multiple_of(8)) };
    for out in out.chunks_exact_mut(8) {
        // SAFETY: eight values are 32 writable bytes.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_set1_ps(value)) }
    }
}
