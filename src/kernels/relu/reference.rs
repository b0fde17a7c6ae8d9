use super::{Relu, ReluGrad};
use crate::tensor::{DType, View};

/// `y = max(x, 0)` on bits: a NaN passes as it is, -0 becomes +0. `x` is `None` in place: `y` holds it.
pub(crate) fn relu(op: &Relu, x: Option<&[u32]>, y: &mut [u32]) {
    let (from, to) = (op.x(), op.y());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let src = x.unwrap_or(&*y);
            match op.dtype {
                DType::F64 => {
                    let value = from.load(src, row, col);
                    let keep = value.is_nan() || value > 0.0;
                    to.store_f64(y, row, col, if keep { value } else { 0.0 });
                }
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                    let bits = from.load_bits(src, row, col);
                    let negative = bits >> 31 == 1 && bits & 0x7fff_ffff <= 0x7f80_0000;
                    store(&to, y, (row, col), if negative { 0 } else { bits });
                }
            }
        }
    }
}

/// `dx = dy` where `y > 0`, else +0; where `y` is NaN, +0. `dy` is `None` in place: `dx` holds it.
pub(crate) fn relu_grad(op: &ReluGrad, y: &[u32], dy: Option<&[u32]>, dx: &mut [u32]) {
    let (mask, from, to) = (op.y(), op.dy(), op.dx());
    for row in 0..op.rows {
        for col in 0..op.cols {
            let src = dy.unwrap_or(&*dx);
            match op.dtype {
                DType::F64 => {
                    let value = from.load(src, row, col);
                    let keep = mask.load(y, row, col) > 0.0;
                    to.store_f64(dx, row, col, if keep { value } else { 0.0 });
                }
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
                    let bits = from.load_bits(src, row, col);
                    let forward = mask.load_bits(y, row, col);
                    let keep = forward > 0 && forward <= 0x7f80_0000;
                    store(&to, dx, (row, col), if keep { bits } else { 0 });
                }
            }
        }
    }
}

/// Stores the bits of an f32, or the upper half of them.
fn store(view: &View, words: &mut [u32], (row, col): (usize, usize), bits: u32) {
    let stored = match view.dtype {
        DType::Bf16 => bits >> 16,
        DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
    };
    view.store_bits(words, row, col, stored);
}
