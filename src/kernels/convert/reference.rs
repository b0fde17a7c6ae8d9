use super::Convert;
use crate::format::bf16;
use crate::format::rounding::f32_bits_odd;
use crate::tensor::DType;

/// Converts `op.rows` rows of `op.cols` elements, rounding as `op` says; the draw's index is the element's
/// logical row-major index. Words of padding keep what they held, except that the high half beside the last
/// of an odd count of 16-bit elements is written as zero.
pub(crate) fn convert(op: &Convert, src: &[u32], dst: &mut [u32]) {
    for row in 0..op.rows {
        for col in 0..op.cols {
            let index = (row * op.cols + col) as u64;
            let value = load(op.from, src, row * op.src_ld + col);
            let element = row * op.dst_ld + col;
            match op.to {
                DType::F64 => {
                    let bits = value.to_bits();
                    dst[2 * element] = bits as u32;
                    dst[2 * element + 1] = (bits >> 32) as u32;
                }
                DType::F32 => {
                    dst[element] = match op.from {
                        // f32 and bf16 stay bits: a float variable might change a NaN.
                        DType::F64 => (value as f32).to_bits(),
                        _ => load_bits(op.from, src, row * op.src_ld + col),
                    };
                }
                _ => {
                    let bits = match op.from {
                        DType::F64 => f32_bits_odd(value),
                        _ => load_bits(op.from, src, row * op.src_ld + col),
                    };
                    let code = bf16::encode(bits, op.rounding, op.draw.bits(index), op.saturate);
                    let word = &mut dst[(row * op.dst_ld + col) / 2];
                    *word = match col % 2 {
                        0 if col + 1 == op.cols => u32::from(code),
                        0 => (*word & 0xffff_0000) | u32::from(code),
                        _ => (*word & 0x0000_ffff) | (u32::from(code) << 16),
                    };
                }
            }
        }
    }
}

fn load_bits(dtype: DType, words: &[u32], element: usize) -> u32 {
    match dtype {
        DType::Bf16 => ((words[element / 2] >> (16 * (element % 2))) & 0xffff) << 16,
        _ => words[element],
    }
}

fn load(dtype: DType, words: &[u32], element: usize) -> f64 {
    match dtype {
        DType::F64 => {
            f64::from_bits(u64::from(words[2 * element]) | (u64::from(words[2 * element + 1]) << 32))
        }
        _ => f64::from(f32::from_bits(load_bits(dtype, words, element))),
    }
}
