use super::{Fmac, FmacMatmul};
use crate::format::random::half_word;
use crate::format::{Rounding, bf16};
use crate::tensor::View;

/// The sum of one step: `acc + x * y` in f32, the product rounded, then the sum, both to nearest.
#[must_use]
pub fn fmac_sum(acc: f32, x: u16, y: u16) -> f32 {
    acc + bf16::widen(x) * bf16::widen(y)
}

/// The rounding of one step. Every NaN is 0x7fc0 (which sign and payload an addition gives one is no
/// machine's promise), and every result of magnitude 0 is +0.
#[must_use]
pub fn fmac_round(sum: f32, rounding: Rounding, r16: u32) -> u16 {
    if sum.is_nan() {
        return 0x7fc0;
    }
    match bf16::encode(sum.to_bits(), rounding, r16) {
        0x8000 => 0,
        code => code,
    }
}

/// `a <- round(a + x * y)`, elementwise; the draw's index is the element's logical row-major index.
pub(crate) fn fmac(op: &Fmac, x: &[u32], y: &[u32], a: &mut [u32]) {
    let [x_view, y_view, a_view] = op.views();
    for row in 0..op.rows {
        for col in 0..op.cols {
            let index = (row * op.cols + col) as u64;
            let acc = bf16::widen(code(&a_view, a, row, col));
            let sum = fmac_sum(acc, code(&x_view, x, row, col), code(&y_view, y, row, col));
            let rounded = fmac_round(sum, op.rounding, op.draw.bits(index));
            a_view.store_bits(a, row, col, rounded.into());
        }
    }
}

/// `C <- A B (+ C)` with an accumulator rounded to bf16 every `chunk` steps of `k` and at the end.
pub(crate) fn fmac_matmul(op: &FmacMatmul, a: &[u32], b: &[u32], c: &mut [u32]) {
    let [a_view, b_view, c_view] = op.views();
    for batch in 0..op.batch {
        for i in 0..op.m {
            for j in 0..op.n {
                let row = batch * op.m + i;
                let element = (row * op.n + j) as u64;
                let r16 = |k: usize| match op.rounding {
                    Rounding::Stochastic => half_word(op.draw.fmac_block(element, (k / 8) as u32), k as u32),
                    Rounding::Nearest | Rounding::TowardZero => 0,
                };
                let mut acc = 0.0;
                for k in 0..op.k {
                    let x = match op.trans_a {
                        false => code(&a_view, a, row, k),
                        true => code(&a_view, a, batch * op.k + k, i),
                    };
                    let y = match op.trans_b {
                        false => code(&b_view, b, batch * op.k + k, j),
                        true => code(&b_view, b, batch * op.n + j, k),
                    };
                    acc = fmac_sum(acc, x, y);
                    if (k + 1) % op.chunk == 0 || k + 1 == op.k {
                        acc = bf16::widen(fmac_round(acc, op.rounding, r16(k)));
                    }
                }
                if op.add_c {
                    let sum = acc + bf16::widen(code(&c_view, c, row, j));
                    acc = bf16::widen(fmac_round(sum, op.rounding, r16(op.k)));
                }
                c_view.store_bits(c, row, j, acc.to_bits() >> 16);
            }
        }
    }
}

/// The bits of one bf16.
fn code(view: &View, words: &[u32], row: usize, col: usize) -> u16 {
    (view.load_bits(words, row, col) >> 16) as u16
}
