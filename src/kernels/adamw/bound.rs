//! A value and how far a device's f32 may be from it, carried through an expression: the rules are derived in `mod.rs`.

use crate::op::{Arithmetic, Within};

const ULP: f64 = 1.0 / 8_388_608.0;
/// Divisors of magnitudes in between are divided by within 2.5 ulp.
const DIVISORS: (f64, f64) = (1.0 / DIVISOR_MOST, DIVISOR_MOST);
const DIVISOR_MOST: f64 = (1u128 << 126) as f64;

/// A value of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near<'a> {
    exact: f64,
    /// The most that the f32 is off by. Of an exact NaN or infinity: 0 where it is surely the device's too. Infinite
    /// where nothing is promised.
    off: f64,
    arithmetic: &'a Arithmetic,
}

impl<'a> Near<'a> {
    /// An operand or a scalar as it is stored.
    pub(super) fn of(exact: f64, arithmetic: &'a Arithmetic) -> Self {
        Self {
            exact,
            off: 0.0,
            arithmetic,
        }
    }

    /// What a result is held to.
    pub(super) fn within(self) -> Within {
        Within {
            exact: self.exact,
            bound: self.off,
        }
    }

    /// Of which nothing is promised, not even a NaN.
    fn unknown(self) -> Self {
        Self {
            exact: 0.0,
            off: f64::INFINITY,
            ..self
        }
    }

    fn is_unknown(self) -> bool {
        self.off.is_infinite()
    }

    /// A result; nothing is promised of it where it comes from such a value or may overflow.
    fn result(self, other: Self, exact: f64, off: impl FnOnce() -> f64) -> Self {
        if self.is_unknown() || other.is_unknown() {
            return self.unknown();
        }
        if !exact.is_finite() {
            return Self {
                exact,
                off: 0.0,
                ..self
            };
        }
        let off = off();
        if exact.abs() + off <= f64::from(f32::MAX) {
            Self { exact, off, ..self }
        } else {
            self.unknown()
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let Arithmetic { unit, eta, .. } = *self.arithmetic;
        let exact = self.exact + other.exact;
        self.result(other, exact, || {
            let off = self.off + other.off;
            off + unit * (exact.abs() + off) + 3.0 * eta
        })
    }

    pub(super) fn minus(self, other: Self) -> Self {
        let negative = Self {
            exact: -other.exact,
            ..other
        };
        self.plus(negative)
    }

    pub(super) fn times(self, other: Self) -> Self {
        let Arithmetic { unit, eta, .. } = *self.arithmetic;
        let exact = self.exact * other.exact;
        // Infinity times what may or may not be 0, or of either sign.
        let vanishes = |a: Self, b: Self| a.exact.is_infinite() && b.off > 0.0 && b.exact.abs() <= b.off;
        if vanishes(self, other) || vanishes(other, self) {
            return self.unknown();
        }
        self.result(other, exact, || {
            let (a, b) = (self.exact.abs(), other.exact.abs());
            let off = a * other.off + b * self.off + self.off * other.off;
            off + unit * (exact.abs() + off) + eta * (1.0 + a + self.off + b + other.off)
        })
    }

    /// By a divisor that is not negative.
    pub(super) fn over(self, divisor: Self) -> Self {
        let eta = self.arithmetic.eta;
        let exact = self.exact / divisor.exact;
        let (least, most) = (divisor.exact - divisor.off, divisor.exact + divisor.off);
        if divisor.exact.is_finite() && (least < DIVISORS.0 || most > DIVISORS.1) {
            return self.unknown();
        }
        self.result(divisor, exact, || match divisor.exact.is_infinite() {
            true => eta,
            false => {
                let size = self.exact.abs();
                (size + self.off + eta) / least * (1.0 + 2.5 * ULP) - size / divisor.exact + eta
            }
        })
    }

    /// `is_positive`: whether every device finds its argument to be 0 or more.
    pub(super) fn sqrt(self, is_positive: bool) -> Self {
        let exact = self.exact.sqrt();
        let (least, most) = (self.exact - self.off, self.exact + self.off);
        // Whose sign is not known may have a root or none.
        if self.exact.is_finite() && !is_positive && least <= 0.0 && most >= 0.0 {
            return self.unknown();
        }
        self.result(self, exact, || {
            let above = most.sqrt() * (1.0 + 5.0 * ULP) - exact;
            let below = exact - least.max(0.0).sqrt() * (1.0 - 5.0 * ULP);
            above.max(below) + self.arithmetic.eta
        })
    }
}
