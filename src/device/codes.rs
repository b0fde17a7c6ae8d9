//! Exact codes up and down: the bits of every logical element, whatever its width, padding left out.

use super::{Device, Tensor};
use crate::error::{Error, Result};
use crate::tensor::{HostBuffer, Layout, alloc};

mod sealed {
    pub trait Bits: Copy {
        const BITS: u32;
        fn widen(self) -> u64;
        fn narrow(bits: u64) -> Self;
    }
}

/// An unsigned integer that holds an element's bits: `u8`, `u16`, `u32` or `u64`.
pub trait Code: sealed::Bits {}

macro_rules! codes {
    ($($own:ty)*) => {$(
        impl sealed::Bits for $own {
            const BITS: u32 = <$own>::BITS;
            #[inline]
            fn widen(self) -> u64 {
                self.into()
            }
            #[inline]
            fn narrow(bits: u64) -> Self {
                bits as Self
            }
        }
        impl Code for $own {}
    )*};
}
codes!(u8 u16 u32 u64);

/// A part as rows of codes, after codes of a word each: each row a stream of bits, the lowest first, that starts on a
/// word.
#[derive(Clone, Copy, Debug)]
struct Rows {
    name: &'static str,
    /// Words before the first row: the scale of the tensor.
    head: usize,
    rows: usize,
    /// Codes in a row.
    cols: usize,
    /// Bits of a code: 1 to 64.
    bits: u32,
    /// Words from one row to the next.
    row_words: usize,
}

/// The parts of a layout, in order.
fn rows_of(layout: &Layout) -> Vec<Rows> {
    let vector = |name, len: usize, dtype: crate::tensor::DType| Rows {
        name,
        head: 0,
        rows: 1,
        cols: len,
        bits: dtype.bits(),
        row_words: dtype.words(len as u64) as usize,
    };
    match layout {
        Layout::Dense { dtype, ld, .. } => vec![Rows {
            name: "values",
            head: 0,
            rows: layout.rows(),
            cols: layout.cols(),
            bits: dtype.bits(),
            row_words: dtype.words(*ld as u64) as usize,
        }],
        Layout::Coded { format, rows, cols } => {
            let codes = Rows {
                name: "codes",
                head: 0,
                rows: *rows,
                cols: *cols,
                bits: format.bits(),
                row_words: format.codes_words_per_row(*cols),
            };
            let scales = Rows {
                name: "scales",
                head: format.head_words(),
                cols: format.blocks_per_row(*cols),
                bits: 8,
                row_words: format.scale_words_per_row(*cols),
                ..codes
            };
            match format.has_scales() {
                true => vec![codes, scales],
                false => vec![codes],
            }
        }
        Layout::Csr {
            rows,
            nnz,
            index,
            values,
            ..
        } => vec![
            vector("row_ptr", rows.saturating_add(1), crate::tensor::DType::U32),
            vector("col_idx", *nnz, *index),
            vector("values", *nnz, *values),
        ],
    }
}

impl Rows {
    fn len(&self) -> usize {
        // Layouts that pass their check count no more than `MAX_WORDS`.
        self.head + self.rows * self.cols
    }

    /// Bits of the widest code.
    fn widest(&self) -> u32 {
        match self.head {
            0 => self.bits,
            _ => self.bits.max(32),
        }
    }

    /// A code as it is stored, unless it has more bits.
    fn fitting<C: Code>(&self, op: &'static str, code: C, bits: u32) -> Result<u64> {
        let code = code.widen();
        match bits < 64 && code >> bits != 0 {
            false => Ok(code),
            true => Err(Error::Value {
                op,
                what: self.name,
                value: format!("{code:#x}"),
                expected: "codes of as many bits as the layout's elements have",
            }),
        }
    }

    /// The words of a part with these codes; padding is zero.
    fn pack<C: Code>(&self, op: &'static str, codes: &[C]) -> Result<HostBuffer> {
        if codes.len() != self.len() {
            return Err(Error::Shape {
                op,
                operand: self.name,
                expected: match self.head {
                    0 => format!("{} codes ({} rows of {})", self.len(), self.rows, self.cols),
                    head => format!(
                        "{} codes ({head}, then {} rows of {})",
                        self.len(),
                        self.rows,
                        self.cols
                    ),
                },
                got: vec![codes.len()],
            });
        }
        let mut words = HostBuffer::zeroed(self.head as u64 + self.rows as u64 * self.row_words as u64)?;
        let (head, stored) = words.words_mut().split_at_mut(self.head);
        let (scales, codes) = codes.split_at(self.head);
        for (word, &scale) in head.iter_mut().zip(scales) {
            *word = self.fitting(op, scale, 32)? as u32;
        }
        if self.cols == 0 {
            return Ok(words);
        }
        let stored = stored.chunks_exact_mut(self.row_words);
        for (row, codes) in stored.zip(codes.chunks_exact(self.cols)) {
            // `held` bits below bit 32 wait for their word to fill up.
            let (mut waiting, mut held, mut at) = (0u128, 0u32, 0usize);
            for &code in codes {
                let code = self.fitting(op, code, self.bits)?;
                waiting |= u128::from(code) << held;
                held += self.bits;
                while held >= 32 {
                    row[at] = waiting as u32;
                    (waiting, held, at) = (waiting >> 32, held - 32, at + 1);
                }
            }
            if held > 0 {
                row[at] = waiting as u32;
            }
        }
        Ok(words)
    }

