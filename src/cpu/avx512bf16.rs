//! AVX512_BF16: products of bf16 pairs added to f32 sums.

use super::avx512::{Avx512, totals};
use super::dispatch::Chains;
use super::gemm::micro::{InPlace, Micro, Pairs, Rows};
use std::arch::x86_64::*;

/// Proof that the machine has AVX512_BF16 and all that [`Avx512`] stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(Avx512);

impl Avx512Bf16 {
    pub(crate) fn detect() -> Option<Self> {
        if !is_x86_feature_detected!("avx512bf16") {
            return None;
        }
        Avx512::detect().map(Avx512Bf16)
    }

    /// The level below, for everything but products of two bf16 matrices.
    #[inline(always)]
    pub(crate) fn base(self) -> Avx512 {
        self.0
    }
}

impl Avx512Bf16 {
    /// `steps` times `x <- x + a0 * b0 + a1 * b1` in every lane of sixteen independent chains, with the two
    /// pairs of bf16 in the words `a` and `b`: the rate of bf16 products when nothing else is in the way.
    pub(crate) fn dot_chains(self, x: &mut Chains<f32>, steps: u32, a: u32, b: u32) {
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn inner(x: &mut Chains<f32>, steps: u32, a: u32, b: u32) {
            // SAFETY: a chain is sixteen lanes: 64 readable and writable bytes.
            let mut v = x.each_ref().map(|x| unsafe { _mm512_loadu_ps(x.as_ptr()) });
            let (a, b) = ([a; 16], [b; 16]);
            // SAFETY: both arrays hold sixteen words.
            let (a, b) = unsafe { (pairs(a.as_ptr()), pairs(b.as_ptr())) };
            for _ in 0..steps {
                for v in &mut v {
                    *v = _mm512_dpbf16_ps(*v, a, b);
                }
            }
            for (x, v) in x.iter_mut().zip(v) {
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(x.as_mut_ptr(), v) }
            }
        }
        // SAFETY: `self` proves AVX-512 F and AVX512_BF16.
        unsafe { inner(x, steps, a, b) }
    }
}

impl Avx512Bf16 {
    /// Sums of products of each of `R` rows with each of the first `S` of `vectors`, which follow one another and are as
    /// long as a row. The order of a sum depends on the rows' length alone.
    ///
    /// # Panics
    /// If the rows' lengths differ, or `vectors` is shorter than `S` of them.
    #[inline]
    pub(crate) fn dots_of_rows<const R: usize, const S: usize>(
        self,
        rows: [&[u16]; R],
        vectors: &[u16],
    ) -> [[f32; S]; R] {
        // SAFETY: `self` proves AVX-512 F and BW, and AVX512_BF16.
        unsafe { dots_of_rows(rows, vectors) }
    }
}

/// Each sum in one register; the tail is masked, and adds to the same lanes.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn dots_of_rows<const R: usize, const S: usize>(rows: [&[u16]; R], vectors: &[u16]) -> [[f32; S]; R] {
    let k = rows.first().map_or(0, |row| row.len());
    assert!(rows.iter().all(|row| row.len() == k), "rows of one length");
    let vectors = &vectors[..S * k];
    let mut sums = [[_mm512_setzero_ps(); S]; R];
    let mut at = 0;
    while at + 32 <= k {
        // SAFETY: `at + 32 <= k`, so sixteen words are readable in each row and in each of the S vectors.
        unsafe {
            let mut x = [pairs(vectors.as_ptr().add(at).cast()); S];
            for (s, x) in x.iter_mut().enumerate() {
                *x = pairs(vectors.as_ptr().add(s * k + at).cast());
            }
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = pairs(row.as_ptr().add(at).cast());
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = _mm512_dpbf16_ps(*sum, value, x);
                }
            }
        }
        at += 32;
    }
    if at < k {
        let mask = u32::MAX >> (32 - (k - at));
        // SAFETY: the mask is of elements before k, and what it leaves out is neither read nor other than zero;
        // both types are 64 bytes of any bits.
        unsafe {
            let some = |from: *const u16| {
                std::mem::transmute::<__m512i, __m512bh>(_mm512_maskz_loadu_epi16(mask, from.cast()))
            };
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = some(row.as_ptr().add(at));
                for (s, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbf16_ps(*sum, value, some(vectors.as_ptr().add(s * k + at)));
                }
            }
        }
    }
    totals(sums)
}

impl Micro for Pairs<Avx512Bf16> {
    /// Two consecutive k of one row (or column), the lower k in the low half.
    type Elem = u32;
    type Acc = f32;
    const MR: usize = 8;
    const NR: usize = 48;
    const STEP: usize = 16;
    const IN_PLACE: Option<InPlace<Self>> = Some(|_, a, steps, b, acc, ld, first| {
        // SAFETY: the token that was passed proves AVX-512 F and AVX512_BF16.
        unsafe {
            match b.len() / steps / 16 {
                1 => in_place::<1>(a, steps, b, acc, ld, first),
                2 => in_place::<2>(a, steps, b, acc, ld, first),
                _ => in_place::<3>(a, steps, b, acc, ld, first),
            }
        }
    });

