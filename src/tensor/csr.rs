use super::{DType, alloc};
use crate::error::{Error, Result};
use crate::format::bf16;

/// A sparse matrix in compressed sparse rows on the host: row `i` has the entries `row_ptr[i]..row_ptr[i + 1]`.
///
/// Valid by construction: `row_ptr` starts at 0, never decreases and ends at the number of entries; every column
/// is inside. Columns of a row may stand in any order, and one may stand twice (its entries add up). Explicit
/// zeros are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    rows: usize,
    cols: usize,
    row_ptr: Vec<u32>,
    col_idx: Vec<u32>,
    values: Vec<f32>,
}

/// How a matrix's rows differ in length: what the choice of a kernel goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStats {
    /// Mean entries per row.
    pub mean: f64,
    /// Entries of the longest row.
    pub max: usize,
    /// Rows without entries.
    pub empty: usize,
    /// Standard deviation divided by mean; 0 for a matrix without entries.
    pub variation: f64,
}

const OP: &str = "csr";

impl Csr {
    /// A matrix of these parts.
    ///
    /// # Errors
    /// [`Error::Dimension`] where lengths disagree, [`Error::Value`] where `row_ptr` does not start at 0 or
    /// decreases, [`Error::Limit`] for a column outside or more than 2^32 - 1 entries.
    pub fn new(
        rows: usize,
        cols: usize,
        row_ptr: Vec<u32>,
        col_idx: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self> {
        let dimension = |dimension, left_name, left: usize, right_name, right: usize| Error::Dimension {
            op: OP,
            dimension,
            left_name,
            left: left as u64,
            right_name,
            right: right as u64,
        };
        if row_ptr.len() != rows.saturating_add(1) {
            return Err(dimension(
                "rows + 1",
                "rows",
                rows.saturating_add(1),
                "row_ptr",
                row_ptr.len(),
            ));
        }
        if col_idx.len() != values.len() {
            return Err(dimension(
                "entries",
                "col_idx",
                col_idx.len(),
                "values",
                values.len(),
            ));
        }
        let last = row_ptr.last().copied().unwrap_or(0) as usize;
        if last != values.len() {
            return Err(dimension("entries", "row_ptr", last, "values", values.len()));
        }
        if let Some(row) = row_ptr.windows(2).position(|pair| pair[0] > pair[1]) {
            let value = format!("{} after {} at row {row}", row_ptr[row + 1], row_ptr[row]);
            return Err(Error::Value {
                op: OP,
                what: "row_ptr",
                value,
                expected: "never to decrease",
            });
        }
        if row_ptr.first() != Some(&0) {
            let value = format!("{:?} at row 0", row_ptr.first());
            return Err(Error::Value {
                op: OP,
                what: "row_ptr",
                value,
                expected: "0 at row 0",
            });
        }
        if let Some(&column) = col_idx.iter().find(|&&column| column as usize >= cols) {
            let (what, value, limit) = ("column index", u64::from(column), (cols as u64).saturating_sub(1));
            return Err(Error::Limit {
                op: OP,
                what,
                value,
                limit,
            });
        }
        Ok(Self {
            rows,
            cols,
            row_ptr,
            col_idx,
            values,
        })
    }

    /// The entries of a dense row-major matrix that are not zero (of either sign; NaN is kept), in order.
    ///
    /// # Errors
    /// [`Error::Shape`] when `values` holds another number of elements, [`Error::Limit`] past 2^32 - 1 entries or
    /// rows, [`Error::OutOfMemory`].
    pub fn from_dense(rows: usize, cols: usize, values: &[f32]) -> Result<Self> {
        if rows.checked_mul(cols) != Some(values.len()) {
            let expected = format!(
                "a shape of {} elements, as many as there are values",
                values.len()
            );
            return Err(Error::Shape {
                op: OP,
                operand: "values",
                expected,
                got: vec![rows, cols],
            });
        }
        check_index("rows", rows)?;
        let row_of = |row: usize| &values[row * cols..(row + 1) * cols];
        // Counted first: the entries are a caller's data, and lists that grow cannot fail softly.
        let entries = values.iter().filter(|&&value| value != 0.0).count();
        check_index("entries", entries)?;
        let mut row_ptr = alloc::reserved(OP, rows.saturating_add(1))?;
        let (mut col_idx, mut kept) = (alloc::reserved(OP, entries)?, alloc::reserved(OP, entries)?);
        row_ptr.push(0);
        for row in 0..rows {
            for (col, &value) in row_of(row).iter().enumerate() {
                if value != 0.0 {
                    col_idx.push(col as u32);
                    kept.push(value);
                }
            }
            row_ptr.push(kept.len() as u32);
        }
        Self::new(rows, cols, row_ptr, col_idx, kept)
    }

    /// The dense row-major matrix; entries that share a place are added up in order.
    ///
    /// # Errors
    /// [`Error::Limit`] past [`MAX_WORDS`](super::MAX_WORDS) elements, [`Error::OutOfMemory`].
    pub fn to_dense(&self) -> Result<Vec<f32>> {
        let elements = (self.rows as u64).saturating_mul(self.cols as u64);
        if elements > super::MAX_WORDS {
            return Err(Error::Limit {
                op: OP,
                what: "elements of the dense matrix",
                value: elements,
                limit: super::MAX_WORDS,
            });
        }
        let mut dense = alloc::filled(OP, self.rows * self.cols, 0.0)?;
        for row in 0..self.rows {
            for entry in self.row(row) {
                dense[row * self.cols + self.col_idx[entry] as usize] += self.values[entry];
            }
        }
        Ok(dense)
    }

    /// The transpose, whose rows are this matrix's columns (its CSC form): the entries of each in ascending
    /// order of row, those that share a place in their old order.
    ///
    /// # Errors
    /// [`Error::Limit`] past 2^32 rows or 2^32 - 1 columns, [`Error::OutOfMemory`].
    pub fn transpose(&self) -> Result<Self> {
        // The rows become indices, the columns pointers.
        check_index("rows", self.rows.saturating_sub(1))?;
        check_index("columns", self.cols)?;
        let mut row_ptr = alloc::filled(OP, self.cols.saturating_add(1), 0u32)?;
        for &column in &self.col_idx {
            row_ptr[column as usize + 1] += 1;
        }
        for column in 0..self.cols {
            row_ptr[column + 1] += row_ptr[column];
        }
        let mut next = alloc::copied(OP, &row_ptr)?;
        let mut col_idx = alloc::filled(OP, self.values.len(), 0)?;
        let mut values = alloc::filled(OP, self.values.len(), 0.0)?;
        for row in 0..self.rows {
            for entry in self.row(row) {
                let slot = &mut next[self.col_idx[entry] as usize];
                col_idx[*slot as usize] = row as u32;
                values[*slot as usize] = self.values[entry];
                *slot += 1;
            }
        }
        Ok(Self {
            rows: self.cols,
            cols: self.rows,
            row_ptr,
            col_idx,
            values,
        })
    }

    fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Stored entries.
    #[must_use]
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Where each row starts, and where the last one ends.
    #[must_use]
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// The column of each entry.
    #[must_use]
    pub fn col_idx(&self) -> &[u32] {
        &self.col_idx
    }

    /// The value of each entry.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// How its rows differ in length.
    #[must_use]
    pub fn row_stats(&self) -> RowStats {
        let lengths = || self.row_ptr.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        let rows = self.rows.max(1) as f64;
        let mean = self.nnz() as f64 / rows;
        let variance = lengths().map(|len| (len as f64 - mean).powi(2)).sum::<f64>() / rows;
        RowStats {
            mean,
            max: lengths().max().unwrap_or(0),
            empty: lengths().filter(|&len| len == 0).count(),
            variation: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
        }
    }

    /// The words of the three parts of [`Layout::Csr`](super::Layout): `row_ptr`, `col_idx` as `U32` or packed
    /// `U16`, values as `F32` or packed `Bf16` (to nearest).
    ///
    /// # Errors
    /// [`Error::Limit`] when the columns do not fit `U16`, [`Error::DType`] for other types,
    /// [`Error::OutOfMemory`].
    pub fn words(&self, index: DType, values: DType) -> Result<[Vec<u32>; 3]> {
        let col_idx = match index {
            DType::U32 => alloc::copied(OP, &self.col_idx)?,
            DType::U16 if self.cols <= 1 << 16 => packed(&self.col_idx, |&column| column as u16)?,
            DType::U16 => {
                let (what, value, limit) = ("columns of u16 indices", self.cols as u64, 1 << 16);
                return Err(Error::Limit {
                    op: OP,
                    what,
                    value,
                    limit,
                });
            }
            got => {
                return Err(Error::DType {
                    op: OP,
                    operand: "col_idx",
                    expected: "u32 or u16",
                    got,
                });
            }
        };
        let values = match values {
            DType::F32 => alloc::copied(OP, bytemuck::cast_slice(&self.values))?,
            DType::Bf16 => packed(&self.values, |&value| bf16::from_f32(value))?,
            got => {
                return Err(Error::DType {
                    op: OP,
                    operand: "values",
                    expected: "f32 or bf16",
                    got,
                });
            }
        };
        Ok([alloc::copied(OP, &self.row_ptr)?, col_idx, values])
    }
}

/// Row pointers and indices are `u32`.
fn check_index(what: &'static str, value: usize) -> Result<()> {
    let (value, limit) = (value as u64, u64::from(u32::MAX));
    if value > limit {
        return Err(Error::Limit {
            op: OP,
            what,
            value,
            limit,
        });
    }
    Ok(())
}

/// Two halves per word, low half first; an odd count leaves the last high half zero.
fn packed<T>(from: &[T], half: impl Fn(&T) -> u16) -> Result<Vec<u32>> {
    let word = |pair: &[T]| bf16::pack(half(&pair[0]), pair.get(1).map_or(0, &half));
    alloc::collected(OP, from.chunks(2).map(word))
}

#[cfg(feature = "sprs")]
impl TryFrom<&sprs::CsMat<f32>> for Csr {
    type Error = Error;

    /// # Errors
    /// [`Error::Limit`] past 2^32 - 1 entries, [`Error::OutOfMemory`]. A matrix stored by columns is converted first.
    fn try_from(matrix: &sprs::CsMat<f32>) -> Result<Self> {
        let matrix = matrix.to_csr();
        let narrow = |from: &[usize]| {
            let largest = from.iter().copied().max().unwrap_or(0);
            check_index("index", largest)?;
            alloc::collected(OP, from.iter().map(|&index| index as u32))
        };
        Self::new(
            matrix.rows(),
            matrix.cols(),
            narrow(matrix.indptr().raw_storage())?,
            narrow(matrix.indices())?,
            alloc::copied(OP, matrix.data())?,
        )
    }
}

#[cfg(feature = "sprs")]
impl From<&Csr> for sprs::CsMat<f32> {
    /// Columns come out sorted; entries that share a place are added up.
    fn from(matrix: &Csr) -> Self {
        let mut triplets = sprs::TriMat::new((matrix.rows, matrix.cols));
        for row in 0..matrix.rows {
            for entry in matrix.row(row) {
                triplets.add_triplet(row, matrix.col_idx[entry] as usize, matrix.values[entry]);
            }
        }
        triplets.to_csr()
    }
}
