//! Rows of [`Sum`]s made side by side, as products of matrices make them.

use super::contract::is_subnormal;
use super::judge::{Sum, is_small_integer};

/// Products of factors below it are finite in f64.
const TAME: f64 = 1e150;

/// The factors of one k, one for each sum of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    values: Vec<f64>,
    /// Whether each is a whole number of magnitude 8 at most.
    whole: Vec<bool>,
    all_whole: bool,
    /// Whether none is NaN, infinite, huge or subnormal.
    tame: bool,
}

fn is_tame(value: f64) -> bool {
    value.abs() <= TAME && !is_subnormal(value)
}

impl Factors {
    /// From their values.
    #[must_use]
    pub fn new(values: Vec<f64>) -> Self {
        let whole: Vec<_> = values.iter().map(|&value| is_small_integer(value)).collect();
        Self {
            all_whole: whole.iter().all(|&whole| whole),
            tame: values.iter().all(|&value| is_tame(value)),
            values,
            whole,
        }
    }
}

/// Sums of a row of elements that share their left factors: element by element what [`Sum::product`] makes, many times
/// faster.
#[derive(Clone, Debug)]
pub struct SumRow {
    exact: Vec<f64>,
    products: Vec<f64>,
    /// Everything else of each sum.
    rest: Vec<Sum>,
    terms: u64,
    /// Whether some sum has had whole numbers only.
    whole: bool,
}

impl SumRow {
    /// Sums of nothing.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self {
            exact: vec![0.0; len],
            products: vec![0.0; len],
            rest: vec![Sum::default(); len],
            terms: 0,
            whole: true,
        }
    }

    /// Adds the product of `a` and its own factor to every sum.
    pub fn add(&mut self, a: f64, factors: &Factors) {
        self.terms += 1;
        let sums = self.exact.iter_mut().zip(&mut self.products);
        if factors.tame && is_tame(a) {
            for ((exact, products), &b) in sums.zip(&factors.values) {
                let product = a * b;
                *exact += product;
                *products += product.abs();
            }
        } else {
            for (((exact, products), rest), &b) in sums.zip(&mut self.rest).zip(&factors.values) {
                *exact += a * b;
                *products += rest.beside(a, b);
            }
        }
        if self.whole && !(factors.all_whole && is_small_integer(a)) {
            self.whole = is_small_integer(a);
            for (rest, &whole) in self.rest.iter_mut().zip(&factors.whole) {
                rest.whole &= self.whole && whole;
            }
        }
    }

    /// The sums.
    pub fn sums(self) -> impl Iterator<Item = Sum> {
        let terms = self.terms;
        let all = self.exact.into_iter().zip(self.products).zip(self.rest);
        all.map(move |((exact, products), mut sum)| {
            (sum.exact, sum.terms, sum.products) = (exact, terms, products);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_sums_of_their_products() {
        let special = [f64::NAN, f64::INFINITY, -0.0, 1e-40, 2.0, 0.3, -8.0, 1e200];
        // The left factors of each set, with the rights of every k.
        for lefts in [
            vec![1.0, -3.0, 8.0],
            vec![0.5, 2.0],
            vec![1e-41, f64::INFINITY, 3.0],
            vec![1e200],
        ] {
            for shift in 0..special.len() {
                let rights: Vec<Vec<f64>> = (0..lefts.len())
                    .map(|k| match shift {
                        0 => (0..8).map(|j| f64::from(j) - 4.0).collect(),
                        1 => (0..8).map(|j| f64::from(j) * 0.25).collect(),
                        _ => (0..8).map(|j| special[(j * (k + 1) + shift) % 8]).collect(),
                    })
                    .collect();
                let mut row = SumRow::new(8);
                let mut each = [Sum::default(); 8];
                for (&left, rights) in lefts.iter().zip(&rights) {
                    row.add(left, &Factors::new(rights.clone()));
                    for (sum, &right) in each.iter_mut().zip(rights) {
                        sum.product(left, right);
                    }
                }
                let row: Vec<_> = row.sums().collect();
                // NaN is no number, not even itself.
                assert_eq!(format!("{row:?}"), format!("{each:?}"), "{lefts:?} {shift}");
            }
        }
    }
}
