//! The one judge: what the elements of written operands are held to, and everything else of those operands, padding
//! included, to the reference's bits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Op;
use super::contract::{Arithmetic, Comparison, ErrorBound, Stored, Verdict, is_subnormal, words_equal};
use super::rows::Within;
use crate::gpu::StepValues;
use crate::tensor::{DType, View};

/// A matrix of results inside a written operand.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// The operand's name.
    pub operand: &'static str,
    /// The word where the matrix begins.
    pub first: u64,
    /// Its layout.
    pub view: View,
}

impl Output {
    /// The matrix that begins with the operand.
    #[must_use]
    pub const fn new(operand: &'static str, view: View) -> Self {
        Self {
            operand,
            first: 0,
            view,
        }
    }
}

/// The f32 results that an output was rounded from, in an operand of the same rows and columns.
pub struct Kept<'a> {
    /// The operand that holds them.
    pub operand: &'static str,
    /// Its layout.
    pub view: View,
    /// The bits that are stored for those of an f32 at this index, widened to f32 where they are bf16.
    pub rounded: &'a dyn Fn(u32, u64) -> u32,
}

impl std::fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.operand)
    }
}

/// One element of the bounded class in f64: a sum of products, and what its rounding error is bounded by.
///
/// `C = alpha * sum_k a_k b_k + beta * C_in + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// The exact value; NaN or infinite where the inputs make it so.
    pub exact: f64,
    /// Products summed.
    pub terms: u64,
    /// `abs(alpha)`.
    alpha: f64,
    /// `sum abs(a_k b_k)` over the finite ones.
    pub(super) products: f64,
    subnormal_products: f64,
    /// `abs(beta C_in)` and `abs(bias)`.
    added: f64,
    subnormal_added: f64,
    /// Whether every input is a whole number of magnitude 8 at most: then no order of the sum rounds.
    pub(super) whole: bool,
    /// Whether an input is NaN or infinite.
    special: bool,
    /// Whether a subnormal meets an infinity: where subnormals flush, their product is NaN.
    flushed_infinity: bool,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            exact: 0.0,
            terms: 0,
            alpha: 1.0,
            products: 0.0,
            subnormal_products: 0.0,
            added: 0.0,
            subnormal_added: 0.0,
            whole: true,
            special: false,
            flushed_infinity: false,
        }
    }
}

pub(super) fn is_small_integer(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= 8.0
}

impl Sum {
    /// Adds a product.
    #[inline]
    pub fn product(&mut self, a: f64, b: f64) {
        self.exact += a * b;
        self.terms += 1;
        self.products += self.beside(a, b);
        self.whole &= is_small_integer(a) && is_small_integer(b);
    }

    /// Counts what a product is beside its value; its magnitude where it is finite.
    #[inline]
    pub(super) fn beside(&mut self, a: f64, b: f64) -> f64 {
        let size = (a * b).abs();
        let subnormal = is_subnormal(a) || is_subnormal(b);
        if !size.is_finite() {
            self.special = true;
            self.flushed_infinity |= subnormal;
            return 0.0;
        }
        if subnormal {
            self.subnormal_products += size;
        }
        size
    }

    /// Adds a value as it is.
    #[inline]
    pub fn term(&mut self, value: f64) {
        self.product(value, 1.0);
    }

    /// Multiplies the sum of products so far. With 0 they were never read: call it before any.
    pub fn scale(&mut self, alpha: f64) {
        self.exact *= alpha;
        self.alpha = alpha.abs();
        self.special |= alpha.is_nan();
        if is_subnormal(alpha) {
            self.flushed_infinity |= self.special;
            self.subnormal_added += self.alpha * self.products;
        }
        self.whole &= [-1.0, 0.0, 1.0].contains(&alpha);
    }

    /// Adds `beta * value`, after the scaling.
    pub fn add(&mut self, beta: f64, value: f64) {
        let added = beta * value;
        self.exact += added;
        let subnormal = is_subnormal(beta) || is_subnormal(value);
        if added.is_finite() {
            self.added += added.abs();
        } else {
            self.special = true;
            self.flushed_infinity |= subnormal;
        }
        if subnormal {
            self.subnormal_added += added.abs();
        }
        self.whole &= [-1.0, 0.0, 1.0].contains(&beta) && is_small_integer(value);
    }

    /// Makes a negative result zero. It never moves two values apart, so that the bound of its argument holds.
    pub fn relu(&mut self) {
        if self.exact < 0.0 {
            self.exact = 0.0;
        }
    }

