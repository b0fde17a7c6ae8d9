//! AVX2 and FMA: 256-bit vectors on x86-64.

use super::dispatch::{Chains, Index, Kernel, Lanes, Sealed, Value};
use super::gemm::micro::{F32, F64, Micro};
use super::random::{keys, threefry_rounds};
use std::arch::x86_64::*;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Avx2(()))
    }

    /// For the levels that include this one.
    ///
    /// # Safety
    /// The machine must have the features that [`Avx2::detect`] asks for.
    pub(super) unsafe fn assume() -> Self {
        Avx2(())
    }
}

impl Sealed for Avx2 {}

impl Lanes for Avx2 {
    const FMA: bool = true;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        fn inner<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: `self` exists only where `detect` found these features.
        unsafe { inner(self, kernel) }
    }

    #[inline(always)]
    fn multiply_add_chains(self, x: &mut Chains<f32>, steps: u32, factor: f32, summand: f32) {
        #[target_feature(enable = "avx2,fma")]
        fn inner(x: &mut Chains<f32>, steps: u32, factor: f32, summand: f32) {
            let (factor, summand) = (_mm256_set1_ps(factor), _mm256_set1_ps(summand));
            // Eight halves of chains at a time: with the constants they fit the sixteen registers.
            for half in [0, 8] {
                for chains in x.chunks_exact_mut(8) {
                    let Ok(chains) = <&mut [[f32; 16]; 8]>::try_from(chains) else {
                        return;
                    };
                    // SAFETY: half a chain is eight lanes: 32 readable and writable bytes.
                    let mut v = chains
                        .each_ref()
                        .map(|x| unsafe { _mm256_loadu_ps(x[half..].as_ptr()) });
                    for _ in 0..steps {
                        for v in &mut v {
                            *v = _mm256_fmadd_ps(*v, factor, summand);
                        }
                    }
                    for (x, v) in chains.iter_mut().zip(v) {
                        // SAFETY: as above.
                        unsafe { _mm256_storeu_ps(x[half..].as_mut_ptr(), v) }
                    }
                }
            }
        }
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { inner(x, steps, factor, summand) }
    }

    #[inline(always)]
    fn integer_chains(self, x: &mut Chains<u32>, steps: u32, mask: u32, odd: u32) {
        #[target_feature(enable = "avx2")]
        fn inner(x: &mut Chains<u32>, steps: u32, mask: u32, odd: u32) {
            let (mask, odd) = (
                _mm256_set1_epi32(mask.cast_signed()),
                _mm256_set1_epi32(odd.cast_signed()),
            );
            for half in [0, 8] {
                for chains in x.chunks_exact_mut(8) {
                    let Ok(chains) = <&mut [[u32; 16]; 8]>::try_from(chains) else {
                        return;
                    };
                    // SAFETY: half a chain is eight lanes: 32 readable and writable bytes.
                    let load = |x: &[u32; 16]| unsafe { _mm256_loadu_si256(x[half..].as_ptr().cast()) };
                    let mut v = chains.each_ref().map(load);
                    for _ in 0..steps {
                        for v in &mut v {
                            *v = _mm256_add_epi32(_mm256_xor_si256(*v, mask), odd);
                        }
                    }
                    for (x, v) in chains.iter_mut().zip(v) {
                        // SAFETY: as above.
                        unsafe { _mm256_storeu_si256(x[half..].as_mut_ptr().cast(), v) }
                    }
                }
            }
        }
        // SAFETY: `self` proves AVX2.
        unsafe { inner(x, steps, mask, odd) }
    }

    #[inline(always)]
    fn transpose4x8(self, rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
        // SAFETY: `self` proves AVX2.
        unsafe { transpose4x8(rows) }
    }

    #[inline(always)]
    fn block_maxima<const B: usize>(self, values: &[u32], mask: u32, maxima: &mut [u32]) {
        // SAFETY: `self` proves AVX2.
        unsafe { block_maxima::<B>(values, mask, maxima) }
    }

    #[inline(always)]
    fn fill<const B: usize>(self, out: &mut [f32; B], value: f32) {
        // SAFETY: `self` proves AVX2.
        unsafe { fill(out, value) }
    }

    #[inline(always)]
    fn truncate(self, x: f32, limit: f32) -> u32 {
        // 2^23: of floats that are not negative the bits are in order, and those of NaNs and of negative ones above.
        let limit = limit.to_bits().min(0x4b00_0000);
        let x = f32::from_bits(x.to_bits().min(limit));
        // SAFETY: between 0 and 2^23.
        unsafe { x.to_int_unchecked::<i32>() }.cast_unsigned()
    }

    #[inline(always)]
    fn threefry<const N: usize>(self, seed: u64, counters: &mut [[u32; N]; 4]) {
        // SAFETY: `self` proves AVX2.
        unsafe { threefry(seed, counters) }
    }

    #[inline(always)]
    fn threefry_blocks<const N: usize>(self, seed: u64, counter: [u32; 4], out: &mut [[u32; 4]; N]) {
        // SAFETY: `self` proves AVX2.
        unsafe { threefry_blocks(seed, counter, out) }
    }

    #[inline(always)]
    fn dots<V: Value, const S: usize, const U: usize>(self, row: &[V], vectors: &[f32]) -> [f32; S] {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { dots::<V, S, U>(self, row, vectors) }
    }

    #[inline(always)]
    fn sparse_dot<V: Value, I: Index>(self, values: &[V], columns: &[I], x: &[f32]) -> Option<f32> {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe { sparse_dot(self, values, columns, x) }
    }
}

