//! Operands of few-bit codes: products are of what they stand for, in bf16 where every value is one and the level
//! multiplies pairs of them, else in f32. A matrix that many rows meet is decoded as a whole, rows in parallel; one that
//! few vectors meet a few rows at a time, which stay in the cache until they are multiplied.

use super::memory::grow;
use super::operands::{Data, Source};
use crate::cpu::codes::{PIECE, Reader};
use crate::cpu::{Cpu, CpuError, Kernel, Lanes};
use crate::format::Format;
use crate::tensor::alloc::Line;
use bytemuck::Zeroable;
use std::cell::Cell;

/// Rows of codes along k, one after the other, with their scales.
#[derive(Clone, Copy, Debug)]
pub struct CodedRows<'a> {
    format: Format,
    cols: usize,
    codes: &'a [u32],
    scales: &'a [u32],
    common: u8,
}

impl<'a> CodedRows<'a> {
    /// Rows of `cols` codes; `codes` begin with the first of them, `scales` are those of the whole tensor, of which
    /// `first` rows come before.
    #[must_use]
    pub fn new(format: Format, cols: usize, codes: &'a [u32], scales: &'a [u32], first: usize) -> Self {
        let head = format.head_words();
        let skipped = head.saturating_add(first.saturating_mul(format.scale_words_per_row(cols)));
        Self {
            format,
            cols,
            codes,
            scales: scales.get(skipped..).unwrap_or_default(),
            common: format.common_scale(scales),
        }
    }

    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Elements of whole rows.
    pub(super) fn len(&self) -> usize {
        let rows = |words: usize, per_row: usize| words.checked_div(per_row).unwrap_or(usize::MAX);
        let codes = rows(self.codes.len(), self.format.codes_words_per_row(self.cols));
        let scales = rows(self.scales.len(), self.format.scale_words_per_row(self.cols));
        codes.min(scales).saturating_mul(self.cols)
    }

    /// Whether every value is a bf16 (subnormals aside, which products of pairs flush).
    pub(super) fn fits_bf16(&self) -> bool {
        self.format.fits_bf16()
    }

    /// What the rows from `first` on stand for, as many as `out` holds, on this thread.
    pub(super) fn decode<T: Value>(&self, cpu: &Cpu, first: usize, out: &mut [T]) {
        let words = self.format.codes_words_per_row(self.cols);
        let scale_words = self.format.scale_words_per_row(self.cols);
        cpu.run(Rows {
            from: *self,
            codes: &self.codes[first * words..],
            scales: &self.scales[first * scale_words..],
            out,
        });
    }

    /// What all of `out`'s rows stand for, rows in parallel.
    fn decode_all<T: Value>(&self, cpu: &Cpu, out: &mut [T]) {
        let cols = self.cols.max(1);
        let rows_per_task = (1usize << 15).div_ceil(cols);
        cpu.chunks_mut(out, rows_per_task * cols, |task, out| {
            self.decode(cpu, task * rows_per_task, out);
        });
    }
}

thread_local! {
    /// Values of operands, kept from product to product by the threads that start them or work on them: fresh memory
    /// costs more than decoding into it.
    static KEPT: [Cell<Vec<Line>>; 2] = const { [Cell::new(Vec::new()), Cell::new(Vec::new())] };
}

/// More lines of values than this are given back after a product: 64 MiB.
const MOST_KEPT: usize = 1 << 20;

/// Lends memory of this thread for `len` values with unspecified contents.
pub(super) fn with_kept<T: Value, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> Result<R, CpuError> {
    let mut kept = Kept::new(0, len * size_of::<T>())?;
    Ok(f(&mut bytemuck::cast_slice_mut(&mut kept.lines)[..len]))
}

/// One of this thread's two pieces of kept memory, which it goes back to.
struct Kept {
    lines: Vec<Line>,
    place: usize,
}

impl Kept {
    fn new(place: usize, bytes: usize) -> Result<Self, CpuError> {
        // Taken, not borrowed: should this thread come back here, it finds an empty vector.
        let mut lines = KEPT.with(|kept| kept[place].take());
        grow(&mut lines, Line::holding::<u8>(bytes), Line::zeroed())?;
        Ok(Self { lines, place })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.lines.len() <= MOST_KEPT {
            let lines = std::mem::take(&mut self.lines);
            KEPT.with(|kept| kept[self.place].set(lines));
        }
    }
}

/// What codes are decoded into.
pub(super) trait Value: bytemuck::Pod + Send + Sync {
    fn of(bits: u32) -> Self;
}

impl Value for f32 {
    #[inline(always)]
    fn of(bits: u32) -> Self {
        f32::from_bits(bits)
    }
}

impl Value for u16 {
    /// A bf16 is the upper half of an f32; of values that are bf16 nothing is lost.
    #[inline(always)]
    fn of(bits: u32) -> Self {
        (bits >> 16) as u16
    }
}

struct Rows<'a, 'o, T> {
    from: CodedRows<'a>,
    codes: &'a [u32],
    scales: &'a [u32],
    out: &'o mut [T],
}

impl<T: Value> Kernel for Rows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let CodedRows {
            format, cols, common, ..
        } = self.from;
        let (words, scale_words) = (format.codes_words_per_row(cols), format.scale_words_per_row(cols));
        let mut reader = Reader::new(format, common);
        let mut bits = [0; PIECE];
        for (row, out) in self.out.chunks_mut(cols.max(1)).enumerate() {
            let codes: &[u8] = bytemuck::cast_slice(&self.codes[row * words..][..words]);
            let scales: &[u8] = bytemuck::cast_slice(&self.scales[row * scale_words..][..scale_words]);
            for (start, out) in (0..cols).step_by(PIECE).zip(out.chunks_mut(PIECE)) {
                reader.piece(lanes, codes, scales, start, &mut bits);
                for (out, &bits) in out.iter_mut().zip(&bits) {
                    *out = T::of(bits);
                }
            }
        }
    }
}

/// An operand's values where it is of codes.
pub(super) struct Values {
    kept: Kept,
    len: usize,
    pairs: bool,
}

impl Values {
    /// Of an operand with `rows` stored rows; `pairs` says whether products of bf16 pairs may follow. Left operands
    /// have place 0, right ones 1.
    pub(super) fn of(
        cpu: &Cpu,
        source: &Source<'_>,
        rows: usize,
        pairs: bool,
        place: usize,
    ) -> Result<Option<Self>, CpuError> {
        let Data::Coded(codes) = &source.data else {
            return Ok(None);
        };
        let len = rows.saturating_mul(codes.cols);
        let bytes = len.saturating_mul(if pairs { 2 } else { 4 });
        let mut kept = Kept::new(place, bytes)?;
        match pairs {
            true => codes.decode_all::<u16>(cpu, &mut bytemuck::cast_slice_mut(&mut kept.lines)[..len]),
            false => codes.decode_all::<f32>(cpu, &mut bytemuck::cast_slice_mut(&mut kept.lines)[..len]),
        }
        Ok(Some(Self { kept, len, pairs }))
    }

    pub(super) fn data(&self) -> Data<'_> {
        match self.pairs {
            true => Data::Bf16(&bytemuck::cast_slice(&self.kept.lines)[..self.len]),
            false => Data::F32(&bytemuck::cast_slice(&self.kept.lines)[..self.len]),
        }
    }
}