    /// Error over bound; `None` where nothing is promised.
    fn ratio(&self, want: f64, got: f64, stored: Stored, arithmetic: &Arithmetic) -> Option<f64> {
        let outcome = |right: bool| Some(if right { 0.0 } else { f64::INFINITY });
        let whole = self.whole && self.alpha.max(1.0) * self.products + self.added <= f64::from(1 << 23);
        if whole && stored != Stored::F64 {
            // Every partial sum in every order is a whole number of that magnitude at most: nothing is left free but
            // the sign of a zero.
            return outcome(want == got);
        }
        let bound = ErrorBound {
            terms: self.terms,
            alpha: self.alpha,
            products: self.products,
            subnormal_products: self.subnormal_products,
            added: self.added,
            subnormal_added: self.subnormal_added,
            stored,
        };
        if self.special {
            // The finite part of the sum must not overflow on its own, or its infinity may meet the other.
            let finite = || bound.ratio(0.0, 0.0, arithmetic).is_some();
            return match arithmetic.ieee {
                true if self.exact.is_nan() => outcome(got.is_nan()),
                true if self.flushed_infinity && arithmetic.flushes => None,
                true if finite() => outcome(got == self.exact),
                _ => None,
            };
        }
        bound.ratio(self.exact, got, arithmetic)
    }
}

