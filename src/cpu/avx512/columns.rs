//! Rows of words to columns, sixteen at a time.

use std::arch::x86_64::*;

use crate::cpu::dispatch::Value;

/// See [`Lanes::columns`](crate::cpu::Lanes::columns).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn columns<V: Value, const PAIRS: bool>(rows: &[&[V]], out: &mut [u32], stride: usize) {
    let len = rows.first().map_or(0, |row| row.len());
    let each = if PAIRS { 2 } else { 1 };
    let depth = len.div_ceil(each);
    assert!(
        rows.len() <= 16 && rows.iter().all(|row| row.len() == len),
        "rows of one length, sixteen at most"
    );
    assert!(
        depth == 0 || out.len() >= (depth - 1) * stride + 16,
        "room for the columns"
    );
    let whole = if rows.len() == 16 { len / (16 * each) } else { 0 };
    for block in 0..depth.div_ceil(16) {
        let first = block * 16;
        let mut x = [_mm512_setzero_si512(); 16];
        if block < whole {
            for (x, row) in x.iter_mut().zip(rows) {
                // SAFETY: sixteen words from `first` on lie in the row.
                *x = unsafe { load::<V, PAIRS>(row.as_ptr().add(first * each)) };
            }
        } else {
            let left = (len - first * each).min(16 * each);
            let mask = u32::MAX >> (32 - left);
            for (x, row) in x.iter_mut().zip(rows) {
                // SAFETY: the mask is of elements that the row has.
                *x = unsafe { load_some::<V, PAIRS>(row.as_ptr().add(first * each), mask) };
            }
        }
        let steps = (depth - first).min(16);
        for (i, x) in transpose(x).into_iter().take(steps).enumerate() {
            // SAFETY: sixteen words from there on lie in `out` (asserted).
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().add((first + i) * stride).cast(), x) }
        }
    }
}

/// Sixteen words of a row.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load<V: Value, const PAIRS: bool>(at: *const V) -> __m512i {
    // SAFETY: readable by the caller's promise; `V` is `u16` or `f32` as `BF16` says (sealed).
    unsafe {
        if V::BF16 && !PAIRS {
            _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))
        } else {
            _mm512_loadu_si512(at.cast())
        }
    }
}

/// Those of their elements that the mask has; the others are zero.
///
/// # Safety
/// These elements must be readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_some<V: Value, const PAIRS: bool>(at: *const V, mask: u32) -> __m512i {
    // SAFETY: readable by the caller's promise, and what the mask leaves out is not read; `V` as above.
    unsafe {
        if V::BF16 {
            let halves = _mm512_maskz_loadu_epi16(mask, at.cast());
            match PAIRS {
                true => halves,
                false => _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(halves))),
            }
        } else {
            _mm512_maskz_loadu_epi32(mask as u16, at.cast())
        }
    }
}

/// Interleaving words, then pairs of them, leaves in quarter q of register 4 g + c column 4 q + c of rows 4 g to
/// 4 g + 3; the quarters of four such registers are a column.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(x: [__m512i; 16]) -> [__m512i; 16] {
    let mut fours = [_mm512_setzero_si512(); 16];
    for (x, four) in x.as_chunks::<4>().0.iter().zip(fours.as_chunks_mut::<4>().0) {
        let (ab, cd) = (
            _mm512_unpacklo_epi32(x[0], x[1]),
            _mm512_unpacklo_epi32(x[2], x[3]),
        );
        let (up, down) = (
            _mm512_unpackhi_epi32(x[0], x[1]),
            _mm512_unpackhi_epi32(x[2], x[3]),
        );
        *four = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(up, down),
            _mm512_unpackhi_epi64(up, down),
        ];
    }
    let mut out = [_mm512_setzero_si512(); 16];
    for c in 0..4 {
        let quarters = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        // Quarters 0 and 2, then 1 and 3, of two registers each.
        let even = [
            _mm512_shuffle_i32x4::<0x88>(quarters[0], quarters[1]),
            _mm512_shuffle_i32x4::<0x88>(quarters[2], quarters[3]),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xdd>(quarters[0], quarters[1]),
            _mm512_shuffle_i32x4::<0xdd>(quarters[2], quarters[3]),
        ];
        out[c] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        out[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        out[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        out[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    out
}
