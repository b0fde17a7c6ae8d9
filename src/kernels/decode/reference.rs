use super::Decode;
use crate::format::bf16;
use crate::tensor::DType;

/// Decodes row by row, to bf16 by rounding to nearest.
pub(crate) fn decode(op: &Decode, codes: &[u32], scales: &[u32], dst: &mut [u32]) {
    let mut values = vec![0; op.rows * op.cols];
    op.format.decode(codes, scales, op.cols, &mut values);
    for (index, &bits) in values.iter().enumerate() {
        let bits = match op.to {
            DType::Bf16 => bf16::round_nearest(bits).into(),
            DType::F32 | DType::F64 | DType::U32 | DType::U16 => bits,
        };
        op.dst().store_bits(dst, index / op.cols, index % op.cols, bits);
    }
}
