use super::{Relu, ReluGrad};
use crate::tensor::DType;
use crate::tensor::element::{load_bits, store_half};

/// `y = max(x, 0)` on bits: a NaN passes as it is, -0 becomes +0. `x` is `None` in place: `y` holds it.
pub(crate) fn relu(op: &Relu, x: Option<&[u32]>, y: &mut [u32]) {
    for row in 0..op.rows {
        for col in 0..op.cols {
            let to = row * op.y_ld + col;
            if op.dtype == DType::F64 {
                let at = row * op.x_ld + col;
                let bits = x.map_or_else(|| bits64(y, to), |x| bits64(x, at));
                let value = f64::from_bits(bits);
                let keep = value.is_nan() || value > 0.0;
                put64(y, to, if keep { bits } else { 0 });
            } else {
                let bits = match x {
                    Some(x) => load_bits(op.dtype, x, row * op.x_ld + col),
                    None => load_bits(op.dtype, y, to),
                };
                let negative = bits >> 31 == 1 && bits & 0x7fff_ffff <= 0x7f80_0000;
                put(
                    op.dtype,
                    y,
                    to,
                    col + 1 == op.cols,
                    if negative { 0 } else { bits },
                );
            }
        }
    }
}

/// `dx = dy` where `y > 0`, else +0; where `y` is NaN, +0. `dy` is `None` in place: `dx` holds it.
pub(crate) fn relu_grad(op: &ReluGrad, y: &[u32], dy: Option<&[u32]>, dx: &mut [u32]) {
    for row in 0..op.rows {
        for col in 0..op.cols {
            let (mask, to) = (row * op.y_ld + col, row * op.dx_ld + col);
            let at = row * op.dy_ld + col;
            if op.dtype == DType::F64 {
                let bits = dy.map_or_else(|| bits64(dx, to), |dy| bits64(dy, at));
                let keep = f64::from_bits(bits64(y, mask)) > 0.0;
                put64(dx, to, if keep { bits } else { 0 });
            } else {
                let bits = match dy {
                    Some(dy) => load_bits(op.dtype, dy, at),
                    None => load_bits(op.dtype, dx, to),
                };
                let forward = load_bits(op.dtype, y, mask);
                let keep = forward > 0 && forward <= 0x7f80_0000;
                put(op.dtype, dx, to, col + 1 == op.cols, if keep { bits } else { 0 });
            }
        }
    }
}

fn bits64(words: &[u32], element: usize) -> u64 {
    u64::from(words[2 * element]) | (u64::from(words[2 * element + 1]) << 32)
}

fn put64(words: &mut [u32], element: usize, bits: u64) {
    words[2 * element] = bits as u32;
    words[2 * element + 1] = (bits >> 32) as u32;
}

fn put(dtype: DType, words: &mut [u32], element: usize, last: bool, bits: u32) {
    match dtype {
        DType::Bf16 => store_half(words, element, last, (bits >> 16) as u16),
        _ => words[element] = bits,
    }
}
