//! Sums of products along rows.

use std::arch::x86_64::*;

use crate::cpu::dispatch::Value;

/// Each sum in one register, whatever R and S are: as many sums as rows and vectors hide the additions' latency. The
/// tail is masked, and adds to the same lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn dots_of_rows<V: Value, const R: usize, const S: usize>(
    rows: [&[V]; R],
    vectors: &[f32],
) -> [[f32; S]; R] {
    let k = rows.first().map_or(0, |row| row.len());
    assert!(rows.iter().all(|row| row.len() == k), "rows of one length");
    let vectors = &vectors[..S * k];
    let mut sums = [[_mm512_setzero_ps(); S]; R];
    let mut at = 0;
    while at + 16 <= k {
        // SAFETY: `at + 16 <= k`, so sixteen values are readable in each row and in each of the S vectors.
        unsafe {
            let mut x = [_mm512_setzero_ps(); S];
            for (s, x) in x.iter_mut().enumerate() {
                *x = _mm512_loadu_ps(vectors.as_ptr().add(s * k + at));
            }
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = load16(row.as_ptr().add(at));
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = _mm512_fmadd_ps(value, x, *sum);
                }
            }
        }
        at += 16;
    }
    if at < k {
        let mask = u16::MAX >> (16 - (k - at));
        // SAFETY: the mask is of values before k; the others are not read.
        unsafe {
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = load_some(row.as_ptr().add(at), mask);
                for (s, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_maskz_loadu_ps(mask, vectors.as_ptr().add(s * k + at));
                    *sum = _mm512_fmadd_ps(value, x, *sum);
                }
            }
        }
    }
    totals(sums)
}

/// The sum of each register's lanes, halves first, for four registers side by side.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::cpu) fn totals<const R: usize, const S: usize>(sums: [[__m512; S]; R]) -> [[f32; S]; R] {
    const { assert!((R * S).is_multiple_of(4)) };
    let mut out = [[0.0; S]; R];
    // Loops, because closures would stay functions of their own: what calls them has not these instructions.
    for first in (0..R * S).step_by(4) {
        let mut x = [_mm_setzero_ps(); 4];
        for (i, x) in x.iter_mut().enumerate() {
            let sum = sums[(first + i) / S][(first + i) % S];
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sum)));
            let half = _mm256_add_ps(_mm512_castps512_ps256(sum), high);
            *x = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
        }
        let (ab, cd) = (_mm_unpacklo_ps(x[0], x[1]), _mm_unpacklo_ps(x[2], x[3]));
        let (up, down) = (_mm_unpackhi_ps(x[0], x[1]), _mm_unpackhi_ps(x[2], x[3]));
        let even = _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movelh_ps(up, down));
        let odd = _mm_add_ps(_mm_movehl_ps(cd, ab), _mm_movehl_ps(down, up));
        let mut four = [0.0; 4];
        // SAFETY: four values are 16 writable bytes.
        unsafe { _mm_storeu_ps(four.as_mut_ptr(), _mm_add_ps(even, odd)) }
        for (i, total) in four.into_iter().enumerate() {
            out[(first + i) / S][(first + i) % S] = total;
        }
    }
    out
}

/// Sixteen values as f32.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load16<V: Value>(at: *const V) -> __m512 {
    // SAFETY: readable by the caller's promise; `V` is `u16` or `f32` as `BF16` says (sealed).
    unsafe {
        if V::BF16 {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        } else {
            _mm512_loadu_ps(at.cast())
        }
    }
}

/// Those that the mask has, and zeros.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_some<V: Value>(at: *const V, mask: u16) -> __m512 {
    // SAFETY: as above; what the mask leaves out is not read.
    unsafe {
        if V::BF16 {
            let halves = _mm512_maskz_loadu_epi16(u32::from(mask), at.cast());
            let bits = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(halves));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        } else {
            _mm512_maskz_loadu_ps(mask, at.cast())
        }
    }
}
