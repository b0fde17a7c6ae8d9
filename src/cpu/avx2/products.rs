//! Sums of products along rows, dense and sparse.

use std::arch::x86_64::*;

use super::Avx2;
use crate::cpu::dispatch::{Index, Value};
use crate::cpu::portable;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sparse_dot<V: Value, I: Index>(
    lanes: Avx2,
    values: &[V],
    columns: &[I],
    x: &[f32],
) -> Option<f32> {
    let Some(last) = x.len().checked_sub(1) else {
        return portable::sparse_dot(lanes, values, columns, x);
    };
    let len = values.len().min(columns.len());
    let mut sum = _mm256_setzero_ps();
    let mut k = 0;
    while k + 8 <= len {
        // So many at a time that they are still in the first-level cache when they are used.
        let end = (k + CHECKED).min(len / 8 * 8);
        if !within(&columns[k..end], last) {
            return None;
        }
        while k < end {
            // SAFETY: `k + 8 <= len`, so eight values and eight indices are readable, and these are at most `last`.
            unsafe {
                let value = load8(values.as_ptr().add(k));
                sum = _mm256_fmadd_ps(value, pick8(x.as_ptr(), columns.as_ptr().add(k)), sum);
            }
            k += 8;
        }
    }
    let tail = portable::sparse_dot(lanes, &values[k..len], &columns[k..len], x)?;
    Some(sum8(sum) + tail)
}

/// Indices that are checked before any is used.
const CHECKED: usize = 1024;

/// Whether all indices, a multiple of eight, are at most `last`. By the largest in each lane: a comparison for every
/// eight would be a seventh of a product's time.
#[inline]
#[target_feature(enable = "avx2")]
fn within<I: Index>(indices: &[I], last: usize) -> bool {
    debug_assert!(indices.len().is_multiple_of(8));
    // A limit above every index takes what `I` has at most: no lane exceeds it.
    if I::NARROW {
        let last = u16::try_from(last).unwrap_or(u16::MAX).cast_signed();
        let last = _mm_set1_epi16(last);
        let mut most = last;
        for eight in indices.chunks_exact(8) {
            // SAFETY: eight indices of sixteen bits are sixteen readable bytes.
            most = _mm_max_epu16(most, unsafe { _mm_loadu_si128(eight.as_ptr().cast()) });
        }
        _mm_movemask_epi8(_mm_cmpeq_epi16(most, last)) == 0xffff
    } else {
        let last = u32::try_from(last).unwrap_or(u32::MAX).cast_signed();
        let last = _mm256_set1_epi32(last);
        let mut most = last;
        for eight in indices.chunks_exact(8) {
            // SAFETY: eight indices of 32 bits are 32 readable bytes.
            most = _mm256_max_epu32(most, unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) });
        }
        _mm256_movemask_epi8(_mm256_cmpeq_epi32(most, last)) == -1
    }
}

/// The values of `x` at eight indices, one load each: gather instructions take twice as long on AMD's processors.
/// Indices are read several at a time, in 64 bits.
///
/// # Safety
/// Eight indices must be readable at `indices`, and `x` must be readable at each of them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pick8<I: Index>(x: *const f32, indices: *const I) -> __m256 {
    // SAFETY: readable by the caller's promise; `I` is `u16` or `u32` as `NARROW` says (sealed), so eight indices are
    // two or four times 64 bits.
    unsafe {
        let words = indices.cast::<u64>();
        let word = |i| words.add(i).read_unaligned();
        let four = |i: [u64; 4]| {
            let at = |i: u64| _mm_load_ss(x.add(i as usize));
            let v = _mm_insert_ps::<0x10>(at(i[0]), at(i[1]));
            _mm_insert_ps::<0x30>(_mm_insert_ps::<0x20>(v, at(i[2])), at(i[3]))
        };
        let [low, high] = if I::NARROW {
            let split = |w: u64| [w & 0xffff, (w >> 16) & 0xffff, (w >> 32) & 0xffff, w >> 48];
            [four(split(word(0))), four(split(word(1)))]
        } else {
            let split = |a: u64, b: u64| [a & 0xffff_ffff, a >> 32, b & 0xffff_ffff, b >> 32];
            [four(split(word(0), word(1))), four(split(word(2), word(3)))]
        };
        _mm256_set_m128(high, low)
    }
}

/// Eight values as f32.
///
/// # Safety
/// Eight values must be readable at `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load8<V: Value>(at: *const V) -> __m256 {
    // SAFETY: readable by the caller's promise; `V` is `u16` or `f32` as `BF16` says (sealed).
    unsafe {
        if V::BF16 {
            let bits = _mm_loadu_si128(at.cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
        } else {
            _mm256_loadu_ps(at.cast())
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum8(v: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn dots<V: Value, const S: usize, const U: usize>(
    lanes: Avx2,
    row: &[V],
    vectors: &[f32],
) -> [f32; S] {
    let k = row.len();
    let vectors = &vectors[..S * k];
    let mut sums = [[_mm256_setzero_ps(); U]; S];
    let mut start = 0;
    while start + 8 * U <= k {
        for u in 0..U {
            let at = start + 8 * u;
            // SAFETY: `at + 8 <= k`, so eight values are readable in the row and in each of the S
            // vectors of length k.
            unsafe {
                let value = load8(row.as_ptr().add(at));
                for (s, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_loadu_ps(vectors.as_ptr().add(s * k + at));
                    sums[u] = _mm256_fmadd_ps(value, x, sums[u]);
                }
            }
        }
        start += 8 * U;
    }
    let mut out = [0.0; S];
    for (s, (out, sums)) in out.iter_mut().zip(sums).enumerate() {
        let tail = portable::dots::<_, _, 1>(lanes, &row[start..], &vectors[s * k + start..(s + 1) * k]);
        let mut sum = sums[0];
        for more in &sums[1..] {
            sum = _mm256_add_ps(sum, *more);
        }
        *out = sum8(sum) + tail[0];
    }
    out
}
