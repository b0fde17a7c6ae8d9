//! NEON: 128-bit vectors on aarch64.

use super::dispatch::{Kernel, Lanes, Sealed};
use super::gemm::micro::{F32, F64, Micro};
use std::arch::aarch64::*;

/// Proof that the machine has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }
}

impl Sealed for Neon {}

impl Lanes for Neon {
    const FMA: bool = true;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn inner<K: Kernel>(lanes: Neon, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: `self` exists only where `detect` found NEON.
        unsafe { inner(self, kernel) }
    }
}

macro_rules! micro {
    ($wrapper:ident, $tile:ident, $real:ty, $width:literal,
     $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident) => {
        impl Micro for $wrapper<Neon> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = 8;
            const NR: usize = 2 * $width;

            #[inline]
            fn tile(self, a: &[$real], b: &[$real], _: usize, acc: &mut [$real], ld: usize, first: bool) {
                // SAFETY: the token in `self` proves NEON.
                unsafe { $tile(a, b, acc, ld, first) }
            }
        }

        /// 8 rows of 2 vectors: 16 of the 32 registers are sums.
        #[target_feature(enable = "neon")]
        fn $tile(a: &[$real], b: &[$real], acc: &mut [$real], ld: usize, first: bool) {
            const NR: usize = 2 * $width;
            let depth = a.len() / 8;
            assert!(b.len() >= depth * NR && ld >= NR && acc.len() >= 7 * ld + NR);
            let mut sums = [[$splat(0.0); 2]; 8];
            let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
            for _ in 0..depth {
                // SAFETY: `depth` steps of 8 and NR elements lie inside `a` and `b` (asserted).
                unsafe {
                    let vb = [$load(pb), $load(pb.add($width))];
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let va = $splat(*pa.add(i));
                        for (sum, vb) in sums.iter_mut().zip(vb) {
                            *sum = $fma(*sum, va, vb);
                        }
                    }
                    pa = pa.add(8);
                    pb = pb.add(NR);
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    // SAFETY: row `i < 8`, column below NR: inside `acc` (asserted).
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
    4,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vfmaq_f32,
    vaddq_f32
);
micro!(
    F64,
    tile_f64,
    f64,
    2,
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vfmaq_f64,
    vaddq_f64
);
