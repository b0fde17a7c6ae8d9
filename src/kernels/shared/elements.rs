//! The elements of words, for CPU kernels that copy bits and compute nothing.

use crate::tensor::DType;

/// An f64: operands start on words, and two of them need not be aligned as a `u64` is.
pub(crate) type Wide = [u32; 2];

/// The bits of an f64.
#[inline(always)]
pub(crate) fn joined([low, high]: Wide) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

/// The f64 elements of whole pairs of words.
pub(crate) fn wides(words: &[u32]) -> &[Wide] {
    words.as_chunks().0
}

/// [`wides`], to write to.
pub(crate) fn wides_mut(words: &mut [u32]) -> &mut [Wide] {
    words.as_chunks_mut().0
}

/// Clears the half beside the last of an odd count of bf16 elements.
pub(crate) fn clear_spare(dtype: DType, cols: usize, words: &mut [u32]) {
    if dtype == DType::Bf16
        && cols % 2 == 1
        && let Some(word) = words.get_mut(cols / 2)
    {
        *word &= 0xffff;
    }
}
