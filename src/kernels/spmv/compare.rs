//! The judge of products with a sparse matrix: bit-equal where every input is a small integer, inside the bound
//! elsewhere.

use crate::op::contract::{Comparison, ErrorBound, Stored, Verdict, is_subnormal};
use crate::tensor::DType;
use crate::tensor::element::load;

/// `C = A B` with A in compressed sparse rows and B of `n` columns; a product with a vector has one.
pub(in crate::kernels) struct Product<'a> {
    /// `row_ptr`, one more than the rows.
    pub(in crate::kernels) row_ptr: &'a [u32],
    /// Column and value of an entry.
    pub(in crate::kernels) entry: &'a dyn Fn(usize) -> (usize, f64),
    /// Type, words, rows and leading dimension of B.
    pub(in crate::kernels) b: (DType, &'a [u32], usize, usize),
    /// Columns of B and C.
    pub(in crate::kernels) n: usize,
    /// Type, name and leading dimension of C, and how it is stored.
    pub(in crate::kernels) c: (DType, &'static str, usize, Stored),
}

/// Judges the logical elements of C; `want` and `got` are its words.
pub(in crate::kernels) fn compare(
    product: &Product<'_>,
    want: &[u32],
    got: &[u32],
    comparison: &Comparison<'_>,
) -> Verdict {
    let mut verdict = Verdict {
        bit_equal: want == got,
        ..Verdict::default()
    };
    let Product {
        row_ptr, entry, n, ..
    } = *product;
    let (b_type, b, b_rows, b_ld) = product.b;
    let (c_type, name, c_ld, stored) = product.c;
    let nnz = row_ptr.last().map_or(0, |&last| last as usize);
    let small = |value: f64| value.fract() == 0.0 && value.abs() <= 8.0;
    // Sums of whole numbers are exact in f32 in every order while their magnitudes add up to no more than 2^24.
    let integers = (0..nnz).all(|at| small(entry(at).1))
        && (0..b_rows).all(|row| (0..n).all(|col| small(load(b_type, b, row * b_ld + col))));
    for (row, ends) in row_ptr.windows(2).enumerate() {
        let range = ends[0] as usize..ends[1] as usize;
        let terms = range.len() as u64;
        for col in 0..n {
            let element = row * c_ld + col;
            let result = load(c_type, got, element);
            let (mut exact, mut products, mut subnormal_products) = (0.0f64, 0.0, 0.0);
            for at in range.clone() {
                let (column, left) = entry(at);
                let right = load(b_type, b, column * b_ld + col);
                exact += left * right;
                products += (left * right).abs();
                if is_subnormal(left) || is_subnormal(right) {
                    subnormal_products += (left * right).abs();
                }
            }
            if integers && products <= 16_777_216.0 {
                // Equal values are equal bits here, the sign of zero aside.
                let want = load(c_type, want, element);
                let ratio = if result == want { 0.0 } else { f64::INFINITY };
                verdict.element(name, element as u64, ratio, || {
                    [
                        want.to_string(),
                        result.to_string(),
                        "bit-equal (small integers)".into(),
                    ]
                });
                continue;
            }
            let bound = ErrorBound {
                terms,
                alpha: 1.0,
                products,
                subnormal_products,
                added: 0.0,
                subnormal_added: 0.0,
                stored,
            };
            let ratio = match bound.ratio(exact, result, &comparison.arithmetic) {
                Some(ratio) => ratio,
                // IEEE devices owe a NaN where the exact sum is one.
                None if comparison.arithmetic.ieee && exact.is_nan() && !result.is_nan() => f64::INFINITY,
                None => continue,
            };
            verdict.element(name, element as u64, ratio, || {
                let bound = format!("that of {terms} products");
                [exact.to_string(), result.to_string(), bound]
            });
        }
    }
    verdict
}
