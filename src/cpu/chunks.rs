//! Elementwise work in chunks whose borders do not depend on the number of threads.

use crate::tensor::DType;

/// Elements of one chunk of a contiguous run, and about those of the rows of one; a multiple of eight, where draws
/// begin anew.
const CHUNK: usize = 1 << 14;

/// How elementwise rows are cut: where all operands are contiguous, into chunks of one run; else into groups of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    contiguous: bool,
    pub(crate) count: usize,
    rows: usize,
    cols: usize,
    /// Rows of one chunk.
    group: usize,
}

impl Cut {
    pub(crate) fn new(contiguous: bool, rows: usize, cols: usize) -> Self {
        let (rows, cols) = match contiguous {
            true => (1, rows * cols),
            false => (rows, cols),
        };
        let group = (CHUNK / cols.max(1)).max(1);
        let count = match (contiguous, cols) {
            (_, 0) => 0,
            (true, _) => cols.div_ceil(CHUNK),
            (false, _) => rows.div_ceil(group),
        };
        Self {
            contiguous,
            count,
            rows,
            cols,
            group,
        }
    }

    /// Words of an operand's part of one chunk.
    fn chunk_words(&self, dtype: DType, ld: usize) -> usize {
        match self.contiguous {
            true => dtype.words(CHUNK as u64) as usize,
            false => dtype.words(ld as u64).max(1) as usize * self.group,
        }
    }

    /// The runs of elements of chunk `i`: the row within the chunk, the logical index of its first element, and its
    /// elements.
    pub(crate) fn runs(&self, i: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (first, end) = match self.contiguous {
            true => (i, i + 1),
            false => (i * self.group, self.rows.min((i + 1) * self.group)),
        };
        let (step, len) = match self.contiguous {
            true => (CHUNK, CHUNK.min(self.cols - i * CHUNK)),
            false => (self.cols, self.cols),
        };
        (first..end).map(move |row| (row - first, row * step, len))
    }

    /// An operand's chunks; the last may be longer than its elements.
    pub(crate) fn read<'a>(
        &self,
        words: &'a [u32],
        dtype: DType,
        ld: usize,
    ) -> impl Iterator<Item = &'a [u32]> {
        let size = self.chunk_words(dtype, ld);
        words
            .chunks(size)
            .chain(std::iter::repeat(&[][..]))
            .take(self.count)
    }

    /// An operand's chunks, to write; an absent operand (no words) has empty ones.
    pub(crate) fn write<'a>(
        &self,
        words: &'a mut [u32],
        dtype: DType,
        ld: usize,
    ) -> impl Iterator<Item = &'a mut [u32]> {
        let size = self.chunk_words(dtype, ld);
        let absent = std::iter::repeat_with(|| &mut [][..]);
        words.chunks_mut(size).chain(absent).take(self.count)
    }
}

/// The words of an operand's chunk from row `row` of it on; none if it is absent.
pub(crate) fn row(words: &[u32], row: usize, dtype: DType, ld: usize) -> &[u32] {
    let first = row * dtype.words(ld as u64) as usize;
    words.get(first..).unwrap_or_default()
}

/// The same, to write.
pub(crate) fn row_mut(words: &mut [u32], row: usize, dtype: DType, ld: usize) -> &mut [u32] {
    let first = row * dtype.words(ld as u64) as usize;
    words.get_mut(first..).unwrap_or_default()
}
