//! Maxima, random words and transpositions of integers.

use std::arch::x86_64::*;

use crate::cpu::random::{keys, threefry_rounds};

/// Eight blocks at a time: each is reduced to one register, and then registers are joined in pairs, three times over,
/// each time half as many with the lanes of twice as many blocks.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn block_maxima<const B: usize>(values: &[u32], mask: u32, maxima: &mut [u32]) {
    const { assert!(B.is_multiple_of(8)) };
    let (blocks, _) = values.as_chunks::<B>();
    let mut eights = maxima.chunks_exact_mut(8);
    let mut groups = blocks.chunks_exact(8);
    for (maxima, blocks) in (&mut eights).zip(&mut groups) {
        let mut x = [_mm256_setzero_si256(); 8];
        for (x, block) in x.iter_mut().zip(blocks) {
            *x = lane_maxima(block, mask);
        }
        let pair = |a, b| _mm256_max_epu32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let four = |a, b| _mm256_max_epu32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        // Each 128-bit half holds those of four blocks, in order.
        let low = four(pair(x[0], x[1]), pair(x[2], x[3]));
        let high = four(pair(x[4], x[5]), pair(x[6], x[7]));
        let max = _mm256_max_epu32(
            _mm256_permute2x128_si256::<0x20>(low, high),
            _mm256_permute2x128_si256::<0x31>(low, high),
        );
        // SAFETY: eight words are 32 writable bytes.
        unsafe { _mm256_storeu_si256(maxima.as_mut_ptr().cast(), max) }
    }
    for (max, block) in eights.into_remainder().iter_mut().zip(groups.remainder()) {
        let lanes = lane_maxima(block, mask);
        let half = _mm_max_epu32(
            _mm256_castsi256_si128(lanes),
            _mm256_extracti128_si256::<1>(lanes),
        );
        let half = _mm_max_epu32(half, _mm_shuffle_epi32::<0b00_00_11_10>(half));
        let half = _mm_max_epu32(half, _mm_shuffle_epi32::<0b00_00_00_01>(half));
        *max = _mm_cvtsi128_si32(half).cast_unsigned();
    }
}

/// In each of eight lanes, the largest of every eighth value.
#[inline]
#[target_feature(enable = "avx2")]
fn lane_maxima<const B: usize>(values: &[u32; B], mask: u32) -> __m256i {
    let mask = _mm256_set1_epi32(mask.cast_signed());
    let mut max = _mm256_setzero_si256();
    for values in values.chunks_exact(8) {
        // SAFETY: eight words are 32 readable bytes.
        let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
        max = _mm256_max_epu32(max, _mm256_and_si256(values, mask));
    }
    max
}

/// Rotation to the left; `RIGHT` is 32 - `LEFT`.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

/// Two registers per word at a time: eight of the sixteen registers, and enough to hide every latency.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn threefry<const N: usize>(seed: u64, counters: &mut [[u32; N]; 4]) {
    const { assert!(N.is_multiple_of(16)) };
    let keys = keys(seed).map(|key| _mm256_set1_epi32(key.cast_signed()));
    for at in (0..N).step_by(16) {
        let mut x = [[_mm256_setzero_si256(); 2]; 4];
        for (x, words) in x.iter_mut().zip(&*counters) {
            for (x, words) in x.iter_mut().zip(words[at..at + 16].chunks_exact(8)) {
                // SAFETY: eight words are 32 readable bytes.
                *x = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            }
        }
        threefry_rounds!(
            x,
            keys,
            _mm256_add_epi32,
            _mm256_xor_si256,
            rotate,
            _mm256_set1_epi32
        );
        for (x, words) in x.iter().zip(&mut *counters) {
            for (x, words) in x.iter().zip(words[at..at + 16].chunks_exact_mut(8)) {
                // SAFETY: eight words are 32 writable bytes.
                unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), *x) }
            }
        }
    }
}

