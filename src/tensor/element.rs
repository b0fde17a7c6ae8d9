//! One element of a row-major operand.

use crate::tensor::DType;

/// The f32 bits of element number `element` of an f32 or packed bf16 operand.
pub(crate) fn load_bits(dtype: DType, words: &[u32], element: usize) -> u32 {
    match dtype {
        DType::Bf16 => ((words[element / 2] >> (16 * (element % 2))) & 0xffff) << 16,
        _ => words[element],
    }
}

/// Its value, of f64 operands too.
pub(crate) fn load(dtype: DType, words: &[u32], element: usize) -> f64 {
    match dtype {
        DType::F64 => {
            f64::from_bits(u64::from(words[2 * element]) | (u64::from(words[2 * element + 1]) << 32))
        }
        _ => f64::from(f32::from_bits(load_bits(dtype, words, element))),
    }
}

/// Stores an f64.
pub(crate) fn store_f64(words: &mut [u32], element: usize, value: f64) {
    let bits = value.to_bits();
    words[2 * element] = bits as u32;
    words[2 * element + 1] = (bits >> 32) as u32;
}

/// Stores a 16-bit element; the last of an odd count zeroes the half beside it.
pub(crate) fn store_half(words: &mut [u32], element: usize, last: bool, code: u16) {
    let word = &mut words[element / 2];
    *word = match element % 2 {
        0 if last => u32::from(code),
        0 => (*word & 0xffff_0000) | u32::from(code),
        _ => (*word & 0x0000_ffff) | (u32::from(code) << 16),
    };
}
