//! The register tiles of blocked products: 8 rows of up to 3 vectors, so that 24 of the 32 registers are sums. The
//! last columns of B take a tile of one or two vectors, whose sums are the same.

use std::arch::x86_64::*;

use super::Avx512;
use crate::cpu::gemm::micro::{F32, F64, InPlace, Micro, Rows};

macro_rules! micro {
    ($wrapper:ident, $tile:ident, $in_place:ident, $sums:ident, $real:ty, $width:literal,
     $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        impl Micro for $wrapper<Avx512> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = 8;
            const NR: usize = 3 * $width;
            const STEP: usize = $width;
            const IN_PLACE: Option<InPlace<Self>> = Some(|_, a, steps, b, acc, ld, first| {
                // SAFETY: the token that was passed proves AVX-512 F.
                unsafe {
                    match b.len() / steps / $width {
                        1 => $in_place::<1>(a, steps, b, acc, ld, first),
                        2 => $in_place::<2>(a, steps, b, acc, ld, first),
                        _ => $in_place::<3>(a, steps, b, acc, ld, first),
                    }
                }
            });

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
            let depth = a.len() / 8;
            assert!(b.len() >= depth * V * $width && ld >= V * $width && acc.len() >= 7 * ld + V * $width);
            let rows = std::array::from_fn(|i| a.as_ptr().wrapping_add(i));
            // SAFETY: steps of 8 and of V vectors lie inside `a` and `b`, and the sums inside `acc` (asserted).
            unsafe { $sums::<V, 8>(rows, b.as_ptr(), depth, acc.as_mut_ptr(), ld, first) }
        }

        #[target_feature(enable = "avx512f")]
        fn $in_place<const V: usize>(
            a: Rows<'_>,
            depth: usize,
            b: &[$real],
            acc: &mut [$real],
            ld: usize,
            first: bool,
        ) {
            assert!(b.len() >= depth * V * $width && ld >= V * $width && acc.len() >= 7 * ld + V * $width);
            let rows = a.starts(depth * size_of::<$real>()).map(<*const u8>::cast);
            // SAFETY: `depth` elements lie in each row (`starts` asks), and the rest inside `b` and `acc` (asserted).
            unsafe { $sums::<V, 1>(rows, b.as_ptr(), depth, acc.as_mut_ptr(), ld, first) }
        }

        /// Eight rows, a step `ADVANCE` elements after the one before.
        ///
        /// # Safety
        /// `depth` steps must be readable from each of `rows` on, at any alignment, and as many of V vectors from `b`
        /// on; eight rows of V vectors, `ld` apart, must be readable and writable at `acc`.
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $sums<const V: usize, const ADVANCE: usize>(
            rows: [*const $real; 8],
            b: *const $real,
            depth: usize,
            acc: *mut $real,
            ld: usize,
            first: bool,
        ) {
            let mut sums = [[$zero(); V]; 8];
            for step in 0..depth {
                // SAFETY: readable by the caller's promise.
                unsafe {
                    let b = b.add(step * V * $width);
                    let mut vb = [$zero(); V];
                    for (j, vb) in vb.iter_mut().enumerate() {
                        *vb = $load(b.add(j * $width));
                    }
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        let va = $splat(row.add(step * ADVANCE).read_unaligned());
                        for (sum, vb) in sums.iter_mut().zip(vb) {
                            *sum = $fma(va, vb, *sum);
                        }
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    // SAFETY: readable and writable by the caller's promise.
                    unsafe {
                        let out = acc.add(i * ld + j * $width);
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
    in_place_f32,
    sums_f32,
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
    in_place_f64,
    sums_f64,
    f64,
    8,
    _mm512_setzero_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_set1_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd
);
