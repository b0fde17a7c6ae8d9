use crate::kernels::Spmm;
use crate::kernels::spmv::cases::{Rows, Values, floats, generate};
use crate::op::Op as _;
use crate::op::{BenchCase, Case, Effort, data::Source};
use crate::tensor::DType::{self, Bf16, F32, U16, U32};

/// Extents of a case: rows and columns of A, columns of B, and what the leading dimensions have beyond them.
struct Shape {
    rows: usize,
    cols: usize,
    n: usize,
    pad: [usize; 2],
}

/// As [`super::spmv::cases`].
pub(crate) fn cases(most: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let plain = [U32, F32, F32, F32];
    let packed = [U16, Bf16, Bf16, Bf16];
    let mut cases = Vec::new();
    for (rows, cols, n, fill) in [
        (0, 5, 3, Rows::Regular(2)),
        (5, 0, 3, Rows::Regular(0)),
        (3, 5, 0, Rows::Regular(2)),
        (1, 1, 1, Rows::Regular(1)),
        (33, 65, 7, Rows::Regular(0)),
        (40, 50, 8, Rows::Banded(2)),
        (60, 90, 17, Rows::PowerLaw),
        (31, 64, 65, Rows::Holes(7)),
        (20, 511, 33, Rows::OneFull),
        (13, 200, 257, Rows::AroundLanes),
        (9, 70, 520, Rows::Regular(67)),
    ] {
        // As in spmv.
        if cfg!(miri) && rows.max(cols) > 100 {
            continue;
        }
        for (types, values, pad) in [
            (plain, Values::Unit, [0, 0]),
            (plain, Values::Integers, [3, 5]),
            (packed, Values::Unit, [2, 6]),
            (packed, Values::Integers, [0, 0]),
        ] {
            let shape = Shape { rows, cols, n, pad };
            cases.push(case(quick, &shape, fill, types, values));
        }
    }
    for index in [U32, U16] {
        for values in [F32, Bf16] {
            for b in [F32, Bf16] {
                for c in [F32, Bf16] {
                    let shape = Shape {
                        rows: 23,
                        cols: 57,
                        n: 40,
                        pad: [8, 0],
                    };
                    cases.push(case(
                        quick,
                        &shape,
                        Rows::Regular(11),
                        [index, values, b, c],
                        Values::Unit,
                    ));
                }
            }
        }
    }
    // As in spmv: more entries in a row than software adapters make turns, in rows of unknown and known lengths.
    for (types, pad) in [(plain, [3, 5]), (packed, [0, 0])] {
        let (rows, cols, n) = (2, 150, 3);
        let shape = Shape { rows, cols, n, pad };
        if !cfg!(miri) {
            cases.push(case(
                quick,
                &shape,
                Rows::Regular(70_000),
                types,
                Values::Integers,
            ));
        }
    }
    let aside = Shape {
        rows: 50,
        cols: 90,
        n: 24,
        pad: [0, 0],
    };
    cases.push(case(
        quick,
        &aside,
        Rows::Regular(9),
        plain,
        Values::InfinitiesAside,
    ));
    if most < Effort::Full {
        return cases;
    }
    let large = Shape {
        rows: 1030,
        cols: 1024,
        n: 520,
        pad: [0, 0],
    };
    for types in [plain, packed] {
        cases.push(case(Effort::Full, &large, Rows::Tenth, types, Values::Unit));
    }
    // More rows than one dispatch dimension has workgroups.
    let tall = Shape {
        rows: 70_001,
        cols: 300,
        n: 9,
        pad: [0, 0],
    };
    cases.push(case(Effort::Full, &tall, Rows::Holes(2), plain, Values::Unit));
    cases
}

/// What is measured at size `n`: one element in ten of 4n x 4n, times 256 columns.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    [[U32, F32, F32, F32], [U16, Bf16, Bf16, F32]]
        .map(|types| later(4 * n, 4 * n, 256, types))
        .into()
}

/// What is measured beside that: odd shapes, a single row, a single column of B, and a tiny product.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    [
        (4 * n + 1, 4 * n - 1, 127),
        (1, 4 * n, 256),
        (4 * n, 4 * n, 1),
        (5, 30, 3),
    ]
    .map(|(rows, cols, n)| later(rows, cols, n, [U32, F32, F32, F32]))
    .into()
}

/// A matrix that is made when it is measured: how many entries it has is known only then.
fn later(rows: usize, cols: usize, n: usize, types: [DType; 4]) -> BenchCase {
    BenchCase::new("spmm", move || {
        let shape = Shape {
            rows,
            cols,
            n,
            pad: [0, 0],
        };
        case(Effort::Full, &shape, Rows::Tenth, types, Values::Unit)
    })
}

fn case(effort: Effort, shape: &Shape, fill: Rows, types: [DType; 4], values: Values) -> Case {
    let &Shape { rows, cols, n, pad } = shape;
    let [index, value, b, c] = types;
    let ld = |dtype: DType, pad: usize| (n + pad).next_multiple_of(dtype.row_multiple());
    let (b_ld, c_ld) = (ld(b, pad[0]), ld(c, pad[1]));
    let made = move || generate(rows, cols, fill, [index, value, F32], values);
    let row_ptr = &made()[0];
    let op = Spmm {
        rows,
        cols,
        nnz: row_ptr[rows] as usize,
        n,
        index,
        values: value,
        b,
        b_ld,
        c,
        c_ld,
        // Where it is not known, each row may be as long as all together.
        longest_row: match pad {
            [0, 0] => row_ptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize).max(),
            _ => None,
        },
    };
    let words = op.operands()[3].words as usize;
    Case::new(effort, op, move || {
        let [row_ptr, col_idx, entries, x] = made();
        let mut source = Source::new((rows + 7 * n) as u64);
        // Rows that no entry names hold what the vector does there: infinities, where they are aside.
        let mut dense: Vec<f32> = (0..cols * b_ld)
            .map(|i| match f32::from_bits(x[i / b_ld]) {
                aside if aside.is_infinite() => aside,
                _ if values == Values::Integers => source.small_integer(),
                _ => source.unit(),
            })
            .collect();
        // What lies between rows must not reach a result.
        for row in dense.chunks_mut(b_ld.max(1)) {
            row[n..].fill(f32::NAN);
        }
        let mut b = floats(&dense, b);
        b.truncate(words);
        vec![row_ptr, col_idx, entries, b, Vec::new()]
    })
}
