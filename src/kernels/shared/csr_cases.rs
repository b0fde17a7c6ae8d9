//! Sparse matrices for tests and measurements.

use super::csr::Sparse;
use crate::format::bf16;
use crate::op::data::Source;
use crate::tensor::DType::{self, Bf16, U16};
use crate::tensor::View;

/// How rows are filled.
#[derive(Clone, Copy)]
pub(crate) enum Rows {
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
    /// These rows hold every column, the others nothing.
    FullAt([u32; 3]),
    /// Lengths around the vector variant's 32 lanes.
    AroundLanes,
    /// Each element is there with a probability of one in ten, in order.
    Tenth,
    /// Each element is there with a probability of so many in a million, in order.
    PerMillion(u32),
}

/// What the numbers are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Values {
    Unit,
    Integers,
    /// The same, with entries of -1, 0 and 1: millions of products are still exact.
    Signs,
    /// Fractions, with infinities in x at columns that no entry names.
    InfinitiesAside,
    /// Fractions, one in eight of them NaN, infinite, subnormal, or a zero of either sign that is stored like others.
    Awkward,
}

impl Values {
    /// The next number.
    pub(crate) fn number(self, source: &mut Source) -> f32 {
        const EDGES: [f32; 8] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::from_bits(1),
            f32::from_bits(0x807f_ffff),
            f32::MIN_POSITIVE,
        ];
        match self {
            Self::Integers | Self::Signs => source.small_integer(),
            Self::Unit | Self::InfinitiesAside => source.unit(),
            Self::Awkward if source.below(8) == 0 => EDGES[source.below(8) as usize],
            Self::Awkward => source.unit(),
        }
    }
}

/// The matrix that [`generate`] makes, its longest row measured.
pub(crate) fn sparse(rows: usize, cols: usize, fill: Rows, types: [DType; 3], values: Values) -> Sparse {
    let row_ptr = &generate(rows, cols, fill, types, values)[0];
    Sparse {
        rows,
        cols,
        nnz: row_ptr[rows] as usize,
        index: types[0],
        values: types[1],
        longest_row: row_ptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize).max(),
    }
}

/// `row_ptr`, `col_idx`, `values` and a vector; `types` are those of the last three.
pub(crate) fn generate(
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
            Rows::FullAt(rows) if rows.contains(&row) => (0..width).collect(),
            Rows::FullAt(_) => Vec::new(),
            Rows::AroundLanes => random(&mut source, 30 + row % 5),
            Rows::Tenth => (0..width).filter(|_| source.below(10) == 0).collect(),
            Rows::PerMillion(share) => (0..width).filter(|_| source.below(1_000_000) < share).collect(),
        });
        row_ptr.push(col_idx.len() as u32);
    }
    let mut number = |_| values.number(&mut source);
    let mut entries: Vec<f32> = (0..col_idx.len()).map(&mut number).collect();
    if values == Values::Signs {
        entries
            .iter_mut()
            .filter(|entry| **entry != 0.0)
            .for_each(|entry| *entry = entry.signum());
    }
    let mut x: Vec<f32> = (0..cols).map(&mut number).collect();
    if values == Values::InfinitiesAside {
        x[3] = f32::INFINITY;
    }
    let columns = match types[0] == U16 {
        true => halves(col_idx.iter().map(|&c| c as u16).collect()),
        false => col_idx,
    };
    [row_ptr, columns, floats(&entries, types[1]), floats(&x, types[2])]
}

/// The words of a dense matrix beside it, whose rows that no entry names hold what the vector does there: infinities,
/// where they are aside. NaN lies between its rows, which must not reach a result.
pub(crate) fn dense(view: &View, vector: &[u32], values: Values, seed: u64) -> Vec<u32> {
    let mut source = Source::new(seed);
    let mut all: Vec<f32> = (0..view.rows * view.ld)
        .map(|i| match f32::from_bits(vector[i / view.ld]) {
            aside if values == Values::InfinitiesAside && aside.is_infinite() => aside,
            _ => values.number(&mut source),
        })
        .collect();
    for row in all.chunks_mut(view.ld.max(1)) {
        row[view.cols..].fill(f32::NAN);
    }
    let mut words = floats(&all, view.dtype);
    words.truncate(view.words() as usize);
    words
}

/// The words of f32 values, or of the bf16 that they are rounded to.
fn floats(values: &[f32], dtype: DType) -> Vec<u32> {
    match dtype == Bf16 {
        true => halves(values.iter().map(|&value| bf16::from_f32(value)).collect()),
        false => values.iter().map(|value| value.to_bits()).collect(),
    }
}

fn halves(mut halves: Vec<u16>) -> Vec<u32> {
    halves.resize(halves.len().next_multiple_of(2), 0);
    halves
        .chunks_exact(2)
        .map(|pair| bf16::pack(pair[0], pair[1]))
        .collect()
}
