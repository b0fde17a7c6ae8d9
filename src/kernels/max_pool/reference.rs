use super::{MaxPool, MaxPoolGrad};
use crate::tensor::{DType, View};

/// `y` is the first of the largest numbers of every window.
pub(crate) fn max_pool(op: &MaxPool, x: &[u32], y: &mut [u32]) {
    let (from, to) = (op.x(), op.y());
    for image in 0..op.batch {
        for output in 0..op.outputs() {
            let row = largest(op, x, image, output);
            copy((&from, x), (row, output % op.channels), (&to, y), (image, output));
        }
    }
}

/// `dx` is `dy` where `x` is the first of the largest numbers of its window, else +0.
pub(crate) fn max_pool_grad(op: &MaxPoolGrad, x: &[u32], dy: &[u32], dx: &mut [u32]) {
    let (pool, to) = (&op.pool, op.dx());
    for row in 0..to.rows {
        for channel in 0..to.cols {
            match op.dtype {
                DType::F64 => to.store_f64(dx, row, channel, 0.0),
                DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => to.store_bits(dx, row, channel, 0),
            }
        }
    }
    let from = op.dy();
    for image in 0..pool.batch {
        for output in 0..pool.outputs() {
            let row = largest(pool, x, image, output);
            copy(
                (&from, dy),
                (image, output),
                (&to, dx),
                (row, output % pool.channels),
            );
        }
    }
}

/// The pixel that an output is of.
fn largest(op: &MaxPool, x: &[u32], image: usize, output: usize) -> usize {
    let from = op.x();
    let (window, channel) = (output / op.channels, output % op.channels);
    let [_, pooled] = op.pooled();
    let (top, left) = (window / pooled * op.stride[0], window % pooled * op.stride[1]);
    let mut found = None;
    for i in top..top + op.window[0] {
        for j in left..left + op.window[1] {
            let row = (image * op.height + i) * op.width + j;
            let value = from.load(x, row, channel);
            let above = match found {
                None => true,
                Some((_, best)) => value > best || (value.is_nan() && !f64::is_nan(best)),
            };
            if above {
                found = Some((row, value));
            }
        }
    }
    found.map_or(0, |(row, _)| row)
}

/// Copies an element's bits.
fn copy(
    (from, src): (&View, &[u32]),
    (row, col): (usize, usize),
    (to, dst): (&View, &mut [u32]),
    (to_row, to_col): (usize, usize),
) {
    match from.dtype {
        DType::F64 => {
            let at = |view: &View, row, col| 2 * (row * view.ld + col);
            let (source, target) = (at(from, row, col), at(to, to_row, to_col));
            dst[target..target + 2].copy_from_slice(&src[source..source + 2]);
        }
        DType::Bf16 => to.store_bits(dst, to_row, to_col, from.load_bits(src, row, col) >> 16),
        DType::F32 | DType::U32 | DType::U16 => {
            to.store_bits(dst, to_row, to_col, from.load_bits(src, row, col));
        }
    }
}
