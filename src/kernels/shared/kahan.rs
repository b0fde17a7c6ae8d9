//! Compensated updates of bf16 weights: beside `w` a bf16 `c` keeps what the last sum lost, so that `w - c` moves by
//! the whole update.
//!
//! ```text
//! y = rb(u - c),  s = rb(w + y),  c = rb(rb(s - w) - y),  w = s
//! ```
//!
//! rb rounds the bits of an f32 to bf16, all four times: to nearest, `y` also stochastically. The update `u` is f32
//! and not rounded by itself. Where abs(w) >= abs(y), `s - w` and the new `c` are bf16 values as they are: `y` is then
//! the only thing lost. An integer rounding between two sums is what a compiler's algebra cannot see through: without
//! it `(s - w) - y` may become 0.
//!
//! # The bound
//! Given `y`, the rest is exact on every device: the sum of two bf16 rounds to the same bf16 from either f32
//! neighbour. (Where one of them is subnormal a GPU may flush, which costs less than 8 eta.) The test build keeps u -
//! c, and `y` is its rounding. Without that, with E the bound of e = u - c:
//!
//! - `y` is a neighbour of a value within E: off by Y = E + 2^-7 (abs(e) + E) + 2^-133;
//! - `s` is a neighbour of w + e within S = Y + u (abs(w) + abs(e) + Y) + 3 eta;
//! - with t = s - w, of the `s` that was found, `c` is a neighbour of t - e within
//!   Y + 2^-8 abs(t) + 2^-134 + u (2 abs(t) + abs(e) + Y) + 3 eta.

use crate::format::bf16;
use crate::op::contract::is_subnormal;
use crate::op::{Arithmetic, Judge, Output, Within};
use crate::tensor::View;

/// Holds compensated weights `w` and their compensation `c` to what u - c makes of them: of which `moved` is the bound,
/// `kept` the layout of operand `w_kept` that may hold it, and `rounded` its rounding.
pub(crate) fn judge<'j>(
    judge: Judge<'j>,
    [w, c]: [View; 2],
    kept: Option<View>,
    moved: impl Fn(usize, usize) -> Within,
    rounded: &dyn Fn(u32, u64) -> u32,
) -> Judge<'j> {
    let arithmetic = judge.arithmetic();
    let (before, found) = (judge.before("w"), judge.after("w"));
    let y = kept_y(judge.after("w_kept"), kept, rounded);
    let sum = |row, col| {
        let before = w.load(before, row, col);
        match y(row, col) {
            Some(y) => known(before, y, arithmetic),
            None => unknown(before, &moved(row, col), w.load(found, row, col), arithmetic),
        }
    };
    judge
        .composite(Output::new("w", w), |row, col| sum(row, col)[0], None)
        .composite(Output::new("c", c), |row, col| sum(row, col)[1], None)
}

/// The same of values that lie with their compensations in one operand, side by side; `kept` is the operand that may hold
/// u - c.
pub(crate) fn judge_pairs<'j>(
    judge: Judge<'j>,
    pairs: Output,
    kept: (&'static str, Option<View>),
    moved: impl Fn(usize, usize) -> Within,
    rounded: &dyn Fn(u32, u64) -> u32,
) -> Judge<'j> {
    let arithmetic = judge.arithmetic();
    let (before, found) = (judge.before(pairs.operand), judge.after(pairs.operand));
    let y = kept_y(judge.after(kept.0), kept.1, rounded);
    let sum = |row, col: usize| {
        let value = |words| pairs.view.load(words, row, 2 * col);
        match y(row, col) {
            Some(y) => known(value(before), y, arithmetic),
            None => unknown(value(before), &moved(row, col), value(found), arithmetic),
        }
    };
    judge.composite(pairs, |row, col| sum(row, col / 2)[col % 2], None)
}

/// `y` of every element where a test build has kept what it was rounded from.
fn kept_y(
    bits: &[u32],
    kept: Option<View>,
    rounded: &dyn Fn(u32, u64) -> u32,
) -> impl Fn(usize, usize) -> Option<f64> {
    let kept = kept.filter(|view| bits.len() as u64 >= view.words());
    move |row, col| {
        kept.map(|view| {
            let index = (row * view.cols + col) as u64;
            f64::from(f32::from_bits(rounded(view.load_bits(bits, row, col), index)))
        })
    }
}

fn round(value: f32) -> f32 {
    bf16::widen(bf16::round_nearest(value.to_bits()))
}

/// What the new weight and compensation are held to where `y` is known.
fn known(w: f64, y: f64, arithmetic: &Arithmetic) -> [Within; 2] {
    let (w, y) = (w as f32, y as f32);
    let sum = round(w + y);
    let moved = round(sum - w);
    let c = round(moved - y);
    let values = [w, y, w + y, sum, sum - w, moved, moved - y, c];
    let flushed = arithmetic.flushes && values.iter().any(|value| is_subnormal(f64::from(*value)));
    let bound = if flushed { 8.0 * arithmetic.eta } else { 0.0 };
    [sum, c].map(|value| Within {
        exact: f64::from(value),
        bound,
    })
}

/// The same where only u - c is known, and which sum `s` was found.
fn unknown(w: f64, e: &Within, s: f64, arithmetic: &Arithmetic) -> [Within; 2] {
    let (u, eta) = (arithmetic.unit, arithmetic.eta);
    let size = e.exact.abs();
    let t = s - w;
    if !(size + e.bound + t.abs()).is_finite() {
        return [Within {
            exact: 0.0,
            bound: f64::INFINITY,
        }; 2];
    }
    let y_off = e.bound + (size + e.bound) / 128.0 + 2f64.powi(-133);
    let sum = Within {
        exact: w + e.exact,
        bound: y_off + u * (w.abs() + size + y_off) + 3.0 * eta,
    };
    let lost = t.abs() / 256.0 + 2f64.powi(-134) + u * (2.0 * t.abs() + size + y_off) + 3.0 * eta;
    let c = Within {
        exact: t - e.exact,
        bound: y_off + lost,
    };
    [sum, c]
}

#[cfg(test)]
mod tests {
    use super::round;

    /// The walk of the notes: steps of 2^-12 from 1 that rounding to nearest never takes.
    #[test]
    fn small_updates_arrive() {
        let (mut w, mut c) = (1f32, 0f32);
        let update = 2f32.powi(-12);
        for _ in 0..4096 {
            let y = round(update - c);
            let sum = round(w + y);
            c = round(round(sum - w) - y);
            w = sum;
        }
        assert_eq!(round(1.0 + update), 1.0);
        assert_eq!(w - c, 2.0);
    }
}
