//! The numerics contract: four classes, and the judge of each. No other tolerance exists.
//!
//! | class | what it promises |
//! |---|---|
//! | exact | bit-equal to the reference on every device |
//! | bounded | `abs(C - C64) <= gamma * T + F + R`, elementwise (see [`ErrorBound`]) |
//! | composite | inside a bound derived in the operation's file from WGSL's accuracy table |
//! | random | one of the two neighbours, with the right probability; the bits themselves are exact |

use super::judge::Sums;
use crate::gpu::{OperandSpec, Plan, StepValues};

/// The class of an operation's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Bit-equal to the reference.
    Exact,
    /// Within the rounding bound of a sum of products taken in any order.
    Bounded,
    /// Within a bound made of the accuracies of the functions used.
    Composite,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Bounded => "bounded",
            Self::Composite => "composite",
        })
    }
}

/// What may be assumed of a device's f32 arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Arithmetic {
    /// The unit roundoff: 2^-23 where either neighbour may be returned (WGSL, and dpbf16), else 2^-24.
    pub unit: f64,
    /// What one flushed operand or result may cost: 2^-124 where subnormals may flush, else 2^-149.
    pub eta: f64,
    /// Whether subnormals may flush to zero.
    pub flushes: bool,
    /// Whether NaN and Inf follow IEEE 754.
    pub ieee: bool,
    /// Whether matrix units sum the products: several a step, each truncated to the largest, for which gamma counts
    /// 2 K + 4 roundings.
    pub matrix_unit: bool,
}

impl Arithmetic {
    /// WGSL: either neighbour, subnormals may flush, NaN and Inf may be assumed absent.
    pub const GPU: Self = Self {
        unit: 1.0 / 8_388_608.0,
        eta: f64::from_bits(0x3830_0000_0000_0000),
        flushes: true,
        ieee: false,
        matrix_unit: false,
    };
    /// Of a plan: [`Arithmetic::GPU`], and whether it runs on matrix units.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            matrix_unit: plan.on_matrix_unit(),
            ..Self::GPU
        }
    }

    /// IEEE 754 binary32, rounding to nearest.
    pub const CPU: Self = Self {
        unit: 1.0 / 16_777_216.0,
        eta: f64::from_bits(0x36a0_0000_0000_0000),
        flushes: false,
        ieee: true,
        matrix_unit: false,
    };
    /// The CPU's `dpbf16` instruction: flushes subnormals and orders its sums its own way.
    pub const DPBF16: Self = Self {
        ieee: true,
        ..Self::GPU
    };
}

/// A device's results beside the reference's.
#[derive(Debug)]
#[non_exhaustive]
pub struct Comparison<'a> {
    /// Every operand before the run.
    pub before: &'a [&'a [u32]],
    /// Every operand after the reference ran.
    pub want: &'a [&'a [u32]],
    /// Every operand after the device ran.
    pub got: &'a [&'a [u32]],
    /// What may be assumed of the device's arithmetic.
    pub arithmetic: Arithmetic,
    /// The run's step values.
    pub step: StepValues,
    /// Where the f64 sums of the case are kept, if it is run more than once.
    pub sums: Option<&'a Sums>,
}

impl<'a> Comparison<'a> {
    /// Every operand before the run, after the reference ran and after the device ran, of a GPU whose arithmetic is
    /// WGSL's and without step values.
    #[must_use]
    pub fn new(before: &'a [&'a [u32]], want: &'a [&'a [u32]], got: &'a [&'a [u32]]) -> Self {
        Self {
            before,
            want,
            got,
            arithmetic: Arithmetic::GPU,
            step: StepValues::default(),
            sums: None,
        }
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// Elements compared.
    pub compared: u64,
    /// The largest error divided by its bound; 0 when every element is bit-equal.
    pub worst_ratio: f64,
    /// Whether every element is bit-equal to the reference.
    pub bit_equal: bool,
    /// The worst element outside its class, if any is.
    pub failure: Option<Failure>,
}

/// The worst element of a failed comparison.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// The operand's name.
    pub operand: &'static str,
    /// The element's index (row-major, or the word's for packed operands).
    pub index: u64,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
    /// The bound it broke.
    pub bound: String,
    /// How many elements are outside their class.
    pub count: u64,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} elements of {} wrong; worst at index {}: expected {}, got {}, bound {}",
            self.count, self.operand, self.index, self.expected, self.got, self.bound
        )
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            compared: 0,
            worst_ratio: 0.0,
            bit_equal: true,
            failure: None,
        }
    }
}

impl Verdict {
    /// Whether every element is inside its class.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// Counts one element: `ratio` is its error divided by its bound, and passes up to 1 (NaN fails).
    pub fn element(
        &mut self,
        operand: &'static str,
        index: u64,
        ratio: f64,
        describe: impl FnOnce() -> [String; 3],
    ) {
        self.compared += 1;
        let ratio = if ratio.is_nan() { f64::INFINITY } else { ratio };
        let worst_so_far = self.worst_ratio;
        self.worst_ratio = worst_so_far.max(ratio);
        if ratio <= 1.0 {
            return;
        }
        let count = self.failure.as_ref().map_or(0, |failure| failure.count) + 1;
        match &mut self.failure {
            Some(failure) if ratio <= worst_so_far => failure.count = count,
            failure => {
                let [expected, got, bound] = describe();
                *failure = Some(Failure {
                    operand,
                    index,
                    expected,
                    got,
                    bound,
                    count,
                });
            }
        }
    }

    /// Joins the verdict of another operand.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.compared += other.compared;
        self.worst_ratio = self.worst_ratio.max(other.worst_ratio);
        self.bit_equal &= other.bit_equal;
        self.failure = self.failure.or(other.failure);
        self
    }
}

