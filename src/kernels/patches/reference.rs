use super::{Patches, PatchesGrad};
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// The pixel that a window holds at one place, by its rows and columns; none in the padding.
fn pixel(op: &Patches, place: [usize; 2], inside: [usize; 2]) -> Option<[usize; 2]> {
    let along = |side: usize, len: usize| {
        let padded = place[side] * op.stride[side] + inside[side];
        padded.checked_sub(op.padding[side]).filter(|&at| at < len)
    };
    Some([along(0, op.height)?, along(1, op.width)?])
}

/// Every number of a window at every place, or +0.
pub(crate) fn patches(op: &Patches, x: &[u32], y: &mut [u32]) {
    let (from, to) = (op.x(), op.y());
    let [_, across] = op.places();
    for row in 0..to.rows {
        let (image, place) = (row / op.image_rows(), row % op.image_rows());
        for col in 0..to.cols {
            let (inside, channel) = (col / op.channels, col % op.channels);
            let found = pixel(
                op,
                [place / across, place % across],
                [inside / op.window[1], inside % op.window[1]],
            );
            let at = found.map(|[i, j]| (i * op.width + j) * op.pixel_ld + channel);
            match op.dtype {
                DType::F64 => {
                    let target = 2 * (row * to.ld + col);
                    let bits = match at {
                        Some(at) => {
                            let source = 2 * (image * from.ld + at);
                            [x[source], x[source + 1]]
                        }
                        None => [0; 2],
                    };
                    y[target..target + 2].copy_from_slice(&bits);
                }
                DType::Bf16 => {
                    let bits = at.map_or(0, |at| from.load_bits(x, image, at) >> 16);
                    to.store_bits(y, row, col, bits);
                }
                DType::F32 | DType::U32 | DType::U16 => {
                    let bits = at.map_or(0, |at| from.load_bits(x, image, at));
                    to.store_bits(y, row, col, bits);
                }
            }
        }
    }
}

/// Adds every number of every patch, in order, to what it was copied from.
pub(crate) fn patches_grad(op: &PatchesGrad, dy: &[u32], dx: &mut [u32]) {
    let (patches, to) = (&op.patches, op.dx());
    let from = patches.y();
    let [_, across] = patches.places();
    let mut sums = vec![0f32; to.rows * to.cols];
    let mut wide = vec![0f64; sums.len()];
    for row in 0..from.rows {
        let (image, place) = (row / patches.image_rows(), row % patches.image_rows());
        for col in 0..from.cols {
            let (inside, channel) = (col / to.cols, col % to.cols);
            let found = pixel(
                patches,
                [place / across, place % across],
                [inside / patches.window[1], inside % patches.window[1]],
            );
            if let Some([i, j]) = found {
                let at = ((image * patches.height + i) * patches.width + j) * to.cols + channel;
                let value = from.load(dy, row, col);
                wide[at] += value;
                // An f32 or a bf16, of which nothing is lost.
                sums[at] += value as f32;
            }
        }
    }
    for row in 0..to.rows {
        for col in 0..to.cols {
            let at = row * to.cols + col;
            let bits = sums[at].to_bits();
            match patches.dtype {
                DType::F64 => to.store_f64(dx, row, col, wide[at]),
                DType::F32 | DType::U32 | DType::U16 => to.store_bits(dx, row, col, bits),
                DType::Bf16 => {
                    let code = bf16::encode(bits, Rounding::Nearest, 0);
                    to.store_bits(dx, row, col, code.into());
                }
            }
        }
    }
}
