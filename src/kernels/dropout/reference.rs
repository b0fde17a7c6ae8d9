use super::{Dropout, Kept};
use crate::format::bf16;
use crate::tensor::DType;

/// `y = x * scale` where the bits drawn for the element's logical row-major index are at or above the threshold, else
/// +0; a NaN that is kept passes as it is. `x` is `None` in place: `y` holds it.
pub(crate) fn dropout(op: &Dropout, kept: &Kept, x: Option<&[u32]>, y: &mut [u32]) {
    let (from, to) = (op.x(), op.y());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let index = (row * op.cols + col) as u64;
            let keep = kept.threshold == 0 || kept.draw.bits(index) >= kept.threshold;
            let src = x.unwrap_or(&*y);
            match op.dtype {
                DType::F64 => {
                    let value = from.load(src, row, col);
                    let result = match keep {
                        true if value.is_nan() => value,
                        true => value * kept.scale,
                        false => 0.0,
                    };
                    to.store_f64(y, row, col, result);
                }
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                    let bits = from.load_bits(src, row, col);
                    let value = f32::from_bits(bits);
                    let result = match keep {
                        true if value.is_nan() => bits,
                        true => (value * kept.scale as f32).to_bits(),
                        false => 0,
                    };
                    let stored = match op.dtype {
                        DType::Bf16 if value.is_nan() => result >> 16,
                        DType::Bf16 => bf16::round_nearest(result).into(),
                        DType::F64 | DType::F32 | DType::U32 | DType::U16 => result,
                    };
                    to.store_bits(y, row, col, stored);
                }
            }
        }
    }
}
