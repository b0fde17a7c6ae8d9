use super::Convert;
use crate::format::bf16;
use crate::format::rounding::f32_bits_odd;
use crate::tensor::DType;

/// Converts `op.rows` rows of `op.cols` elements, rounding as `op` says; the draw's index is the element's
/// logical row-major index.
pub(crate) fn convert(op: &Convert, src: &[u32], dst: &mut [u32]) {
    let (from, to) = (op.src(), op.dst());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let index = (row * op.cols + col) as u64;
            match op.to {
                DType::F64 => to.store_f64(dst, row, col, from.load(src, row, col)),
                DType::F32 => to.store_bits(dst, row, col, from.load_bits(src, row, col)),
                DType::Bf16 => {
                    // f32 stays bits: a float variable might change a NaN.
                    let bits = match op.from {
                        DType::F64 => f32_bits_odd(from.load(src, row, col)),
                        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => from.load_bits(src, row, col),
                    };
                    let code = bf16::encode(bits, op.rounding, op.draw.bits(index));
                    let code = if op.saturate {
                        bf16::saturate(code, bits)
                    } else {
                        code
                    };
                    to.store_bits(dst, row, col, code.into());
                }
                // The operation's check refuses these.
                DType::U32 | DType::U16 => {}
            }
        }
    }
}
