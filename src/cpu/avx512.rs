//! AVX-512 and its bf16 instructions. Everything `unsafe` about them is here.

use std::arch::x86_64::{
    __m512, __m512bh, __m512d, __m512i, _mm512_dpbf16_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd,
    _mm512_storeu_ps,
};

use super::gemm::{MicroKernel, Tile, micro_kernel};
use super::simd::{Kernel, Simd};

struct Avx512;

impl Simd for Avx512 {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn mul_add_f64(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

/// Runs a kernel compiled for AVX-512 F, BW, DQ and VL; `Cpu` makes this level only after detecting them.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn compiled<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }
    // SAFETY: a `Cpu` of this level exists only where these AVX-512 sets, AVX2 and FMA were detected; every
    // processor with them has the bit-manipulation instructions.
    unsafe { compiled(kernel) }
}

micro_kernel! {
    /// f32, 8 x 48: 24 accumulators, three rows of B, one of A.
    F32x8x48, f32, f32, [8, 3, 16], "avx512f", __m512,
    |a| _mm512_set1_ps(*a), _mm512_loadu_ps, _mm512_storeu_ps,
    |a, b, sum| _mm512_fmadd_ps(a, b, sum), 1
}

micro_kernel! {
    /// f64, 8 x 24.
    F64x8x24, f64, f64, [8, 3, 8], "avx512f", __m512d,
    |a| _mm512_set1_pd(*a), _mm512_loadu_pd, _mm512_storeu_pd,
    |a, b, sum| _mm512_fmadd_pd(a, b, sum), 1
}

/// bf16, 8 x 48, two k a step: each packed element is a pair of bf16 along k, the lower one first.
pub(super) struct Bf16x8x48;

impl MicroKernel for Bf16x8x48 {
    type Element = u32;
    type Sum = f32;
    const MR: usize = 8;
    const NR: usize = 48;
    const STEP: usize = 2;

    fn run(a: &[u32], b: &[u32], tile: Tile<'_, f32>) {
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn compiled(a: &[u32], b: &[u32], mut tile: Tile<'_, f32>) {
            let pairs = |bits: __m512i| -> __m512bh {
                // SAFETY: both are 512 bits without invalid patterns.
                unsafe { std::mem::transmute(bits) }
            };
            let mut sums: [[__m512; 3]; 8] = std::array::from_fn(|i| {
                let row = &tile.row(i)[..48];
                // SAFETY: the slice above holds every lane that is loaded.
                std::array::from_fn(|j| unsafe { _mm512_loadu_ps(row.as_ptr().add(16 * j)) })
            });
            for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(48)) {
                let b: [__m512bh; 3] = std::array::from_fn(|j| {
                    // SAFETY: the chunk holds every lane that is loaded.
                    pairs(unsafe { _mm512_loadu_si512(b.as_ptr().add(16 * j).cast()) })
                });
                for (sums, &a) in sums.iter_mut().zip(a) {
                    let a = pairs(_mm512_set1_epi32(a.cast_signed()));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = _mm512_dpbf16_ps(*sum, a, b);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let row = &mut tile.row(i)[..48];
                for (j, sum) in sums.iter().enumerate() {
                    // SAFETY: the slice above holds every lane that is stored.
                    unsafe { _mm512_storeu_ps(row.as_mut_ptr().add(16 * j), *sum) }
                }
            }
        }
        // SAFETY: `gemm` takes this kernel only for the level whose detection includes avx512bf16.
        unsafe { compiled(a, b, tile) }
    }
}
