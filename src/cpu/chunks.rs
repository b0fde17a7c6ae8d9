//! Elementwise work in chunks whose borders do not depend on the number of threads.

use crate::tensor::DType;

/// Elements of one chunk of a contiguous run; a multiple of eight, where draws begin anew.
const CHUNK: usize = 1 << 14;

/// How elementwise rows are cut: by rows, or, where all operands are contiguous, into chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    contiguous: bool,
    pub(crate) count: usize,
    len: usize,
    cols: usize,
}

impl Cut {
    pub(crate) fn new(contiguous: bool, rows: usize, cols: usize) -> Self {
        let len = rows * cols;
        let count = match (contiguous, len) {
            (_, 0) => 0,
            (true, _) => len.div_ceil(CHUNK),
            (false, _) => rows,
        };
        Self {
            contiguous,
            count,
            len,
            cols,
        }
    }

    /// Words of one chunk of an operand.
    pub(crate) fn words(&self, dtype: DType, ld: usize) -> usize {
        let elements = if self.contiguous { CHUNK } else { ld };
        dtype.words(elements as u64).max(1) as usize
    }

    /// Logical index of chunk `i`'s first element, and its elements.
    pub(crate) fn range(&self, i: usize) -> (usize, usize) {
        match self.contiguous {
            true => (i * CHUNK, CHUNK.min(self.len - i * CHUNK)),
            false => (i * self.cols, self.cols),
        }
    }

    /// An operand's chunks; the last may be longer than its elements.
    pub(crate) fn read<'a>(
        &self,
        words: &'a [u32],
        dtype: DType,
        ld: usize,
    ) -> impl Iterator<Item = &'a [u32]> {
        let size = self.words(dtype, ld);
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
        let size = self.words(dtype, ld);
        let absent = std::iter::repeat_with(|| &mut [][..]);
        words.chunks_mut(size).chain(absent).take(self.count)
    }
}