/// Eight blocks at a time: each is reduced to one register, and then registers are joined in pairs, three times over,
/// each time half as many with the lanes of twice as many blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn block_maxima<const B: usize>(values: &[u32], mask: u32, maxima: &mut [u32]) {
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

/// By hand, because the compiler would rather scatter one value to each of many blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn fill<const B: usize>(out: &mut [f32; B], value: f32) {
    const { assert!(B.is_multiple_of(8)) };
    for out in out.chunks_exact_mut(8) {
        // SAFETY: eight values are 32 writable bytes.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_set1_ps(value)) }
    }
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
fn threefry<const N: usize>(seed: u64, counters: &mut [[u32; N]; 4]) {
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
fn threefry_blocks<const N: usize>(seed: u64, counter: [u32; 4], out: &mut [[u32; 4]; N]) {
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
fn transpose4x8(rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
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

#[inline]
#[target_feature(enable = "avx2,fma")]
fn sparse_dot<V: Value, I: Index>(lanes: Avx2, values: &[V], columns: &[I], x: &[f32]) -> Option<f32> {
    // Indices are compared as signed 32-bit integers and scaled by the gather.
    let bound = match i32::try_from(x.len()) {
        Ok(bound) => _mm256_set1_epi32(bound),
        Err(_) => return super::portable::sparse_dot(lanes, values, columns, x),
    };
    let len = values.len().min(columns.len());
    let mut sum = _mm256_setzero_ps();
    let mut k = 0;
    while k + 8 <= len {
        // SAFETY: `k + 8 <= len`, so eight values and eight indices are readable; `pick8` runs only where every
        // index is in 0..x.len() (a u32 above i32::MAX is negative here).
        unsafe {
            let value = load8(values.as_ptr().add(k));
            let index = if I::NARROW {
                _mm256_cvtepu16_epi32(_mm_loadu_si128(columns.as_ptr().add(k).cast()))
            } else {
                _mm256_loadu_si256(columns.as_ptr().add(k).cast())
            };
            let below = _mm256_andnot_si256(_mm256_srai_epi32::<31>(index), _mm256_cmpgt_epi32(bound, index));
            if _mm256_movemask_epi8(below) != -1 {
                return None;
            }
            sum = _mm256_fmadd_ps(value, pick8(x.as_ptr(), columns.as_ptr().add(k)), sum);
        }
        k += 8;
    }
    let tail = super::portable::sparse_dot(lanes, &values[k..len], &columns[k..len], x)?;
    Some(sum8(sum) + tail)
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
fn dots<V: Value, const S: usize, const U: usize>(lanes: Avx2, row: &[V], vectors: &[f32]) -> [f32; S] {
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
        let tail =
            super::portable::dots::<_, _, 1>(lanes, &row[start..], &vectors[s * k + start..(s + 1) * k]);
        let mut sum = sums[0];
        for more in &sums[1..] {
            sum = _mm256_add_ps(sum, *more);
        }
        *out = sum8(sum) + tail[0];
    }
    out
}

macro_rules! micro {
    ($wrapper:ident, $tile:ident, $real:ty, $mr:literal, $vectors:literal, $width:literal,
     $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        impl Micro for $wrapper<Avx2> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = $mr;
            const NR: usize = $vectors * $width;

            #[inline]
            fn tile(self, a: &[$real], b: &[$real], acc: &mut [$real], ld: usize, first: bool) {
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
