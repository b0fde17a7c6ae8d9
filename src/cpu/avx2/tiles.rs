//! The register tiles of blocked products.

use std::arch::x86_64::*;

use super::Avx2;
use crate::cpu::gemm::micro::{F32, F64, Micro};

macro_rules! micro {
    ($wrapper:ident, $tile:ident, $real:ty, $mr:literal, $vectors:literal, $width:literal,
     $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        impl Micro for $wrapper<Avx2> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = $mr;
            const NR: usize = $vectors * $width;

            #[inline]
            fn tile(self, a: &[$real], b: &[$real], _: usize, acc: &mut [$real], ld: usize, first: bool) {
                // SAFETY: the token in `self` proves AVX2 and FMA.
                unsafe { $tile(a, b, acc, ld, first) }
            }
        }

        #[target_feature(enable = "avx2,fma")]
        fn $tile(a: &[$real], b: &[$real], acc: &mut [$real], ld: usize, first: bool) {
            const NR: usize = $vectors * $width;
            let depth = a.len() / $mr;
            assert!(b.len() >= depth * NR && ld >= NR && acc.len() >= ($mr - 1) * ld + NR);
            let mut sums = [[$zero(); $vectors]; $mr];
            let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
            for _ in 0..depth {
                // SAFETY: `depth` steps of $mr and NR elements lie inside `a` and `b` (asserted).
                unsafe {
                    let mut vb = [$zero(); $vectors];
                    for (j, vb) in vb.iter_mut().enumerate() {
                        *vb = $load(pb.add(j * $width));
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let va = $splat(*pa.add(i));
                        for (sum, vb) in sums.iter_mut().zip(vb) {
                            *sum = $fma(va, vb, *sum);
                        }
                    }
                    pa = pa.add($mr);
                    pb = pb.add(NR);
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    // SAFETY: row `i < $mr`, column below NR: inside `acc` (asserted).
                    unsafe {
                        let out = acc.as_mut_ptr().add(i * ld + j * $width);
                        $store(out, if first { sum } else { $add($load(out), sum) });
                    }
                }
            }
        }
    };
}

// 6 x 2 vectors: 12 sums, 2 of B and 1 of A fill 15 of the 16 registers. (4 x 3 needs 16 and the
// compiler spills a sum in the inner loop: half the speed.)
micro!(
    F32,
    tile_f32,
    f32,
    6,
    2,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);
micro!(
    F64,
    tile_f64,
    f64,
    6,
    2,
    4,
    _mm256_setzero_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_set1_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd
);
