use super::{Fmac, FmacMatmul};
use crate::format::random::half_word;
use crate::format::{Rounding, bf16};

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
    match bf16::encode(sum.to_bits(), rounding, r16, false) {
        0x8000 => 0,
        code => code,
    }
}

/// `a <- round(a + x * y)`, elementwise; the draw's index is the element's logical row-major index.
pub(crate) fn fmac(op: &Fmac, x: &[u32], y: &[u32], a: &mut [u32]) {
    for row in 0..op.rows {
        for col in 0..op.cols {
            let index = (row * op.cols + col) as u64;
            let acc = bf16::widen(load(a, row * op.a_ld + col));
            let sum = fmac_sum(acc, load(x, row * op.x_ld + col), load(y, row * op.y_ld + col));
            let code = fmac_round(sum, op.rounding, op.draw.bits(index));
            store(a, row * op.a_ld + col, code, col + 1 == op.cols);
        }
    }
}

/// `C <- A B (+ C)` with an accumulator rounded to bf16 every `chunk` steps of `k` and at the end.
pub(crate) fn fmac_matmul(op: &FmacMatmul, a: &[u32], b: &[u32], c: &mut [u32]) {
    for batch in 0..op.batch {
        for i in 0..op.m {
            for j in 0..op.n {
                let element = ((batch * op.m + i) * op.n + j) as u64;
                let r16 = |k: usize| match op.rounding {
                    Rounding::Stochastic => half_word(op.draw.fmac_block(element, (k / 8) as u32), k as u32),
                    _ => 0,
                };
                let mut acc = 0.0;
                for k in 0..op.k {
                    let x = match op.trans_a {
                        false => load(a, (batch * op.m + i) * op.a_ld + k),
                        true => load(a, (batch * op.k + k) * op.a_ld + i),
                    };
                    let y = match op.trans_b {
                        false => load(b, (batch * op.k + k) * op.b_ld + j),
                        true => load(b, (batch * op.n + j) * op.b_ld + k),
                    };
                    acc = fmac_sum(acc, x, y);
                    if (k + 1) % op.chunk == 0 || k + 1 == op.k {
                        acc = bf16::widen(fmac_round(acc, op.rounding, r16(k)));
                    }
                }
                let at = (batch * op.m + i) * op.c_ld + j;
                if op.add_c {
                    let sum = acc + bf16::widen(load(c, at));
                    acc = bf16::widen(fmac_round(sum, op.rounding, r16(op.k)));
                }
                store(c, at, (acc.to_bits() >> 16) as u16, j + 1 == op.n);
            }
        }
    }
}

fn load(words: &[u32], element: usize) -> u16 {
    (words[element / 2] >> (16 * (element % 2))) as u16
}

/// Writes one element; the high half beside the last one of an odd row is written as zero.
fn store(words: &mut [u32], element: usize, code: u16, last: bool) {
    let word = &mut words[element / 2];
    *word = match element % 2 {
        0 if last => u32::from(code),
        0 => (*word & 0xffff_0000) | u32::from(code),
        _ => (*word & 0x0000_ffff) | (u32::from(code) << 16),
    };
}
