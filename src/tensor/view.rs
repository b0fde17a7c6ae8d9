use std::fmt;
use std::ops::Range;

use super::{DType, MAX_WORDS};
use crate::error::{Error, Result};

/// The layout of a matrix in memory: `rows` x `cols` elements, row-major, `ld` elements from one row to the next.
///
/// Rows start on whole words. An odd count of 16-bit elements takes half a word more at the end of each row, which
/// whoever writes the row's last element writes as zero; the other words between rows are padding that belongs to
/// nobody and keeps what it held. Padding never enters an index, a sum or a draw: an element's index is
/// `row * cols + col`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// What the elements are.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row to the next: at least `cols`, even for 16-bit elements.
    pub ld: usize,
}

impl View {
    /// A matrix with a leading dimension.
    #[must_use]
    pub const fn new(dtype: DType, rows: usize, cols: usize, ld: usize) -> Self {
        Self {
            dtype,
            rows,
            cols,
            ld,
        }
    }

    /// One contiguous run of elements.
    #[must_use]
    pub const fn vector(dtype: DType, len: usize) -> Self {
        Self::new(dtype, 1, len, len)
    }

    /// `words` plain `u32` words, what codes and indices are to an operation that does not look inside.
    #[must_use]
    pub fn words_of(words: u64) -> Self {
        let len = usize::try_from(words).unwrap_or(usize::MAX);
        Self::vector(DType::U32, len)
    }

    /// Checks that rows do not overlap, that they start on whole words, and that the whole spans no more than
    /// [`MAX_WORDS`]. A single row needs no leading dimension that fits.
    ///
    /// # Errors
    /// [`Error::Value`], [`Error::Alignment`] or [`Error::Limit`], naming the operation and the operand.
    pub fn check(&self, op: &'static str, operand: &'static str) -> Result<()> {
        if self.ld < self.cols {
            return Err(Error::Value {
                op,
                what: "leading dimension",
                value: format!("{} ({operand} has {} columns)", self.ld, self.cols),
                expected: "at least the columns",
            });
        }
        if self.dtype.bits() == 16 && self.rows > 1 && !self.ld.is_multiple_of(2) {
            let (what, value) = ("leading dimension", self.ld as u64);
            return Err(Error::Alignment {
                op,
                operand,
                what,
                value,
                multiple: 2,
            });
        }
        let words = self.span();
        if words > u128::from(MAX_WORDS) {
            return Err(Error::Limit {
                op,
                what: "words that an operand spans",
                value: u64::try_from(words).unwrap_or(u64::MAX),
                limit: MAX_WORDS,
            });
        }
        Ok(())
    }

    /// Words from the first element to the end of the last one's word. Extents that pass [`View::check`] never
    /// wrap; others give `u64::MAX`, which no memory has.
    #[must_use]
    pub fn words(&self) -> u64 {
        u64::try_from(self.span()).unwrap_or(u64::MAX)
    }

    #[inline]
    fn span(&self) -> u128 {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        // Nearly every operand: 2^28 rows of 2^28 elements of 8 bytes at most, whose words stay below 2^57.
        if (self.rows | self.cols | self.ld) >> 28 == 0 {
            let words = |elements: usize| self.dtype.words(elements as u64);
            return u128::from((self.rows as u64 - 1) * words(self.ld) + words(self.cols));
        }
        let words = |elements: usize| (elements as u128 * u128::from(self.dtype.bits())).div_ceil(32);
        (self.rows as u128 - 1)
            .saturating_mul(words(self.ld))
            .saturating_add(words(self.cols))
    }

