//! Helpers of kernels over rows, and judges of values inside a bound.

use std::ops::Range;

use super::Verdict;
use crate::format::bf16;
use crate::tensor::DType;

/// Words that `rows` rows of `cols` elements span.
pub(crate) fn words(dtype: DType, rows: usize, cols: usize, ld: usize) -> u64 {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows as u64 - 1) * dtype.words(ld as u64) + dtype.words(cols as u64)
}

/// Cuts a range into the fewest runs of at most `most` (at least one), all but the last as long as that.
pub(crate) fn cut(range: Range<u64>, most: u64) -> impl Iterator<Item = Range<u64>> + Clone {
    let (most, count) = (most.max(1), range.end - range.start);
    (0..count.div_ceil(most))
        .map(move |i| range.start + i * most..(range.start + (i + 1) * most).min(range.end))
}

/// A result of a composite operation: its exact value, and how far the device's f32 may be from it.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// The exact value.
    pub exact: f64,
    /// The most that the f32 may differ by.
    pub bound: f64,
}

impl Within {
    /// Whether every value inside the bound is a finite number of the stored type; others are not compared.
    pub(crate) fn finite(&self, dtype: DType) -> bool {
        let largest = match dtype {
            DType::Bf16 => f64::from(f32::from_bits(0x7f7f_0000)),
            _ => f64::from(f32::MAX),
        };
        // NaN compares false.
        self.exact.abs() + self.bound <= largest
    }

    /// Judges one element by the bits of its f32, or its bf16 widened.
    pub(super) fn judge(
        &self,
        verdict: &mut Verdict,
        operand: &'static str,
        index: u64,
        (dtype, bits): (DType, u32),
        ieee: bool,
    ) {
        if self.finite(dtype) {
            match dtype {
                DType::Bf16 => self.bf16(verdict, operand, index, (bits >> 16) as u16),
                DType::F64 | DType::F32 | DType::U32 | DType::U16 => self.f32(verdict, operand, index, bits),
            }
        } else if ieee {
            let value = f64::from(f32::from_bits(bits));
            let right = match self.exact {
                exact if exact.is_nan() => value.is_nan(),
                exact if exact.is_infinite() => value == exact,
                // Some value inside the bound is past the largest finite one: nothing is promised.
                _ => true,
            };
            let ratio = if right { 0.0 } else { f64::INFINITY };
            verdict.element(operand, index, ratio, || {
                [self.exact.to_string(), value.to_string(), "the very value".into()]
            });
        }
    }

    /// Judges the bits of an f32.
    pub(crate) fn f32(&self, verdict: &mut Verdict, operand: &'static str, index: u64, got: u32) {
        let value = f64::from(f32::from_bits(got));
        let error = (value - self.exact).abs();
        let ratio = if error == 0.0 { 0.0 } else { error / self.bound };
        verdict.element(operand, index, ratio, || {
            [self.exact.to_string(), value.to_string(), self.bound.to_string()]
        });
    }

    /// Judges a bf16: it must be one of the two neighbours of some value inside the bound.
    pub(crate) fn bf16(&self, verdict: &mut Verdict, operand: &'static str, index: u64, got: u16) {
        let value = f64::from(bf16::widen(got));
        let reach = if value > self.exact {
            bf16_above(self.exact + self.bound) - self.exact
        } else {
            self.exact + bf16_above(self.bound - self.exact)
        };
        let error = (value - self.exact).abs();
        let ratio = if error == 0.0 { 0.0 } else { error / reach };
        verdict.element(operand, index, ratio, || {
            [
                self.exact.to_string(),
                value.to_string(),
                format!("{} and a bf16", self.bound),
            ]
        });
    }
}

/// The smallest bf16 at or above a finite value.
fn bf16_above(value: f64) -> f64 {
    // To f32 toward zero first, so that the cut to bf16 cannot pass the value.
    let nearest = value as f32;
    let mut bits = nearest.to_bits();
    if f64::from(nearest).abs() > value.abs() {
        bits -= 1;
    }
    let cut = bits & 0xffff_0000;
    let toward_zero = f64::from(f32::from_bits(cut));
    if toward_zero >= value {
        toward_zero
    } else {
        // Below the value, so it is not negative, except that a negative subnormal was cut to -0.
        f64::from(f32::from_bits((cut & 0x7fff_ffff) + 0x0001_0000))
    }
}

#[cfg(test)]
mod tests {
    use super::bf16_above;

    #[test]
    fn the_bf16_above() {
        for (value, above) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.0 + 1e-12, 1.0078125),
            (-1.0 - 1e-12, -1.0),
            (-1.0 + 1e-12, -0.99609375),
            (1e-60, 2f64.powi(-133)),
        ] {
            assert_eq!(bf16_above(value), above, "{value}");
        }
        assert!(bf16_above(-1e-60) == 0.0);
    }
}
