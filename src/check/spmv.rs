use super::{Case, Effort, data::Source};
use crate::format::bf16;
use crate::ops::Spmv;
use crate::tensor::DType::{self, Bf16, F32, U16, U32};

/// How rows are filled.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    /// So many entries at random columns (duplicates and any order), give or take none.
    Regular(u32),
    /// Row i has about `cols / (i + 1)`.
    PowerLaw,
    /// Row i has about so many times that, as far as there are columns.
    Zipf(u32),
    /// So many in each row but the middle one, which holds every column.
    OneFullAmong(u32),
    /// A band of this half-width around the diagonal, in order.
    Banded(u32),
    /// Every third row empty, the first and the last among them.
    Holes(u32),
    /// One row holds every column, the others nothing.
    OneFull,
    /// Lengths around the vector variant's 32 lanes.
    AroundLanes,
    /// Each element is there with a probability of one in ten, in order.
    Tenth,
    /// Each element is there with a probability of so many in a million, in order.
    PerMillion(u32),
}

/// What the numbers are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Values {
    Unit,
    Integers,
    /// Fractions, with infinities in x at columns that no entry names.
    InfinitiesAside,
}

/// The cases up to an effort. A case's operation counts the entries of its matrix, which therefore is made here:
/// the larger ones only for those who want them.
pub(super) fn cases(most: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let mut add = |effort, rows: usize, cols: usize, fill, types, values| {
        // Miri would take an hour to make the larger ones.
        if effort <= most && !(cfg!(miri) && rows.max(cols) > 100) {
            cases.push(case(effort, rows, cols, fill, types, values));
        }
    };
    let plain = [U32, F32, F32];
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
pub(super) fn timed(n: usize) -> Vec<Case> {
    let wide = 16 * n;
    let skewed = [
        Rows::Regular(n as u32 / 16),
        Rows::Zipf(n as u32 / 160 + 1),
        Rows::OneFullAmong(n as u32 / 16),
    ]
    .map(|fill| case(Effort::Full, wide, wide, fill, [U32, F32, F32], Values::Unit));
    let case = |types| case(Effort::Full, 4 * n, 4 * n, Rows::Tenth, types, Values::Unit);
    let mut cases = vec![case([U32, F32, F32]), case([U16, Bf16, F32])];
    cases.extend(skewed);
    cases
}

/// What is measured beside that: rows of odd lengths, a single row, and a tiny matrix.
pub(super) fn timed_awkward(n: usize) -> Vec<Case> {
    let case = |rows, cols, types| case(Effort::Full, rows, cols, Rows::Tenth, types, Values::Unit);
    vec![
        case(4 * n + 1, 4 * n - 1, [U32, F32, F32]),
        case(1, 4 * n, [U32, F32, F32]),
        case(5, 30, [U32, F32, F32]),
    ]
}

/// See [`super::spmv_case`].
pub(super) fn of_density(n: usize, per_million: u32, bf16: bool) -> Case {
    let types = match (bf16, n <= 1 << 16) {
        (true, true) => [U16, Bf16, F32],
        (true, false) => [U32, Bf16, F32],
        (false, _) => [U32, F32, F32],
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
    let words = generate(rows, cols, fill, types, values);
    let nnz = words[0][rows] as usize;
    let op = Spmv {
        rows,
        cols,
        nnz,
        index: types[0],
        values: types[1],
        x: types[2],
        longest_row: words[0].windows(2).map(|ends| (ends[1] - ends[0]) as usize).max(),
    };
    Case::new(effort, op, move || {
        let [row_ptr, col_idx, values, x] = generate(rows, cols, fill, types, values);
        vec![row_ptr, col_idx, values, x, Vec::new()]
    })
}

/// `row_ptr`, `col_idx`, `values` and a vector; `types` are those of the last three.
pub(super) fn generate(
    rows: usize,
    cols: usize,
    fill: Rows,
    types: [DType; 3],
    values: Values,
) -> [Vec<u32>; 4] {
    let mut source = Source::new((rows * 31 + cols) as u64);
    let width = cols as u32;
    let (mut row_ptr, mut col_idx) = (vec![0u32], Vec::new());
    for row in 0..rows as u32 {
        let random = |source: &mut Source, count: u32| -> Vec<u32> {
            // Column 3 stays free for an infinity.
            (0..if width == 0 { 0 } else { count })
                .map(|_| source.below(width))
                .map(|column| if column == 3 { 0 } else { column })
                .collect()
        };
        col_idx.extend(match fill {
            Rows::Regular(count) => random(&mut source, count),
            Rows::PowerLaw => random(&mut source, width / (row + 1)),
            Rows::Zipf(times) => random(&mut source, (times * width / (row + 1)).min(width)),
            Rows::OneFullAmong(_) if row as usize == rows / 2 => (0..width).collect(),
            Rows::OneFullAmong(count) => random(&mut source, count),
            Rows::Banded(half) => (row.saturating_sub(half)..=row + half)
                .filter(|&column| column < width)
                .collect(),
            Rows::Holes(_) if row % 3 == 0 || row + 1 == rows as u32 => Vec::new(),
            Rows::Holes(count) => random(&mut source, count),
            Rows::OneFull if row == 7 => (0..width).collect(),
            Rows::OneFull => Vec::new(),
            Rows::AroundLanes => random(&mut source, 30 + row % 5),
            Rows::Tenth => (0..width).filter(|_| source.below(10) == 0).collect(),
            Rows::PerMillion(share) => (0..width).filter(|_| source.below(1_000_000) < share).collect(),
        });
        row_ptr.push(col_idx.len() as u32);
    }
    let mut number = |_| match values {
        Values::Integers => source.small_integer(),
        Values::Unit | Values::InfinitiesAside => source.unit(),
    };
    let entries: Vec<f32> = (0..col_idx.len()).map(&mut number).collect();
    let mut x: Vec<f32> = (0..cols).map(&mut number).collect();
    if values == Values::InfinitiesAside {
        x[3] = f32::INFINITY;
    }
    let columns = if types[0] == U16 {
        halves(col_idx.iter().map(|&c| c as u16).collect())
    } else {
        col_idx
    };
    [row_ptr, columns, floats(&entries, types[1]), floats(&x, types[2])]
}

pub(super) fn floats(values: &[f32], dtype: DType) -> Vec<u32> {
    match dtype {
        Bf16 => halves(values.iter().map(|&value| bf16::from_f32(value)).collect()),
        _ => values.iter().map(|value| value.to_bits()).collect(),
    }
}

fn halves(mut halves: Vec<u16>) -> Vec<u32> {
    halves.resize(halves.len().next_multiple_of(2), 0);
    halves
        .chunks_exact(2)
        .map(|pair| bf16::pack(pair[0], pair[1]))
        .collect()
}
