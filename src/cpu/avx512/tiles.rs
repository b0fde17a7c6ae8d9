//! The register tiles of blocked products: 8 rows of up to 3 vectors, so that 24 of the 32 registers are sums. The
//! last columns of B take a tile of one or two vectors, whose sums are the same.

use std::arch::x86_64::*;

use super::Avx512;
use crate::cpu::gemm::micro::{F32, F64, Micro};

macro_rules! micro {
    ($wrapper:ident, $tile:ident, $real:ty, $width:literal,
     $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        impl Micro for $wrapper<Avx512> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = 8;
            const NR: usize = 3 * $width;
            const STEP: usize = $width;

            #[inline]
            fn tile(self, a: &[$real], b: &[$real], width: usize, acc: &mut [$real], ld: usize, first: bool) {
                // SAFETY: the token in `self` proves AVX-512 F.
                unsafe {
                    match width / $width {
                        1 => $tile::<1>(a, b, acc, ld, first),
                        2 => $tile::<2>(a, b, acc, ld, first),
                        _ => $tile::<3>(a, b, acc, ld, first),
                    }
                }
            }
        }

        #[target_feature(enable = "avx512f")]
        fn $tile<const V: usize>(a: &[$real], b: &[$real], acc: &mut [$real], ld: usize, first: bool) {
            let nr = V * $width;
            let depth = a.len() / 8;
            assert!(b.len() >= depth * nr && ld >= nr && acc.len() >= 7 * ld + nr);
            let mut sums = [[$zero(); V]; 8];
            let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
            for _ in 0..depth {
                // SAFETY: `depth` steps of 8 and `nr` elements lie inside `a` and `b` (asserted).
                unsafe {
                    let mut vb = [$zero(); V];
                    for (j, vb) in vb.iter_mut().enumerate() {
                        *vb = $load(pb.add(j * $width));
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let va = $splat(*pa.add(i));
                        for (sum, vb) in sums.iter_mut().zip(vb) {
                            *sum = $fma(va, vb, *sum);
                        }
                    }
                    pa = pa.add(8);
                    pb = pb.add(nr);
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    // SAFETY: row `i < 8`, column below `nr`: inside `acc` (asserted).
                    unsafe {
                        let out = acc.as_mut_ptr().add(i * ld + j * $width);
                        $store(out, if first { sum } else { $add($load(out), sum) });
                    }
                }
            }
        }
    };
}

micro!(
    F32,
    tile_f32,
    f32,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);
micro!(
    F64,
    tile_f64,
    f64,
    8,
    _mm512_setzero_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_set1_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd
);
