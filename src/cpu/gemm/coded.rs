//! Operands of few-bit codes: what they stand for is packed, in bf16 where every value is one and the level multiplies
//! pairs of them, else in f32.

use super::memory::filled;
use super::operands::{Data, Source};
use crate::cpu::codes::{PIECE, Reader};
use crate::cpu::{Cpu, CpuError, Kernel, Lanes};
use crate::format::{Format, UNIT_SCALE, scale_byte};

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
        let common = scales.first().filter(|_| head > 0);
        let skipped = head.saturating_add(first.saturating_mul(format.scale_words_per_row(cols)));
        Self {
            format,
            cols,
            codes,
            scales: scales.get(skipped..).unwrap_or_default(),
            common: common.map_or(UNIT_SCALE, |&bits| scale_byte(bits)),
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

    /// The first `rows` rows' values.
    fn values<T: Value>(&self, cpu: &Cpu, rows: usize) -> Result<Vec<T>, CpuError> {
        let mut values = filled(rows.saturating_mul(self.cols), T::default())?;
        let rows_per_task = (1usize << 15).div_ceil(self.cols.max(1));
        let (words, scale_words) = (
            self.format.codes_words_per_row(self.cols),
            self.format.scale_words_per_row(self.cols),
        );
        cpu.chunks_mut(&mut values, rows_per_task * self.cols.max(1), |task, out| {
            let first = task * rows_per_task;
            cpu.run(Rows {
                from: *self,
                codes: &self.codes[first * words..],
                scales: &self.scales[first * scale_words..],
                out,
            });
        });
        Ok(values)
    }
}

/// What codes are decoded into.
trait Value: Copy + Default + Send + Sync {
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
pub(super) enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl Values {
    /// Of an operand with `rows` stored rows; `pairs` says whether products of bf16 pairs may follow.
    pub(super) fn of(
        cpu: &Cpu,
        source: &Source<'_>,
        rows: usize,
        pairs: bool,
    ) -> Result<Option<Self>, CpuError> {
        match &source.data {
            Data::Coded(codes) if pairs => Ok(Some(Self::Bf16(codes.values(cpu, rows)?))),
            Data::Coded(codes) => Ok(Some(Self::F32(codes.values(cpu, rows)?))),
            Data::F32(_) | Data::Bf16(_) => Ok(None),
        }
    }

    pub(super) fn data(&self) -> Data<'_> {
        match self {
            Self::F32(values) => Data::F32(values),
            Self::Bf16(values) => Data::Bf16(values),
        }
    }
}
