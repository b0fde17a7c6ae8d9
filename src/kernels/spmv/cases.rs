use crate::kernels::Spmv;
use crate::kernels::shared::csr_cases::{Rows, Values, generate, sparse};
use crate::op::{BenchCase, Case, Effort};
use crate::tensor::DType::{self, Bf16, F32, U16, U32};

/// The cases up to an effort. A case's operation counts the entries of its matrix, which therefore is made here:
/// the larger ones only for those who want them.
pub(crate) fn cases(most: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let plain = [U32, F32, F32];
    // More entries in a row than the 65,535 turns after which software adapters leave a loop, duplicates among them;
    // whole numbers, for in a bound of so many terms the missing ones would hide.
    let long = Rows::Regular(70_000);
    let unknown = || unhinted(quick, 3, 150, long, plain, Values::Integers);
    let mut cases = Vec::from_iter((!cfg!(miri)).then(unknown));
    let mut add = |effort, rows: usize, cols: usize, fill, types, values| {
        // Miri would take an hour to make the larger ones.
        if effort <= most && !(cfg!(miri) && rows.max(cols) > 100) {
            cases.push(case(effort, rows, cols, fill, types, values));
        }
    };
    for (rows, cols, fill) in [
        (0, 5, Rows::Regular(3)),
        (5, 0, Rows::Regular(0)),
        (1, 1, Rows::Regular(1)),
        (1, 1000, Rows::Regular(777)),
        (1000, 1, Rows::Regular(1)),
        (33, 65, Rows::Regular(0)),
        (257, 259, Rows::Banded(2)),
        (300, 1000, Rows::PowerLaw),
        (301, 64, Rows::Holes(7)),
        (100, 511, Rows::OneFull),
        (99, 200, Rows::AroundLanes),
        // Several shares of the merge path: of one row, of rows of every length, of empty rows, of short ones.
        (40, 9000, Rows::OneFull),
        (700, 3000, Rows::PowerLaw),
        (4100, 3, Rows::Regular(0)),
        (5000, 20, Rows::Holes(1)),
    ] {
        add(quick, rows, cols, fill, plain, Values::Unit);
        add(quick, rows, cols, fill, [U16, Bf16, Bf16], Values::Integers);
    }
    for index in [U32, U16] {
        for values in [F32, Bf16] {
            for x in [F32, Bf16] {
                add(
                    quick,
                    131,
                    257,
                    Rows::Regular(17),
                    [index, values, x],
                    Values::Unit,
                );
            }
        }
    }
    add(quick, 50, 90, Rows::Regular(9), plain, Values::InfinitiesAside);
    // NaN, infinities, zeros and subnormals, in rows of none, a few and many entries.
    for (rows, cols, fill) in [
        (60, 90, Rows::Holes(3)),
        (50, 300, Rows::PowerLaw),
        (30, 64, Rows::AroundLanes),
    ] {
        for types in [plain, [U16, Bf16, Bf16]] {
            add(quick, rows, cols, fill, types, Values::Awkward);
        }
    }
    add(quick, 3, 150, long, plain, Values::Integers);
    add(quick, 3, 150, long, [U16, Bf16, Bf16], Values::Integers);
    // As many entries as a row may have on the device with the tiny cap, one by one and by lanes.
    add(quick, 3, 150, Rows::Regular(255), plain, Values::Integers);
    add(quick, 3, 150, Rows::Regular(7968), plain, Values::Integers);
    // Rows of several shares: at both sides of where small bindings cut rows, and the last one; of whole numbers, for
    // what is missing or comes twice.
    add(
        quick,
        5000,
        600,
        Rows::FullAt([3967, 3968, 4999]),
        plain,
        Values::Integers,
    );
    add(
        quick,
        40,
        9000,
        Rows::FullAt([3, 20, 39]),
        plain,
        Values::Integers,
    );
    // More shares of the last row than a workgroup adds the carries of.
    if !cfg!(miri) {
        add(quick, 2, 600_000, Rows::FullAt([1, 1, 1]), plain, Values::Signs);
    }
    // As many for each of the vector variant's lanes.
    let long = Rows::Regular(2_200_000);
    add(Effort::Full, 1, 150, long, [U16, Bf16, F32], Values::Signs);
    // More rows than one dispatch dimension has workgroups of one row each.
    add(
        Effort::Full,
        70_001,
        300,
        Rows::Holes(2),
        [U16, F32, F32],
        Values::Unit,
    );
    // More shares of one row than a workgroup adds the carries of.
    add(
        Effort::Full,
        9,
        1_200_000,
        Rows::OneFull,
        [U32, Bf16, Bf16],
        Values::Unit,
    );
    for types in [plain, [U16, Bf16, Bf16]] {
        add(Effort::Full, 4096, 4096, Rows::Tenth, types, Values::Unit);
    }
    cases
}

/// What is measured at size `n`: one element in ten of 4n x 4n; and as many entries, n * n or so, in rows that are
/// alike, that follow a power law, and of which one is full.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let wide = 16 * n;
    let floats = [U32, F32, F32];
    [
        (4 * n, Rows::Tenth, floats),
        (4 * n, Rows::Tenth, [U16, Bf16, F32]),
        (wide, Rows::Regular(n as u32 / 16), floats),
        (wide, Rows::Zipf(n as u32 / 160 + 1), floats),
        (wide, Rows::OneFullAmong(n as u32 / 16), floats),
    ]
    .map(|(size, fill, types)| later(size, size, fill, types))
    .into()
}

/// What is measured beside that: rows of odd lengths, a single row, and a tiny matrix.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    [(4 * n + 1, 4 * n - 1), (1, 4 * n), (5, 30)]
        .map(|(rows, cols)| later(rows, cols, Rows::Tenth, [U32, F32, F32]))
        .into()
}

/// A matrix that is made when it is measured: how many entries it has is known only then.
fn later(rows: usize, cols: usize, fill: Rows, types: [DType; 3]) -> BenchCase {
    BenchCase::new("spmv", move || {
        case(Effort::Full, rows, cols, fill, types, Values::Unit)
    })
}

/// A square matrix in which so many elements of a million are there: for curves.
pub(crate) fn of_density(n: usize, per_million: u32, dtype: DType) -> Case {
    let types = match dtype {
        Bf16 if n <= 1 << 16 => [U16, Bf16, F32],
        _ => [U32, dtype, F32],
    };
    case(
        Effort::Full,
        n,
        n,
        Rows::PerMillion(per_million),
        types,
        Values::Unit,
    )
}

fn case(effort: Effort, rows: usize, cols: usize, fill: Rows, types: [DType; 3], values: Values) -> Case {
    let (op, made) = product(rows, cols, fill, types, values);
    Case::new(effort, op, made)
}

/// The same of rows whose lengths are not known: each may hold all entries.
fn unhinted(effort: Effort, rows: usize, cols: usize, fill: Rows, types: [DType; 3], values: Values) -> Case {
    let (op, made) = product(rows, cols, fill, types, values);
    let op = Spmv {
        longest_row: None,
        ..op
    };
    Case::new(effort, op, made)
}

fn product(
    rows: usize,
    cols: usize,
    fill: Rows,
    types: [DType; 3],
    values: Values,
) -> (Spmv, impl Fn() -> Vec<Vec<u32>> + Send + Sync + 'static) {
    let op = Spmv::of(sparse(rows, cols, fill, types, values), types[2]);
    let made = move || {
        let [row_ptr, col_idx, values, x] = generate(rows, cols, fill, types, values);
        vec![row_ptr, col_idx, values, x, Vec::new()]
    };
    (op, made)
}