/// The f64 sums of a case, made once and used for every device and variant.
#[derive(Debug, Default)]
pub struct Sums(Mutex<HashMap<&'static str, Arc<[Sum]>>>);

impl Sums {
    fn get(&self, operand: &'static str, make: impl FnOnce() -> Vec<Sum>) -> Arc<[Sum]> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(operand).or_insert_with(|| make().into()).clone()
    }
}

/// Compares one run with the reference's, operand by operand.
#[derive(Debug)]
#[must_use]
pub struct Judge<'a> {
    names: Vec<(&'static str, bool)>,
    comparison: &'a Comparison<'a>,
    verdict: Verdict,
    judged: Vec<Output>,
}

impl<'a> Judge<'a> {
    /// Nothing judged yet.
    pub(super) fn new(op: &dyn Op, comparison: &'a Comparison<'a>) -> Self {
        let operands = op.operands();
        Self {
            names: operands
                .iter()
                .map(|spec| (spec.name, spec.is_written()))
                .collect(),
            comparison,
            verdict: Verdict::default(),
            judged: Vec::new(),
        }
    }

    /// What may be assumed of the device's arithmetic.
    #[must_use]
    pub fn arithmetic(&self) -> &'a Arithmetic {
        &self.comparison.arithmetic
    }

    /// The run's step values.
    #[must_use]
    pub fn step(&self) -> &'a StepValues {
        &self.comparison.step
    }

    /// What an operand held before the run; empty for a name that no operand has.
    #[must_use]
    pub fn before(&self, operand: &str) -> &'a [u32] {
        self.find(self.comparison.before, operand)
    }

    /// What the run left in an operand; empty for a name that no operand has.
    #[must_use]
    pub fn after(&self, operand: &str) -> &'a [u32] {
        self.find(self.comparison.got, operand)
    }

    fn find(&self, side: &'a [&'a [u32]], operand: &str) -> &'a [u32] {
        let at = self.names.iter().position(|(name, _)| *name == operand);
        at.and_then(|at| side.get(at)).copied().unwrap_or_default()
    }

    /// Holds the elements of `outputs`, which lie in one operand, to the bound of their sums, which come in the order
    /// of the outputs, row by row. `sums` is called once a case. See [`ErrorBound`] for the formula.
    ///
    /// Where every input of an element is a small whole number its bits are the reference's, the sign of zero aside.
    /// Where an input is NaN or infinite, devices that follow IEEE 754 owe the NaN or infinity of the exact sum, and
    /// GPUs owe nothing.
    pub fn bounded(mut self, outputs: &[Output], stored: Stored, sums: impl FnOnce() -> Vec<Sum>) -> Self {
        let Some(operand) = outputs.first().map(|output| output.operand) else {
            return self;
        };
        let comparison = self.comparison;
        let sums = match comparison.sums {
            Some(kept) => kept.get(operand, sums),
            None => sums().into(),
        };
        let all = self.elements(outputs);
        if sums.len() != all.len() {
            self.verdict.element(operand, 0, f64::INFINITY, || {
                let [sums, all] = [sums.len(), all.len()].map(|len| len.to_string());
                [format!("{all} sums"), sums, "one for each element".into()]
            });
            return self;
        }
        for ((index, want, got), sum) in all.into_iter().zip(&*sums) {
            if let Some(ratio) = sum.ratio(want, got, stored, &comparison.arithmetic) {
                self.verdict.element(operand, index, ratio, || {
                    let bound = match ratio.is_finite() {
                        true => format!("{:e}", (got - sum.exact).abs() / ratio),
                        false => "the very value".to_string(),
                    };
                    [format!("{:e}", sum.exact), format!("{got:e}"), bound]
                });
            }
        }
        self.judged.extend(outputs);
        self
    }

    /// Index, wanted and got value of every element.
    fn elements(&self, outputs: &[Output]) -> Vec<(u64, f64, f64)> {
        let mut all = Vec::new();
        let mut index = 0;
        for output in outputs {
            let side = |side| {
                self.find(side, output.operand)
                    .get(output.first as usize..)
                    .unwrap_or_default()
            };
            let (want, got) = (side(self.comparison.want), side(self.comparison.got));
            if (want.len().min(got.len()) as u64) < output.view.words() {
                return Vec::new();
            }
            for row in 0..output.view.rows {
                for col in 0..output.view.cols {
                    let [want, got] = [want, got].map(|words| output.view.load(words, row, col));
                    all.push((index, want, got));
                    index += 1;
                }
            }
        }
        all
    }

    /// Holds the elements of a composite operation's output to a bound that its file derives. f32 lies inside the
    /// bound; bf16 is a neighbour of some value inside it. With `kept`, what is stored is the very rounding of the f32
    /// that another operand holds.
    ///
    /// Where the exact value or its bound is not finite, devices that follow IEEE 754 owe a NaN for a NaN and an
    /// infinity for itself.
    pub fn composite(
        mut self,
        output: Output,
        within: impl Fn(usize, usize) -> Within,
        kept: Option<Kept<'_>>,
    ) -> Self {
        let Output { operand, view, .. } = output;
        let got = self.find(self.comparison.got, operand);
        let got = got.get(output.first as usize..).unwrap_or_default();
        let beside = kept
            .as_ref()
            .map(|kept| self.find(self.comparison.got, kept.operand));
        let short = |words: &[u32], view: &View| (words.len() as u64) < view.words();
        let kept_short = kept
            .as_ref()
            .zip(beside)
            .is_some_and(|(kept, words)| short(words, &kept.view));
        if short(got, &view) || kept_short {
            let expected = || [format!("{view}"), "fewer words".into(), "all of them".into()];
            self.verdict.element(operand, 0, f64::INFINITY, expected);
            return self;
        }
        let ieee = self.comparison.arithmetic.ieee;
        for row in 0..view.rows {
            for col in 0..view.cols {
                let index = (row * view.cols + col) as u64;
                let found = view.load_bits(got, row, col);
                within(row, col).judge(&mut self.verdict, operand, index, (view.dtype, found), ieee);
                let Some((kept, beside)) = kept.as_ref().zip(beside) else {
                    continue;
                };
                let before = kept.view.load_bits(beside, row, col);
                let rounded = (kept.rounded)(before, index);
                let ratio = if rounded == found { 0.0 } else { f64::INFINITY };
                self.verdict.element(operand, index, ratio, || {
                    let bound = format!("the rounding of {before:#010x} in {}", kept.operand);
                    [format!("{rounded:#010x}"), format!("{found:#010x}"), bound]
                });
            }
        }
        self.judged.push(output);
        self
    }

    /// The verdict, once every word that no call has judged has been held to the reference's: operands of the exact
    /// class as a whole, and padding in the others.
    pub(super) fn finish(mut self) -> Verdict {
        let names = std::mem::take(&mut self.names);
        for (at, &(name, _)) in names.iter().enumerate().filter(|(_, (_, written))| *written) {
            let [want, got] = [self.comparison.want, self.comparison.got];
            let (Some(want), Some(got)) = (want.get(at).copied(), got.get(at).copied()) else {
                continue;
            };
            self.verdict.bit_equal &= want == got;
            let judged: Vec<_> = self
                .judged
                .iter()
                .filter(|output| output.operand == name)
                .collect();
            if judged.is_empty() || want.len() != got.len() {
                words_equal(&mut self.verdict, name, want, got, |want, got| want == got);
                continue;
            }
            let mut padding = vec![u32::MAX; want.len()];
            for output in judged {
                let first = output.first as usize;
                for row in 0..output.view.rows {
                    for col in 0..output.view.cols {
                        uncover(&output.view, &mut padding[first..], row, col);
                    }
                }
            }
            for (index, mask) in padding.into_iter().enumerate() {
                let [want, got] = [want[index] & mask, got[index] & mask];
                if want != got {
                    self.verdict.element(name, index as u64, f64::INFINITY, || {
                        [
                            format!("{want:#010x}"),
                            format!("{got:#010x}"),
                            "padding as it was (index in words)".into(),
                        ]
                    });
                }
            }
        }
        self.verdict
    }
}

/// Clears the bits of one element in a mask of words.
fn uncover(view: &View, mask: &mut [u32], row: usize, col: usize) {
    let at = row * view.ld + col;
    match view.dtype {
        DType::F64 => mask[2 * at..2 * at + 2].fill(0),
        DType::F32 | DType::U32 => mask[at] = 0,
        DType::Bf16 | DType::U16 => mask[at / 2] &= !(0xffff << (16 * (at % 2))),
    }
}
