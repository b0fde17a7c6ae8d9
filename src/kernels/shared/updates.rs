//! What the CPU device's optimizers share: elements loaded, and stored as they are rounded.

use crate::format::bf16;
use crate::tensor::DType;

/// Elements updated at once. Few, so that the operands are read and written in turns of a few lines: each is then one
/// stream for the processor's prefetcher, where longer turns would look like new streams all the time.
pub(crate) const WIDTH: usize = 32;

/// Loads `count` elements from the even element `at` on; what `values` holds past them means nothing.
#[inline(always)]
pub(crate) fn load(dtype: DType, words: &[u32], at: usize, count: usize, values: &mut [f32; WIDTH]) {
    match dtype {
        DType::Bf16 => {
            let halves = &bf16::halves(&words[at / 2..])[..count];
            for (value, &half) in values.iter_mut().zip(halves) {
                *value = bf16::widen(half);
            }
        }
        DType::F64 | DType::F32 | DType::U32 | DType::U16 => {
            for (value, bits) in values.iter_mut().zip(&words[at..at + count]) {
                *value = f32::from_bits(*bits);
            }
        }
    }
}

/// Stores elements from the even element `at` on, rounding stochastically where there are random half-words. An odd
/// count ends a row: the half beside the last becomes zero.
#[inline(always)]
pub(crate) fn store(dtype: DType, words: &mut [u32], at: usize, bits: &[u32], random: Option<&[u16]>) {
    let count = bits.len();
    if dtype == DType::F32 {
        words[at..at + count].copy_from_slice(bits);
        return;
    }
    let words = &mut words[at / 2..(at + count).div_ceil(2)];
    if count % 2 == 1 {
        words[count / 2] = 0;
    }
    let halves = &mut bf16::halves_mut(words)[..count];
    match random {
        None => {
            for (half, &bits) in halves.iter_mut().zip(bits) {
                *half = bf16::round_nearest(bits);
            }
        }
        Some(random) => {
            for ((half, &bits), &r16) in halves.iter_mut().zip(bits).zip(&random[..count]) {
                *half = bf16::round_stochastic(bits, u32::from(r16));
            }
        }
    }
}

/// An f64 from its two words.
pub(crate) fn value_f64(words: &[u32]) -> f64 {
    f64::from_bits(u64::from(words[0]) | u64::from(words[1]) << 32)
}

/// An f64 into its two words.
pub(crate) fn put_f64(words: &mut [u32], value: f64) {
    let bits = value.to_bits();
    (words[0], words[1]) = (bits as u32, (bits >> 32) as u32);
}

/// Adds to bf16 weights what the bits of u - c are rounded to, and gives the bits of the new weights, in place of those,
/// and of their compensation: `kahan.rs`.
#[inline(always)]
pub(crate) fn compensate(w: &[f32; WIDTH], bits: &mut [u32; WIDTH], random: Option<&[u16]>) -> [u32; WIDTH] {
    let round = |value: f32| bf16::widen(bf16::round_nearest(value.to_bits()));
    // Whole vectors without a choice inside a loop; what lies past the run's end means nothing.
    let (mut y, mut compensation) = ([0f32; WIDTH], [0; WIDTH]);
    match random {
        None => {
            for (y, &bits) in y.iter_mut().zip(&*bits) {
                *y = bf16::widen(bf16::round_nearest(bits));
            }
        }
        Some(random) => {
            for ((y, &bits), &r16) in y.iter_mut().zip(&*bits).zip(random) {
                *y = bf16::widen(bf16::round_stochastic(bits, u32::from(r16)));
            }
        }
    }
    for (((bits, lost), &y), &w) in bits.iter_mut().zip(&mut compensation).zip(&y).zip(w) {
        let sum = round(w + y);
        *lost = (round(sum - w) - y).to_bits();
        *bits = sum.to_bits();
    }
    compensation
}
