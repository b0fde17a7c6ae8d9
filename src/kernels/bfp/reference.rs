use super::{BfpDecode, BfpEncode, BfpMatmul};
use crate::format::bf16;
use crate::tensor::DType;
use crate::tensor::element::load_bits;

/// Encodes row by row; the draw's index is the element's logical row-major index.
pub(crate) fn bfp_encode(op: &BfpEncode, src: &[u32], codes: &mut [u32], exponents: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    for row in 0..op.rows {
        let values: Vec<u32> = (0..op.cols)
            .map(|col| load_bits(op.from, src, row * op.src_ld + col))
            .collect();
        op.format.encode_row(
            &values,
            op.rounding,
            |col| op.draw.bits((row * op.cols + col) as u64),
            &mut codes[row * code_words..(row + 1) * code_words],
            &mut exponents[row * exponent_words..(row + 1) * exponent_words],
        );
    }
}

/// Decodes row by row, to bf16 by rounding to nearest.
pub(crate) fn bfp_decode(op: &BfpDecode, codes: &[u32], exponents: &[u32], dst: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    let mut values = vec![0; op.cols];
    for row in 0..op.rows {
        let codes = &codes[row * code_words..(row + 1) * code_words];
        op.format.decode_row(
            codes,
            &exponents[row * exponent_words..(row + 1) * exponent_words],
            &mut values,
        );
        match op.to {
            DType::Bf16 => {
                let row = &mut dst[row * op.dst_ld / 2..];
                for (pair, word) in values.chunks(2).zip(row) {
                    let high = pair.get(1).map_or(0, |&bits| bf16::round_nearest(bits));
                    *word = bf16::pack(bf16::round_nearest(pair[0]), high);
                }
            }
            _ => dst[row * op.dst_ld..row * op.dst_ld + op.cols].copy_from_slice(&values),
        }
    }
}

/// `C = A B^T`: per block of K an exact integer dot product, times the two scales, summed in f64 and rounded
/// once. A block marked NaN makes the outputs it touches NaN.
pub(crate) fn bfp_matmul(op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) {
    for row in 0..op.m {
        for col in 0..op.n {
            let value = match op.terms(operands, row, col) {
                Some(terms) => (terms.iter().sum::<f64>() as f32).to_bits(),
                None => 0x7fc0_0000,
            };
            op.store(c, row, col, value);
        }
    }
}