    /// The codes in a part's words.
    fn unpack<C: Code>(&self, op: &'static str, words: &[u32]) -> Result<Vec<C>> {
        let mut codes = alloc::reserved(op, self.len())?;
        let (head, words) = words.split_at(self.head);
        codes.extend(head.iter().map(|&word| C::narrow(word.into())));
        if self.cols == 0 {
            return Ok(codes);
        }
        let mask = u64::MAX >> (64 - self.bits);
        for row in words.chunks_exact(self.row_words) {
            let (mut waiting, mut held, mut at) = (0u128, 0u32, 0usize);
            for _ in 0..self.cols {
                while held < self.bits {
                    waiting |= u128::from(row[at]) << held;
                    (held, at) = (held + 32, at + 1);
                }
                codes.push(C::narrow(waiting as u64 & mask));
                (waiting, held) = (waiting >> self.bits, held - self.bits);
            }
        }
        Ok(codes)
    }
}

/// The words of every part of a layout with these codes.
pub(super) fn pack<C: Code>(op: &'static str, layout: &Layout, parts: &[&[C]]) -> Result<Vec<HostBuffer>> {
    layout.check()?;
    let rows = rows_of(layout);
    if rows.len() != parts.len() {
        return Err(Error::Operands {
            op,
            expected: rows.len(),
            got: parts.len(),
        });
    }
    rows.iter()
        .zip(parts)
        .map(|(rows, codes)| rows.pack(op, codes))
        .collect()
}

/// What [`Device::from_words`] takes.
pub(super) fn lent(parts: &[HostBuffer]) -> Vec<&[u32]> {
    parts.iter().map(HostBuffer::words).collect()
}

impl Device {
    /// A tensor of any layout from the exact bits of its elements, one code each, in row-major order: f32 as their
    /// bits, bf16 and other 16-bit elements as their codes, f64 as 64 bits; for few-bit formats the codes, then
    /// the scales, the tensor's f32 first, the blocks' bytes after it; for CSR the row pointers, the column indices, then the values. Padding and packing are done here;
    /// NaN keep their payloads. `C` is any of `u8`, `u16`, `u32` and `u64` that holds the widest code.
    ///
    /// [`Tensor::read_codes`] is the way back.
    ///
    /// ```
    /// # fn main() -> fewbit::Result<()> {
    /// use fewbit::{Device, tensor::{DType, Layout}};
    ///
    /// // A signalling NaN, -0 and the largest finite bf16, in rows that are padded to eight.
    /// let codes: [u16; 3] = [0x7f81, 0x8000, 0x7f7f];
    /// let x = Device::cpu().from_codes(Layout::dense(DType::Bf16, &[3, 1]), &[&codes])?;
    /// assert_eq!(x.read_codes_blocking::<u16>(0)?, codes);
    /// assert_eq!(x.read_part_blocking(0)?.words()[..4], [0x7f81, 0, 0, 0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Operands`] for another number of parts than the layout has, [`Error::Shape`] for another number of
    /// codes than a part has, [`Error::Value`] for a code with more bits than an element; see [`Device::from_words`].
    pub fn from_codes<C: Code>(&self, layout: Layout, parts: &[&[C]]) -> Result<Tensor> {
        let words = pack("upload", &layout, parts)?;
        self.from_words(layout, &lent(&words))
    }
}

impl Tensor {
    /// The exact bits of every element of a part, in row-major order, padding left out. See [`Device::from_codes`].
    ///
    /// # Errors
    /// [`Error::Value`] where `C` is narrower than the elements; see [`Tensor::read_part`].
    pub async fn read_codes<C: Code>(&self, part: usize) -> Result<Vec<C>> {
        const OP: &str = "read";
        let rows = rows_of(self.layout());
        let rows = rows.get(part).ok_or(Error::Operands {
            op: OP,
            expected: rows.len(),
            got: part + 1,
        })?;
        if C::BITS < rows.widest() {
            return Err(Error::Value {
                op: OP,
                what: "bits of a code",
                value: format!("{} ({} has {})", C::BITS, rows.name, rows.widest()),
                expected: "as many as the elements have, or more",
            });
        }
        let words = self.read_part(part).await?;
        rows.unpack(OP, words.words())
    }

    /// [`Tensor::read_codes`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Tensor::read_codes`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_codes_blocking<C: Code>(&self, part: usize) -> Result<Vec<C>> {
        self.device().block_on(self.read_codes(part))
    }

    /// Overwrites every part with codes; padding becomes zero. See [`Device::from_codes`] and [`Tensor::write_words`].
    ///
    /// # Errors
    /// See both.
    pub fn write_codes<C: Code>(&mut self, parts: &[&[C]]) -> Result<()> {
        let words = pack("write", self.layout(), parts)?;
        self.write_words(&lent(&words))
    }
}
