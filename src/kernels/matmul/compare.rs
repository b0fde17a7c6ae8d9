//! The judge of matmul: bit-equal where every input is a small integer, inside the bound elsewhere.

use super::{Matmul, MatrixLayout};
use crate::op::contract::{Comparison, ErrorBound, Stored, Verdict, is_subnormal, words_equal};
use crate::tensor::DType;
use crate::tensor::element::load;

/// One batch of op(A) or op(B) in f64, row-major.
struct Dense {
    values: Vec<f64>,
    cols: usize,
}

impl Dense {
    fn read(matrix: &MatrixLayout, words: &[u32], batch: usize, rows: usize, cols: usize) -> Self {
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            for col in 0..cols {
                let (row, col) = if matrix.transposed { (col, row) } else { (row, col) };
                values.push(load(
                    matrix.dtype,
                    words,
                    batch * matrix.batch_stride + row * matrix.ld + col,
                ));
            }
        }
        Self { values, cols }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }
}

pub(super) fn compare(op: &Matmul, comparison: &Comparison<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let [before, want, got] = [comparison.before, comparison.want, comparison.got];
    let (Some(c_before), Some(c_want), Some(c_got)) = (before.get(2), want.get(2), got.get(2)) else {
        verdict.element("c", 0, f64::INFINITY, || {
            ["three operands".into(), "fewer".into(), "-".into()]
        });
        return verdict;
    };
    if c_want.len() != c_got.len() {
        words_equal(&mut verdict, "c", c_want, c_got, |want, got| want == got);
        return verdict;
    }
    padding(op, &mut verdict, c_want, c_got);
    verdict.bit_equal = c_want == c_got;
    let bias: Vec<f64> = match (op.bias, before.get(3)) {
        (Some(dtype), Some(words)) => (0..op.n).map(|j| load(dtype, words, j)).collect(),
        _ => vec![0.0; op.n],
    };
    let exact_scalars = [op.alpha, op.beta]
        .iter()
        .all(|scalar| [-1.0, 0.0, 1.0].contains(scalar));
    let mut products = vec![0f64; op.n];
    let mut magnitudes = vec![0f64; op.n];
    let mut subnormal_magnitudes = vec![0f64; op.n];
    for batch in 0..op.batch {
        if op.m == 0 || op.n == 0 {
            break;
        }
        let k = op.terms();
        let a = Dense::read(&op.a, before[0], batch, op.m, k);
        let b = Dense::read(&op.b, before[1], batch, k, op.n);
        let element = |i: usize, j: usize| batch * op.c.batch_stride + i * op.c.ld + j;
        let old = |i: usize, j: usize| match op.beta {
            0.0 => 0.0,
            _ => load(op.c.dtype, c_before, element(i, j)),
        };
        let integers = exact_scalars
            && k <= 1 << 16
            && a.values
                .iter()
                .chain(&b.values)
                .chain(&bias)
                .all(|&value| is_small_integer(value))
            && (0..op.m).all(|i| (0..op.n).all(|j| is_small_integer(old(i, j))));
        let index = |i: usize, j: usize| ((batch * op.m + i) * op.n + j) as u64;
        if integers {
            for i in 0..op.m {
                for j in 0..op.n {
                    let [want, got] = [c_want, c_got].map(|c| load(op.c.dtype, c, element(i, j)));
                    // Equal values are equal bits here, the sign of zero aside: integers are no NaN.
                    let ratio = if want == got { 0.0 } else { f64::INFINITY };
                    verdict.element("c", index(i, j), ratio, || {
                        [
                            format!("{want:e}"),
                            format!("{got:e}"),
                            "bit-equal (small integers)".into(),
                        ]
                    });
                }
            }
            continue;
        }
        let subnormals = a.values.iter().chain(&b.values).any(|&value| is_subnormal(value));
        for i in 0..op.m {
            products.fill(0.0);
            magnitudes.fill(0.0);
            subnormal_magnitudes.fill(0.0);
            for (&left, k) in a.row(i).iter().zip(0..) {
                let right = b.row(k);
                for j in 0..op.n {
                    let product = left * right[j];
                    products[j] += product;
                    magnitudes[j] += product.abs();
                }
                if subnormals {
                    for j in 0..op.n {
                        if is_subnormal(left) || is_subnormal(right[j]) {
                            subnormal_magnitudes[j] += (left * right[j]).abs();
                        }
                    }
                }
            }
            for j in 0..op.n {
                let (alpha, beta) = (f64::from(op.alpha), f64::from(op.beta));
                let old = old(i, j);
                let terms = [
                    (alpha.abs() * magnitudes[j], is_subnormal(alpha)),
                    ((beta * old).abs(), is_subnormal(beta) || is_subnormal(old)),
                    (bias[j].abs(), is_subnormal(bias[j])),
                ];
                let bound = ErrorBound {
                    terms: k as u64,
                    alpha: alpha.abs(),
                    products: magnitudes[j],
                    subnormal_products: subnormal_magnitudes[j],
                    added: terms[1].0 + terms[2].0,
                    subnormal_added: terms.iter().filter(|term| term.1).map(|term| term.0).sum(),
                    stored: stored(op),
                };
                let sum = alpha * products[j] + beta * old + bias[j];
                // ReLU never moves two values apart, so the bound of its argument holds for it.
                let sum = if op.relu && sum < 0.0 { 0.0 } else { sum };
                let got = load(op.c.dtype, c_got, element(i, j));
                if let Some(ratio) = bound.ratio(sum, got, &comparison.arithmetic) {
                    verdict.element("c", index(i, j), ratio, || {
                        let allowed = (got - sum).abs() / ratio;
                        [format!("{sum:e}"), format!("{got:e}"), format!("{allowed:e}")]
                    });
                }
            }
        }
    }
    verdict
}

fn stored(op: &Matmul) -> Stored {
    match op.c.dtype {
        DType::F64 => Stored::F64,
        DType::Bf16 if op.is_stochastic() => Stored::Bf16Stochastic,
        DType::Bf16 => Stored::Bf16Nearest,
        _ => Stored::F32,
    }
}

/// Sums of up to 2^16 products of such numbers are exact in f32 in any order.
fn is_small_integer(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= 8.0
}

/// What lies between the rows of C must be as the reference left it, the zero half beside a last odd column
/// included.
fn padding(op: &Matmul, verdict: &mut Verdict, want: &[u32], got: &[u32]) {
    // Bits of every word that belong to an output.
    let mut logical = vec![0u32; want.len()];
    for batch in 0..op.batch {
        for i in 0..op.m {
            for j in 0..op.n {
                let element = batch * op.c.batch_stride + i * op.c.ld + j;
                match op.c.dtype {
                    DType::F64 => logical[2 * element..2 * element + 2].fill(u32::MAX),
                    DType::Bf16 => logical[element / 2] |= 0xffff << (16 * (element % 2)),
                    _ => logical[element] = u32::MAX,
                }
            }
        }
    }
    for (index, &mask) in logical.iter().enumerate() {
        let [want, got] = [want[index] & !mask, got[index] & !mask];
        if want != got {
            verdict.element("c", index as u64, f64::INFINITY, || {
                [
                    format!("{want:#010x}"),
                    format!("{got:#010x}"),
                    "padding untouched (index in words)".into(),
                ]
            });
        }
    }
}
