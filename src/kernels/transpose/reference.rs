use super::Transpose;
use crate::tensor::DType;

/// Element by element, on bits.
pub(crate) fn transpose(op: &Transpose, src: &[u32], dst: &mut [u32]) {
    let (from, to) = (op.src(), op.dst());
    for row in 0..op.rows {
        for col in 0..op.cols {
            match op.dtype {
                DType::F64 => {
                    let (source, target) = (2 * (row * op.src_ld + col), 2 * (col * op.dst_ld + row));
                    dst[target] = src[source];
                    dst[target + 1] = src[source + 1];
                }
                DType::Bf16 => to.store_bits(dst, col, row, from.load_bits(src, row, col) >> 16),
                DType::F32 | DType::U32 | DType::U16 => {
                    to.store_bits(dst, col, row, from.load_bits(src, row, col));
                }
            }
        }
    }
}