/// The exact class: every word of every written operand, padding and guard words included.
#[must_use]
pub fn exact(operands: &[OperandSpec], comparison: &Comparison<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for (i, spec) in operands.iter().enumerate() {
        if !spec.is_written() {
            continue;
        }
        let (want, got) = (comparison.want[i], comparison.got[i]);
        words_equal(&mut verdict, spec.name, want, got, |want, got| want == got);
    }
    verdict
}

/// Compares two operands word by word with `equal`, which may treat zeros of either sign alike.
pub fn words_equal(
    verdict: &mut Verdict,
    operand: &'static str,
    want: &[u32],
    got: &[u32],
    equal: impl Fn(u32, u32) -> bool,
) {
    if want.len() != got.len() {
        verdict.element(operand, 0, f64::INFINITY, || {
            [
                format!("{} words", want.len()),
                format!("{} words", got.len()),
                "equal lengths".into(),
            ]
        });
        return;
    }
    for (index, (&want, &got)) in want.iter().zip(got).enumerate() {
        verdict.bit_equal &= want == got;
        let ratio = if want == got || equal(want, got) {
            0.0
        } else {
            f64::INFINITY
        };
        verdict.element(operand, index as u64, ratio, || {
            [
                format!("{want:#010x}"),
                format!("{got:#010x}"),
                "bit-equal".into(),
            ]
        });
    }
}

/// How a result was rounded to its stored format: the term R of the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// f32: nothing is added.
    F32,
    /// f64: nothing is added.
    F64,
    /// bf16 to nearest: half a unit in the last place.
    Bf16Nearest,
    /// bf16 by stochastic rounding: a whole unit.
    Bf16Stochastic,
}

impl Stored {
    fn allowance(self, value: f64) -> f64 {
        match self {
            Self::F32 | Self::F64 => 0.0,
            Self::Bf16Nearest => value.abs() / 256.0 + 2f64.powi(-134),
            Self::Bf16Stochastic => value.abs() / 128.0 + 2f64.powi(-133),
        }
    }

    fn largest(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::MAX),
            Self::F64 => f64::MAX,
            Self::Bf16Nearest | Self::Bf16Stochastic => f64::from(f32::from_bits(0x7f7f_0000)),
        }
    }
}

/// The bound of the bounded class for one output element
/// `C = alpha * sum_k a_k b_k + beta * C_in + bias`, all magnitudes computed in f64:
///
/// `abs(C - C64) <= gamma * T + F + R`, with
/// `gamma = (1 + u)^(K + 4) - 1` (K - 1 additions, one product rounding, alpha, C_in, bias and one to spare
/// for C64's own error; `2 K + 4` for [matrix units](Arithmetic::matrix_unit)), `T = abs(alpha) sum abs(a_k b_k) + abs(beta C_in) + abs(bias)`, `F` for flushed
/// results and operands, `R` for the output's own rounding. Any order of the sum, split-K with f32 partials
/// included, satisfies it.
#[derive(Clone, Copy, Debug)]
pub struct ErrorBound {
    /// Products summed.
    pub terms: u64,
    /// `abs(alpha)`.
    pub alpha: f64,
    /// `sum abs(a_k b_k)`.
    pub products: f64,
    /// The part of `products` with a subnormal operand.
    pub subnormal_products: f64,
    /// `abs(beta * C_in)`, `abs(bias)`, summed.
    pub added: f64,
    /// The part of `T` whose alpha, beta, C_in or bias is subnormal.
    pub subnormal_added: f64,
    /// How the output is stored.
    pub stored: Stored,
}

impl ErrorBound {
    /// Error divided by bound, or `None` where the element is not compared because intermediate results may
    /// pass the largest finite value (or inputs are NaN or Inf on a device that may assume them absent).
    #[must_use]
    pub fn ratio(&self, exact: f64, got: f64, arithmetic: &Arithmetic) -> Option<f64> {
        let unit = if self.stored == Stored::F64 {
            f64::EPSILON / 2.0
        } else {
            arithmetic.unit
        };
        let eta = if self.stored == Stored::F64 {
            f64::MIN_POSITIVE * f64::EPSILON
        } else {
            arithmetic.eta
        };
        let terms = if arithmetic.matrix_unit {
            2 * self.terms
        } else {
            self.terms
        };
        let gamma = ((terms + 4) as f64 * unit.ln_1p()).exp_m1();
        // In f64 the reference rounds as often as the device does.
        let gamma = if self.stored == Stored::F64 {
            2.0 * gamma
        } else {
            gamma
        };
        let alpha_up = self.alpha.max(1.0);
        let total = self.alpha * self.products + self.added;
        let mut flushed = eta * (self.terms as f64 * alpha_up + 2.0);
        if arithmetic.flushes {
            flushed += self.alpha * self.subnormal_products + self.subnormal_added;
        }
        let rounding = self.stored.allowance(got);
        let reach = (1.0 + gamma) * (alpha_up * self.products + self.added) + flushed;
        let reach = reach + if rounding.is_finite() { rounding } else { 0.0 };
        if !reach.is_finite() || reach > self.stored.largest() {
            // IEEE devices still owe a NaN where the exact sum is one.
            return None;
        }
        let bound = gamma * total + flushed + rounding;
        let error = (got - exact).abs();
        Some(if error == 0.0 { 0.0 } else { error / bound })
    }
}

/// Whether an f32's magnitude is subnormal (and not zero).
#[must_use]
pub fn is_subnormal(value: f64) -> bool {
    value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE)
}