    #[inline]
    fn tile(self, a: &[u32], b: &[u32], width: usize, acc: &mut [f32], ld: usize, first: bool) {
        // SAFETY: the token in `self` proves AVX-512 F and AVX512_BF16.
        unsafe {
            match width / 16 {
                1 => tile::<1>(a, b, acc, ld, first),
                2 => tile::<2>(a, b, acc, ld, first),
                _ => tile::<3>(a, b, acc, ld, first),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn tile<const V: usize>(a: &[u32], b: &[u32], acc: &mut [f32], ld: usize, first: bool) {
    let depth = a.len() / 8;
    assert!(b.len() >= depth * V * 16 && ld >= V * 16 && acc.len() >= 7 * ld + V * 16);
    let rows = std::array::from_fn(|i| a.as_ptr().wrapping_add(i));
    // SAFETY: steps of 8 and of V vectors lie inside `a` and `b`, and the sums inside `acc` (asserted).
    unsafe { sums::<V, 8>(rows, b.as_ptr(), depth, false, acc.as_mut_ptr(), ld, first) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn in_place<const V: usize>(a: Rows<'_>, depth: usize, b: &[u32], acc: &mut [f32], ld: usize, first: bool) {
    assert!(b.len() >= depth * V * 16 && ld >= V * 16 && acc.len() >= 7 * ld + V * 16);
    let len = a.width.min(depth * size_of::<u32>());
    // An odd last half is half a word: what follows it is another row's.
    let (whole, odd) = (len / size_of::<u32>(), !len.is_multiple_of(size_of::<u32>()));
    let rows = a.starts(len).map(<*const u8>::cast);
    // SAFETY: so many words lie in each row, and half a word after them if it is odd (`starts` asks for all of that);
    // they are `depth` at most, and so much of `b` and `acc` is there (asserted).
    unsafe { sums::<V, 1>(rows, b.as_ptr(), whole, odd, acc.as_mut_ptr(), ld, first) }
}

/// 8 rows of 3 vectors: 24 of the 32 registers are sums; fewer vectors for the last columns. A step of a row is
/// `ADVANCE` words after the one before; `odd`: after the last comes one whose second half counts as zero.
///
/// # Safety
/// `depth` steps, and half a word more if `odd`, must be readable from each of `rows` on, at any alignment, and as many
/// steps of V vectors from `b` on; eight rows of V vectors, `ld` apart, must be readable and writable at `acc`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn sums<const V: usize, const ADVANCE: usize>(
    rows: [*const u32; 8],
    b: *const u32,
    depth: usize,
    odd: bool,
    acc: *mut f32,
    ld: usize,
    first: bool,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; 8];
    for step in 0..depth {
        // SAFETY: readable by the caller's promise; __m512i and __m512bh are 64 bytes in which every bit pattern is
        // valid.
        unsafe {
            let b = b.add(step * V * 16);
            let mut vb = [pairs(b); V];
            for (j, vb) in vb.iter_mut().enumerate() {
                *vb = pairs(b.add(j * 16));
            }
            for (row, sums) in rows.iter().zip(&mut sums) {
                let word = row.add(step * ADVANCE).read_unaligned();
                let va: __m512bh = std::mem::transmute(_mm512_set1_epi32(word.cast_signed()));
                for (sum, vb) in sums.iter_mut().zip(vb) {
                    *sum = _mm512_dpbf16_ps(*sum, va, vb);
                }
            }
        }
    }
    if odd {
        // SAFETY: as above.
        unsafe {
            let b = b.add(depth * V * 16);
            for (row, sums) in rows.iter().zip(&mut sums) {
                let half = row.add(depth * ADVANCE).cast::<u16>().read_unaligned();
                let va: __m512bh = std::mem::transmute(_mm512_set1_epi32(i32::from(half)));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_dpbf16_ps(*sum, va, pairs(b.add(j * 16)));
                }
            }
        }
    }
    for (i, sums) in sums.into_iter().enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: readable and writable by the caller's promise.
            unsafe {
                let out = acc.add(i * ld + j * 16);
                let value = if first {
                    sum
                } else {
                    _mm512_add_ps(_mm512_loadu_ps(out), sum)
                };
                _mm512_storeu_ps(out, value);
            }
        }
    }
}

/// Sixteen words of bf16 pairs.
///
/// # Safety
/// Sixteen words must be readable at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pairs(at: *const u32) -> __m512bh {
    // SAFETY: readable by the caller's promise; both types are 64 bytes of any bits.
    unsafe { std::mem::transmute(_mm512_loadu_si512(at.cast())) }
}
