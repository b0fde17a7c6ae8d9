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
    sums.map(|sums| sums.map(|sum| _mm512_reduce_add_ps(sum)))
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