/// Sixteen counters at a time. Interleaving words within each half of the four registers gives, in half q of register
/// r, the block of lane 4 q + r; so that lane holds counter 2 r + q, and blocks come in order.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn threefry_blocks<const N: usize>(seed: u64, counter: [u32; 4], out: &mut [[u32; 4]; N]) {
    const { assert!(N.is_multiple_of(16)) };
    let keys = keys(seed).map(|key| _mm256_set1_epi32(key.cast_signed()));
    let mut lanes = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    for out in out.as_chunks_mut::<16>().0 {
        let mut x = counter.map(|word| [_mm256_set1_epi32(word.cast_signed()); 2]);
        for low in &mut x[0] {
            *low = _mm256_add_epi32(*low, lanes);
            lanes = _mm256_add_epi32(lanes, _mm256_set1_epi32(8));
        }
        threefry_rounds!(
            x,
            keys,
            _mm256_add_epi32,
            _mm256_xor_si256,
            rotate,
            _mm256_set1_epi32
        );
        let [a, b, c, d] = x;
        for (set, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let ab = [
                _mm256_unpacklo_epi32(a[set], b[set]),
                _mm256_unpackhi_epi32(a[set], b[set]),
            ];
            let cd = [
                _mm256_unpacklo_epi32(c[set], d[set]),
                _mm256_unpackhi_epi32(c[set], d[set]),
            ];
            let blocks = [
                _mm256_unpacklo_epi64(ab[0], cd[0]),
                _mm256_unpackhi_epi64(ab[0], cd[0]),
                _mm256_unpacklo_epi64(ab[1], cd[1]),
                _mm256_unpackhi_epi64(ab[1], cd[1]),
            ];
            for (out, blocks) in out.as_chunks_mut::<2>().0.iter_mut().zip(blocks) {
                // SAFETY: two blocks of four words are 32 writable bytes.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), blocks) }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose4x8(rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
    // SAFETY: arrays of 32 bytes and vectors of 32 bytes, any bits valid in both.
    let [a, b, c, d] = unsafe { std::mem::transmute::<[[u32; 8]; 4], [__m256i; 4]>(rows) };
    let ab_lo = _mm256_unpacklo_epi32(a, b);
    let ab_hi = _mm256_unpackhi_epi32(a, b);
    let cd_lo = _mm256_unpacklo_epi32(c, d);
    let cd_hi = _mm256_unpackhi_epi32(c, d);
    // Each holds one column in its low half and the column four further on in its high half.
    let columns = [
        _mm256_unpacklo_epi64(ab_lo, cd_lo),
        _mm256_unpackhi_epi64(ab_lo, cd_lo),
        _mm256_unpacklo_epi64(ab_hi, cd_hi),
        _mm256_unpackhi_epi64(ab_hi, cd_hi),
    ];
    let mut out = [_mm_setzero_si128(); 8];
    for (i, v) in columns.into_iter().enumerate() {
        out[i] = _mm256_castsi256_si128(v);
        out[i + 4] = _mm256_extracti128_si256::<1>(v);
    }
    // SAFETY: eight vectors of 16 bytes and eight arrays of 16 bytes, any bits valid in both.
    unsafe { std::mem::transmute::<[__m128i; 8], [[u32; 4]; 8]>(out) }
}

/// Eight codes at a time: each lane takes the four bytes from its code's first one on, 23 bits of which hold it, and
/// moves it down. What a lane asks for past the sixteenth byte lies above its code.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn unpack(bytes: &[u8; 32], bits: u32, codes: &mut [u32; 16]) {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let first = _mm256_mullo_epi32(lane, _mm256_set1_epi32(bits.cast_signed()));
    let shift = _mm256_and_si256(first, _mm256_set1_epi32(7));
    let byte = _mm256_mullo_epi32(_mm256_srli_epi32::<3>(first), _mm256_set1_epi32(0x0101_0101));
    let places = _mm256_add_epi32(byte, _mm256_set1_epi32(0x0302_0100));
    let mask = _mm256_set1_epi32((1 << bits) - 1);
    for (half, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let sixteen = &bytes[half * bits as usize..][..16];
        // SAFETY: sixteen readable bytes.
        let stream = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) });
        let moved = _mm256_srlv_epi32(_mm256_shuffle_epi8(stream, places), shift);
        // SAFETY: eight codes are 32 writable bytes.
        unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), _mm256_and_si256(moved, mask)) }
    }
}
