use super::Decode;
use crate::format::{Format, NAMED};
use crate::kernels::shared::coded_cases::{formats, matrix};
use crate::kernels::shared::codes_cases::{bfp, every_code, values};
use crate::op::{BenchCase, Case, Effort};
use crate::tensor::DType::{self, Bf16, F32};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let columns = [1usize, 7, 31, 33, 129, 257, 8, 64];
    for (i, format) in bfp().enumerate() {
        let (rows, cols) = (1 + i % 4, columns[i % columns.len()]);
        cases.push(case(
            quick,
            op(format, if i % 2 == 0 { F32 } else { Bf16 }, rows, cols),
            true,
        ));
    }
    for (i, format) in formats().into_iter().enumerate() {
        for (j, to) in [F32, Bf16].into_iter().enumerate() {
            cases.push(case(
                quick,
                op(format, to, 3, columns[(i + j) % columns.len()]),
                true,
            ));
            // Every code: of 16 bits in as many rows as that takes.
            let rows = if format.bits() > 8 { 128 } else { 3 };
            cases.push(on_every_code(quick, op(format, to, rows, 523)));
        }
        for (rows, cols) in [(0, 5), (5, 0)] {
            cases.push(case(quick, op(format, F32, rows, cols), true));
        }
        let to = if i % 2 == 0 { F32 } else { Bf16 };
        cases.push(case(Effort::Full, op(format, to, 1024, 1031), true));
    }
    if let Ok(format) = Format::bfp(16, 4) {
        cases.push(case(Effort::Full, op(format, F32, 1024, 1031), true));
    }
    // Leading dimensions far wider than the rows; one row whose own is odd.
    if let Ok(format) = Format::bfp(32, 5) {
        for to in [F32, Bf16] {
            for (rows, cols, dst_ld) in [(3, 45, 1000), (3, 48, 2050), (1, 45, 45)] {
                cases.push(case(
                    quick,
                    Decode {
                        dst_ld,
                        ..op(format, to, rows, cols)
                    },
                    true,
                ));
            }
        }
    }
    // A row whose last four codes lie in three words.
    if let Ok(format) = "q2.11".parse::<Format>() {
        cases.push(case(quick, op(format, F32, 3, 8), false));
    }
    cases
}

/// What is measured at size `n`: every format that has a name.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let each = NAMED.iter().map(|named| {
        case(
            Effort::Full,
            Decode {
                dst_ld: n,
                ..op(named.format, F32, n, n)
            },
            false,
        )
    });
    each.map(BenchCase::from).collect()
}

/// What is measured beside that: an odd shape, a single row, and a tiny matrix.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let Ok(format) = Format::bfp(16, 4) else {
        return Vec::new();
    };
    let shapes = [(n | 1, n.saturating_sub(1) | 1), (1, n), (3, 5)];
    let each = shapes.map(|(rows, cols)| case(Effort::Full, op(format, F32, rows, cols), false));
    each.into_iter().map(BenchCase::from).collect()
}

fn op(format: Format, to: DType, rows: usize, cols: usize) -> Decode {
    Decode {
        format,
        to,
        rows,
        cols,
        dst_ld: cols.next_multiple_of(2) + 2,
    }
}

/// A matrix as encoding makes it; with `specials` some scales are NaN, tiny or huge.
fn case(effort: Effort, op: Decode, specials: bool) -> Case {
    Case::new(effort, op, move || {
        let values = values(op.rows, op.cols, (op.rows + op.cols) as u64, specials);
        let mut operands = matrix(op.format, &values, op.rows, op.cols);
        operands.push(Vec::new());
        operands
    })
}

fn on_every_code(effort: Effort, op: Decode) -> Case {
    Case::new(effort, op, move || {
        let mut operands = every_code(op.format, op.rows, op.cols, 3);
        operands.push(Vec::new());
        operands
    })
}
