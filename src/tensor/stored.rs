//! How a computed number is stored: rounded as its type says, or added to a weight with what the sum loses kept beside
//! it. For specifications: one element at a time.

use super::{DType, View};
use crate::format::random::Draw;
use crate::format::{Rounding, bf16};

/// Stores an element as its type says; it draws with its logical index.
pub(crate) fn store(
    view: View,
    words: &mut [u32],
    (row, col): (usize, usize),
    value: f64,
    (rounding, draw): (Rounding, Draw),
) {
    let bits = (value as f32).to_bits();
    match view.dtype {
        DType::F64 => view.store_f64(words, row, col, value),
        DType::Bf16 => {
            let index = (row * view.cols + col) as u64;
            let code = bf16::encode(bits, rounding, draw.bits(index));
            view.store_bits(words, row, col, code.into());
        }
        DType::F32 | DType::U32 | DType::U16 => view.store_bits(words, row, col, bits),
    }
}

fn nearest(value: f64) -> u16 {
    bf16::round_nearest((value as f32).to_bits())
}

fn exact(code: u16) -> f64 {
    f64::from(bf16::widen(code))
}

/// Moves an element of the bf16 weights by `moved`, u - c: what that is rounded to, the sum, and what the sum has lost
/// (Kahan).
pub(crate) fn compensate(
    [(w_view, w), (c_view, c)]: [(View, &mut [u32]); 2],
    (row, col): (usize, usize),
    moved: f64,
    (rounding, draw): (Rounding, Draw),
) {
    let before = w_view.load(w, row, col);
    let index = (row * w_view.cols + col) as u64;
    let [sum, lost] = compensated(before, moved, index, (rounding, draw));
    w_view.store_bits(w, row, col, sum.into());
    c_view.store_bits(c, row, col, lost.into());
}

/// The codes of the sum of a bf16 value and what `moved`, u - c, is rounded to, and of what the sum has lost.
pub(crate) fn compensated(
    before: f64,
    moved: f64,
    index: u64,
    (rounding, draw): (Rounding, Draw),
) -> [u16; 2] {
    let y = exact(bf16::encode((moved as f32).to_bits(), rounding, draw.bits(index)));
    let sum = nearest(before + y);
    let added = exact(nearest(exact(sum) - before));
    [sum, nearest(added - y)]
}
