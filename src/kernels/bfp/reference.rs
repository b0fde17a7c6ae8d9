use super::{BfpDecode, BfpEncode, BfpMatmul};
use crate::format::block::BAD_BLOCK;
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// Encodes row by row; the draw's index is the element's logical row-major index.
pub(crate) fn bfp_encode(op: &BfpEncode, src: &[u32], codes: &mut [u32], exponents: &mut [u32]) {
    let [code_words, exponent_words] = row_words(op.format, op.cols);
    for row in 0..op.rows {
        let values: Vec<u32> = (0..op.cols)
            .map(|col| op.src().load_bits(src, row, col))
            .collect();
        op.format.encode_row(
            &values,
            op.rounding,
            |col| op.draw.bits((row * op.cols + col) as u64),
            &mut codes[row * code_words..][..code_words],
            &mut exponents[row * exponent_words..][..exponent_words],
        );
    }
}

/// Decodes row by row, to bf16 by rounding to nearest.
pub(crate) fn bfp_decode(op: &BfpDecode, codes: &[u32], exponents: &[u32], dst: &mut [u32]) {
    let [code_words, exponent_words] = row_words(op.format, op.cols);
    let mut values = vec![0; op.cols];
    for row in 0..op.rows {
        let codes = &codes[row * code_words..][..code_words];
        let exponents = &exponents[row * exponent_words..][..exponent_words];
        op.format.decode_row(codes, exponents, &mut values);
        for (col, &bits) in values.iter().enumerate() {
            let bits = match op.to {
                DType::Bf16 => bf16::round_nearest(bits).into(),
                DType::F32 | DType::F64 | DType::U32 | DType::U16 => bits,
            };
            op.dst().store_bits(dst, row, col, bits);
        }
    }
}

/// `C = A B^T`: per block of K an exact integer dot product, times the two scales, summed in f64 and rounded
/// once. A block marked NaN makes the outputs it touches NaN.
pub(crate) fn bfp_matmul(op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) {
    for row in 0..op.m {
        for col in 0..op.n {
            let bits = match terms(op, operands, row, col) {
                Some(terms) => (terms.iter().sum::<f64>() as f32).to_bits(),
                None => 0x7fc0_0000,
            };
            let bits = match op.out {
                DType::Bf16 => {
                    let r16 = match op.rounding {
                        Rounding::Stochastic => op.draw.bits((row * op.n + col) as u64),
                        Rounding::Nearest | Rounding::TowardZero => 0,
                    };
                    bf16::encode(bits, op.rounding, r16).into()
                }
                DType::F32 | DType::F64 | DType::U32 | DType::U16 => bits,
            };
            op.c().store_bits(c, row, col, bits);
        }
    }
}

/// The terms of one output, one per block, or `None` where a block is marked NaN.
fn terms(op: &BfpMatmul, operands: [&[u32]; 4], row: usize, col: usize) -> Option<Vec<f64>> {
    let [a_codes, a_exponents, b_codes, b_exponents] = operands;
    let [codes, exponents] = row_words(op.format, op.k);
    let (a, b) = (&a_codes[row * codes..][..codes], &b_codes[col * codes..][..codes]);
    let a_bytes: &[u8] = bytemuck::cast_slice(&a_exponents[row * exponents..][..exponents]);
    let b_bytes: &[u8] = bytemuck::cast_slice(&b_exponents[col * exponents..][..exponents]);
    let size = op.format.block() as usize;
    let mut terms = Vec::with_capacity(op.format.blocks_per_row(op.k));
    for block in 0..op.format.blocks_per_row(op.k) {
        if a_bytes[block] == BAD_BLOCK || b_bytes[block] == BAD_BLOCK {
            return None;
        }
        let mut dot = 0i32;
        for k in block * size..((block + 1) * size).min(op.k) {
            dot += op.format.signed(op.format.get(a, k)) * op.format.signed(op.format.get(b, k));
        }
        // 2^(a - 127 - (m-2)) times 2^(b - 127 - (m-2)).
        let bits = op.format.bits() as i32;
        let exponent = i32::from(a_bytes[block]) + i32::from(b_bytes[block]) - 254 - 2 * (bits - 2);
        terms.push(f64::from(dot) * 2f64.powi(exponent));
    }
    Some(terms)
}

/// Words of a row's codes and of its exponents.
fn row_words(format: crate::format::block::BfpFormat, cols: usize) -> [usize; 2] {
    [
        format.codes_words_per_row(cols),
        format.exponent_words_per_row(cols),
    ]
}