    /// Bytes of [`View::words`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.words().saturating_mul(4)
    }

    /// Words from one row to the next.
    #[must_use]
    pub const fn row_words(&self) -> u64 {
        self.dtype.words(self.ld as u64)
    }

    /// Elements, padding left out.
    #[must_use]
    pub const fn len(&self) -> u64 {
        (self.rows as u64).saturating_mul(self.cols as u64)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// Whether its elements are one run without padding between rows.
    #[must_use]
    pub const fn is_contiguous(&self) -> bool {
        self.rows <= 1 || self.ld == self.cols
    }

    /// The same rows and columns cut out of it.
    #[must_use]
    pub fn cut(&self, rows: &Range<u64>, cols: &Range<u64>) -> Self {
        let len = |range: &Range<u64>| (range.end - range.start) as usize;
        Self::new(self.dtype, len(rows), len(cols), self.ld)
    }

    /// The first word and the number of words of the part of `rows` and `cols` (whose first column lies on a
    /// whole word).
    #[must_use]
    pub fn part(&self, rows: &Range<u64>, cols: &Range<u64>) -> Range<u64> {
        let first = rows.start * self.row_words() + self.dtype.words(cols.start);
        first..first + self.cut(rows, cols).words()
    }

    #[inline]
    const fn element(&self, row: usize, col: usize) -> usize {
        row * self.ld + col
    }

    /// The f32 bits of a bf16 or f32 element, or the bits of an integer one, never passed through a float.
    ///
    /// An f64 has no such bits: its value rounded to f32 is taken.
    ///
    /// # Panics
    /// Outside `words`, as any slice.
    #[must_use]
    #[inline]
    pub fn load_bits(&self, words: &[u32], row: usize, col: usize) -> u32 {
        let at = self.element(row, col);
        match self.dtype {
            DType::F64 => (self.load(words, row, col) as f32).to_bits(),
            DType::F32 | DType::U32 => words[at],
            DType::Bf16 => half(words, at) << 16,
            DType::U16 => half(words, at),
        }
    }

    /// An element's value.
    ///
    /// # Panics
    /// Outside `words`, as any slice.
    #[must_use]
    #[inline]
    pub fn load(&self, words: &[u32], row: usize, col: usize) -> f64 {
        let at = self.element(row, col);
        match self.dtype {
            DType::F64 => f64::from_bits(u64::from(words[2 * at]) | (u64::from(words[2 * at + 1]) << 32)),
            DType::F32 => f64::from(f32::from_bits(words[at])),
            DType::Bf16 => f64::from(f32::from_bits(half(words, at) << 16)),
            DType::U32 => f64::from(words[at]),
            DType::U16 => f64::from(half(words, at)),
        }
    }

    /// Stores the low bits of `bits` as an element: those of an f32 or an integer, or a 16-bit code. Beside the last
    /// of an odd count of 16-bit elements the rest of the word becomes zero.
    ///
    /// # Panics
    /// Outside `words`, as any slice; for f64 see [`View::store_f64`].
    #[inline]
    pub fn store_bits(&self, words: &mut [u32], row: usize, col: usize, bits: u32) {
        let at = self.element(row, col);
        match self.dtype {
            DType::F64 => self.store_f64(words, row, col, f64::from(f32::from_bits(bits))),
            DType::F32 | DType::U32 => words[at] = bits,
            DType::Bf16 | DType::U16 => {
                let code = bits & 0xffff;
                let word = &mut words[at / 2];
                *word = match at % 2 {
                    0 if col + 1 == self.cols => code,
                    0 => (*word & 0xffff_0000) | code,
                    _ => (*word & 0x0000_ffff) | (code << 16),
                };
            }
        }
    }

    /// Stores an f64 in an f64 element.
    ///
    /// # Panics
    /// Outside `words`, as any slice.
    #[inline]
    pub fn store_f64(&self, words: &mut [u32], row: usize, col: usize, value: f64) {
        let (at, bits) = (self.element(row, col), value.to_bits());
        words[2 * at] = bits as u32;
        words[2 * at + 1] = (bits >> 32) as u32;
    }

    /// The words between its rows, which nobody may write.
    pub fn padding(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (row_words, used) = (
            self.row_words() as usize,
            self.dtype.words(self.cols as u64) as usize,
        );
        let rows = if self.is_empty() || row_words == used {
            0
        } else {
            self.rows
        };
        // The last row ends with its last element.
        (1..rows).map(move |row| (row - 1) * row_words + used..row * row_words)
    }

    /// The words whose high half is padding beside the last of an odd count of 16-bit elements, written as zero.
    pub fn odd_halves(&self) -> impl Iterator<Item = usize> + use<> {
        let (row_words, used) = (
            self.row_words() as usize,
            self.dtype.words(self.cols as u64) as usize,
        );
        let odd = self.dtype.bits() == 16 && self.cols % 2 == 1;
        let rows = if odd { self.rows } else { 0 };
        (0..rows).map(move |row| row * row_words + used - 1)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.rows, self.cols, self.dtype)?;
        if self.ld != self.cols {
            write!(f, " ld {}", self.ld)?;
        }
        Ok(())
    }
}

#[inline]
fn half(words: &[u32], element: usize) -> u32 {
    (words[element / 2] >> (16 * (element % 2))) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_never_wrap() {
        for (rows, cols, ld) in [
            (usize::MAX, usize::MAX - 1, usize::MAX - 1),
            (1 << 32, 1 << 32, 1 << 32),
            (2, 8, 1 << 59),
        ] {
            for dtype in [DType::F64, DType::F32, DType::Bf16] {
                let view = View::new(dtype, rows, cols, ld);
                assert!(
                    matches!(view.check("op", "x"), Err(Error::Limit { .. })),
                    "{view}"
                );
                assert!(view.words() > MAX_WORDS);
            }
        }
        assert_eq!(View::new(DType::F32, usize::MAX, 0, 0).words(), 0);
    }

    #[test]
    fn leading_dimensions_are_checked() {
        let short = View::new(DType::F32, 2, 3, 2);
        assert!(matches!(short.check("op", "x"), Err(Error::Value { .. })));
        let odd = View::new(DType::Bf16, 2, 3, 3);
        assert!(matches!(odd.check("op", "x"), Err(Error::Alignment { .. })));
        assert!(View::vector(DType::Bf16, 3).check("op", "x").is_ok());
    }

    #[test]
    fn elements_are_stored_and_padding_is_told_apart() {
        let view = View::new(DType::Bf16, 2, 3, 6);
        let mut words = [0xffff_ffffu32; 5];
        assert_eq!(view.words(), 5);
        for row in 0..2 {
            for col in 0..3 {
                view.store_bits(&mut words, row, col, (row * 3 + col) as u32);
            }
        }
        assert_eq!(
            words,
            [0x0001_0000, 0x0000_0002, 0xffff_ffff, 0x0004_0003, 0x0000_0005]
        );
        assert!(view.padding().eq(std::iter::once(2..3)));
        assert_eq!(view.odd_halves().collect::<Vec<_>>(), [1, 4]);
        assert_eq!(view.load_bits(&words, 1, 1), 4 << 16);
        assert_eq!(view.part(&(1..2), &(2..3)), 4..5);
    }
}
