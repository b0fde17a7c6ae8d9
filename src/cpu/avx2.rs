//! AVX2 and FMA. Everything `unsafe` about them is here.

use std::arch::x86_64::{
    __m256, __m256d, _mm256_broadcast_sd, _mm256_broadcast_ss, _mm256_fmadd_pd, _mm256_fmadd_ps,
    _mm256_loadu_pd, _mm256_loadu_ps, _mm256_storeu_pd, _mm256_storeu_ps,
};

use super::gemm::{MicroKernel, Tile, micro_kernel};
use super::simd::{Kernel, Simd};

struct Avx2;

impl Simd for Avx2 {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn mul_add_f64(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

/// Runs a kernel compiled for AVX2 and FMA; `Cpu` makes this level only after detecting both.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn compiled<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }
    // SAFETY: a `Cpu` of this level exists only where AVX2 and FMA were detected; every processor with AVX2
    // has the bit-manipulation instructions of its generation (Haswell, Excavator).
    unsafe { compiled(kernel) }
}

micro_kernel! {
    /// f32, 6 x 16: twelve accumulators, two rows of B, one of A.
    F32x6x16, f32, f32, [6, 2, 8], "avx2,fma", __m256,
    |a| _mm256_broadcast_ss(a), _mm256_loadu_ps, _mm256_storeu_ps,
    |a, b, sum| _mm256_fmadd_ps(a, b, sum), 1
}

micro_kernel! {
    /// f64, 6 x 8.
    F64x6x8, f64, f64, [6, 2, 4], "avx2,fma", __m256d,
    |a| _mm256_broadcast_sd(a), _mm256_loadu_pd, _mm256_storeu_pd,
    |a, b, sum| _mm256_fmadd_pd(a, b, sum), 1
}
