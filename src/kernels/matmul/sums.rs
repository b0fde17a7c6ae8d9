//! The f64 sums that matmul's results are held to.

use super::{Matmul, MatrixLayout};
use crate::format::{Elements, Format, UNIT_SCALE};
use crate::op::{Factors, Judge, Output, Stored, Sum, SumRow};
use crate::tensor::{DType, View};

pub(super) fn judge<'j>(op: &Matmul, judge: Judge<'j>) -> Judge<'j> {
    let view = op.c.view([op.m, op.n]);
    let outputs: Vec<_> = match view.is_empty() {
        true => Vec::new(),
        false => (0..op.batch)
            .map(|batch| Output {
                operand: "c",
                first: op.c.batch_word(batch) as u64,
                view,
            })
            .collect(),
    };
    let before = ["a", "a_scales", "b", "b_scales", "c", "bias"].map(|operand| judge.before(operand));
    judge.bounded(&outputs, stored(op), || sums(op, before))
}

fn stored(op: &Matmul) -> Stored {
    match op.c.dtype() {
        DType::F64 => Stored::F64,
        DType::Bf16 if op.is_stochastic() => Stored::Bf16Stochastic,
        DType::Bf16 => Stored::Bf16Nearest,
        DType::F32 | DType::U32 | DType::U16 => Stored::F32,
    }
}

/// One batch of op(A) or op(B), row-major.
fn dense(
    matrix: &MatrixLayout,
    [words, scales]: [&[u32]; 2],
    batch: usize,
    [rows, cols]: [usize; 2],
) -> Vec<Vec<f64>> {
    let words = words.get(matrix.batch_word(batch)..).unwrap_or_default();
    let value = |row: usize, col: usize| {
        let (row, col) = if matrix.transposed { (col, row) } else { (row, col) };
        match matrix.elements {
            Elements::Plain(_) => {
                let view = match matrix.transposed {
                    true => matrix.view([cols, rows]),
                    false => matrix.view([rows, cols]),
                };
                view.load(words, row, col)
            }
            Elements::Coded(format) => {
                let code = format.get(&words[row * matrix.row_words() as usize..], col);
                let byte = scale(format, scales, batch * matrix.batch_rows() + row, matrix.ld, col);
                f64::from(f32::from_bits(format.decode_one(code, byte)))
            }
        }
    };
    let row = |row| (0..cols).map(|col| value(row, col)).collect();
    (0..rows).map(row).collect()
}

/// The byte of the scale of an element.
fn scale(format: Format, scales: &[u32], row: usize, cols: usize, col: usize) -> u8 {
    let head = format.head_words();
    match format.block_size() {
        Some(size) => {
            let byte = 4 * (head + row * format.scale_words_per_row(cols)) + col / size as usize;
            (scales[byte / 4] >> (8 * (byte % 4))) as u8
        }
        None if head > 0 => (scales[0] >> 23) as u8,
        None => UNIT_SCALE,
    }
}

fn sums(op: &Matmul, [a, a_scales, b, b_scales, c, bias]: [&[u32]; 6]) -> Vec<Sum> {
    let (k, c_view) = (op.terms(), op.c.view([op.m, op.n]));
    let bias = |col| op.bias.map(|dtype| View::vector(dtype, op.n).load(bias, 0, col));
    let mut all = Vec::with_capacity(op.batch * op.m * op.n);
    for batch in 0..op.batch {
        let left = dense(&op.a, [a, a_scales], batch, [op.m, k]);
        let right = dense(&op.b, [b, b_scales], batch, [k, op.n]);
        let right: Vec<_> = right.into_iter().map(Factors::new).collect();
        let c = c.get(op.c.batch_word(batch)..).unwrap_or_default();
        for (i, left) in left.iter().enumerate() {
            let mut row = SumRow::new(op.n);
            for (&left, right) in left.iter().zip(&right) {
                row.add(left, right);
            }
            for (j, mut sum) in row.sums().enumerate() {
                sum.scale(op.alpha.into());
                if op.reads_c() {
                    sum.add(op.beta.into(), c_view.load(c, i, j));
                }
                if let Some(bias) = bias(j) {
                    sum.add(1.0, bias);
                }
                if op.relu {
                    sum.relu();
                }
                all.push(sum);
            }
        }
    }
    all
}
