//! How an operation over rows of elements is cut into dispatches.

use std::ops::Range;

use super::{Gpu, Words, split_rows};
use crate::tensor::View;

/// The part of every operand that one dispatch works on: some rows, or a run of a contiguous whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Rows; 1 for a run.
    pub rows: u64,
    /// Columns of each row.
    pub cols: u64,
    /// Logical row-major index of its first element.
    pub base: u64,
    /// Its first row; `None` for a run.
    row: Option<u64>,
}

impl Piece {
    /// A run of a contiguous whole, from a multiple of eight elements to another, or to the end.
    #[must_use]
    pub const fn run(elements: Range<u64>) -> Self {
        Self {
            rows: 1,
            cols: elements.end - elements.start,
            base: elements.start,
            row: None,
        }
    }

    /// What of the operand `name` with this layout belongs to it.
    #[must_use]
    pub fn of(&self, name: &'static str, view: &View) -> Words {
        let first = match self.row {
            Some(row) => row * view.row_words(),
            None => view.dtype.words(self.base),
        };
        let part = View::new(view.dtype, self.rows as usize, self.cols as usize, view.ld);
        Words::of(name, first..first + part.words())
    }

    /// Runs of eight elements of its rows, what one draw serves.
    #[must_use]
    pub fn eights(&self) -> u64 {
        self.rows * self.cols.div_ceil(8)
    }
}

/// Cuts an operation over matrices of the same rows and columns into dispatches whose work stays under the cap and
/// whose operands fit one binding: by rows, or, where all are contiguous, at multiples of eight elements, where draws
/// begin anew.
#[must_use]
pub fn pieces(gpu: &Gpu, views: &[View]) -> Vec<Piece> {
    let Some(&View { rows, cols, .. }) = views.first().filter(|view| !view.is_empty()) else {
        return Vec::new();
    };
    let per_row = |elements: &dyn Fn(&View) -> u64| {
        let words = views.iter().map(|view| view.dtype.words(elements(view)));
        let widest = words.clone().max().unwrap_or(1);
        (words.sum::<u64>(), widest * 4)
    };
    if views.iter().all(View::is_contiguous) {
        let (work, bytes) = per_row(&|_| 8);
        let len = rows as u64 * cols as u64;
        let run = |range: Range<u64>| Piece::run(range.start * 8..(range.end * 8).min(len));
        let eights = split_rows(gpu, len.div_ceil(8), work, bytes, 1);
        return eights.into_iter().map(run).collect();
    }
    let (work, bytes) = per_row(&|view| view.ld as u64);
    let cut = |range: Range<u64>| Piece {
        rows: range.end - range.start,
        cols: cols as u64,
        base: range.start * cols as u64,
        row: Some(range.start),
    };
    let ranges = split_rows(gpu, rows as u64, work, bytes, 1);
    ranges.into_iter().map(cut).collect()
}
