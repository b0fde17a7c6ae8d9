//! Number formats as data: an element, the scales that elements share, and how their codes lie in memory.
//!
//! A row's codes are one stream, least significant bit first, starting on a u32 word. Scales lie apart: one word with
//! the scale of the tensor, if it has one, then the E8M0 bytes of the blocks, four to a word, each row starting on a
//! word. Unused bits are zero.

use super::element::Element;
use super::minifloat::e8m0_decode;
use super::rounding::Rounding;
use super::scale::{NAN_BITS, NAN_SCALE, Scale, ScaleRule, TensorScale, UNIT_SCALE, Zero};
use super::{DType, FormatError};

/// A format of few-bit codes.
///
/// | field | what |
/// |---|---|
/// | `element` | what one code stands for |
/// | `scale` | which neighbours along a row share a scale |
/// | `zero` | zero points: none yet |
/// | `tensor_scale` | a scale for the whole tensor |
///
/// Every format has a name ([`Display`](std::fmt::Display), [`FromStr`](std::str::FromStr)): `mxfp8-e4m3`, `bfp5-16`,
/// `q8.8`; [`NAMED`](super::NAMED) lists those in use.
///
/// ```
/// use fewbit::format::{Element, Format, Rounding, ScaleRule, minifloat};
///
/// let format: Format = "mxfp4".parse()?;
/// assert_eq!(format, Format::new(Element::Minifloat(minifloat::E2M1))?.block(32, ScaleRule::Floor)?);
/// let values = [1.0f32, -2.5, 0.3, 5.75].map(f32::to_bits);
/// let (mut codes, mut scales, mut back) = ([0], [0], [0; 4]);
/// format.encode(&values, 4, Rounding::Nearest, |_| 0, &mut codes, &mut scales);
/// assert_eq!((codes, scales), ([0x71c2], [0x7f]));
/// format.decode(&codes, &scales, 4, &mut back);
/// assert_eq!(back.map(f32::from_bits), [1.0, -2.0, 0.5, 6.0]);
/// # Ok::<(), fewbit::format::ParseFormatError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    element: Element,
    scale: Scale,
    zero: Zero,
    tensor_scale: TensorScale,
}

impl Format {
    /// Codes of `element` without scales.
    ///
    /// # Errors
    /// [`FormatError::CodeWidth`] for elements of more than 16 bits.
    pub const fn new(element: Element) -> Result<Self, FormatError> {
        if element.bits() > 16 {
            return Err(FormatError::CodeWidth { got: element.bits() });
        }
        Ok(Self {
            element,
            scale: Scale::None,
            zero: Zero::None,
            tensor_scale: TensorScale::None,
        })
    }

    /// The same with a scale for every `size` neighbours of a row.
    ///
    /// # Errors
    /// [`FormatError::BlockSize`] unless it is 8, 16, 32, 64 or 128; [`FormatError::Unscalable`] for elements that
    /// take no scale, or a format that has one already.
    pub const fn block(self, size: u32, rule: ScaleRule) -> Result<Self, FormatError> {
        if !matches!(size, 8 | 16 | 32 | 64 | 128) {
            return Err(FormatError::BlockSize { got: size });
        }
        if !self.unscaled() {
            return Err(FormatError::Unscalable {
                bits: self.element.bits(),
            });
        }
        let scale = Scale::Block { size, rule };
        Ok(Self { scale, ..self })
    }

    /// The same with one power of two for the whole tensor.
    ///
    /// # Errors
    /// [`FormatError::Unscalable`] for elements that take no scale, or a format that has one already.
    pub const fn tensor_scaled(self, rule: ScaleRule) -> Result<Self, FormatError> {
        if !self.unscaled() {
            return Err(FormatError::Unscalable {
                bits: self.element.bits(),
            });
        }
        let tensor_scale = TensorScale::PowerOfTwo(rule);
        Ok(Self { tensor_scale, ..self })
    }

    const fn unscaled(self) -> bool {
        self.element.takes_scale()
            && matches!((self.scale, self.tensor_scale), (Scale::None, TensorScale::None))
    }

    /// Block floating point: sign and magnitude of `bits` bits, a block of `size` sharing the exponent of its largest
    /// magnitude (after FAST, arXiv 2110.15456, whose mantissa bits do not count the sign).
    ///
    /// # Errors
    /// [`FormatError::BlockSize`] or [`FormatError::CodeBits`].
    pub const fn bfp(size: u32, bits: u32) -> Result<Self, FormatError> {
        let element = match Element::sign_magnitude(bits) {
            Ok(element) => element,
            Err(error) => return Err(error),
        };
        match Self::new(element) {
            Ok(format) => format.block(size, ScaleRule::Floor),
            Err(error) => Err(error),
        }
    }

    /// What one code stands for.
    #[inline]
    #[must_use]
    pub const fn element(self) -> Element {
        self.element
    }

    /// Which neighbours share a scale.
    #[inline]
    #[must_use]
    pub const fn scale(self) -> Scale {
        self.scale
    }

    /// Zero points.
    #[inline]
    #[must_use]
    pub const fn zero(self) -> Zero {
        self.zero
    }

    /// The scale of the whole tensor.
    #[inline]
    #[must_use]
    pub const fn tensor_scale(self) -> TensorScale {
        self.tensor_scale
    }

    /// Bits of a code.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.element.bits()
    }

    /// Neighbours that share a scale, where blocks do.
    #[inline]
    #[must_use]
    pub const fn block_size(self) -> Option<u32> {
        match self.scale {
            Scale::None => None,
            Scale::Block { size, .. } => Some(size),
        }
    }

    /// Whether there are scales beside the codes: a second part of the tensor.
    #[inline]
    #[must_use]
    pub const fn has_scales(self) -> bool {
        self.head_words() > 0 || self.block_size().is_some()
    }

    /// u32 words that hold one row's codes: ceil(cols * bits / 32).
    #[inline]
    #[must_use]
    pub const fn codes_words_per_row(self, cols: usize) -> usize {
        // Split so that no product overflows: 32 codes take `bits` words.
        let bits = self.bits() as usize;
        cols / 32 * bits + (cols % 32 * bits).div_ceil(32)
    }

    /// Blocks in one row, the last of which may be shorter: ceil(cols / size); none where blocks share no scale.
    #[inline]
    #[must_use]
    pub const fn blocks_per_row(self, cols: usize) -> usize {
        match self.block_size() {
            Some(size) => cols.div_ceil(size as usize),
            None => 0,
        }
    }

    /// u32 words that hold one row's scale bytes: ceil(blocks / 4).
    #[inline]
    #[must_use]
    pub const fn scale_words_per_row(self, cols: usize) -> usize {
        self.blocks_per_row(cols).div_ceil(4)
    }

    /// u32 words before the first row's scales: 1 where the tensor has a scale.
    #[inline]
    #[must_use]
    pub const fn head_words(self) -> usize {
        match self.tensor_scale {
            TensorScale::None => 0,
            TensorScale::PowerOfTwo(_) => 1,
        }
    }

    /// u32 words of all scales of so many rows; `usize::MAX` where there are more.
    #[inline]
    #[must_use]
    pub const fn scales_words(self, rows: usize, cols: usize) -> usize {
        let words = rows.saturating_mul(self.scale_words_per_row(cols));
        words.saturating_add(self.head_words())
    }

    /// The rule by which the scales of blocks, or the tensor's, are chosen.
    #[inline]
    #[must_use]
    pub const fn rule(self) -> Option<ScaleRule> {
        match (self.scale, self.tensor_scale) {
            (Scale::Block { rule, .. }, _) | (Scale::None, TensorScale::PowerOfTwo(rule)) => Some(rule),
            (Scale::None, TensorScale::None) => None,
        }
    }

    /// The E8M0 byte of the scale of elements whose largest magnitude has these f32 bits, by the rule of the blocks or
    /// of the tensor.
    #[inline]
    #[must_use]
    pub fn scale_for(self, max_abs_bits: u32) -> u8 {
        match self.rule() {
            Some(rule) => rule.byte(max_abs_bits, self.element.largest_magnitude()),
            None => UNIT_SCALE,
        }
    }

    /// The code of f32 bits `u` under a scale: 0 under [`NAN_SCALE`].
    #[inline]
    #[must_use]
    pub fn encode_one(self, u: u32, byte: u8, rounding: Rounding, r16: u32) -> u16 {
        match byte {
            NAN_SCALE => 0,
            _ => self.element.encode(u, byte, rounding, r16),
        }
    }

    /// The f32 bits of a code under a scale: [`NAN_BITS`] under [`NAN_SCALE`].
    #[inline]
    #[must_use]
    pub fn decode_one(self, code: u16, byte: u8) -> u32 {
        match byte {
            NAN_SCALE => NAN_BITS,
            _ => self.element.decode(code, byte),
        }
    }

    /// The largest magnitude, in f32 bits without the sign; a NaN or Inf is larger than every number.
    fn largest_of(values: &[u32]) -> u32 {
        values.iter().fold(0, |max, u| max.max(u & 0x7fff_ffff))
    }

    /// The scale of the whole tensor for these f32 bits, all of them: what [`Format::encode_row`] takes.
    #[must_use]
    pub fn tensor_byte(self, values: &[u32]) -> u8 {
        match self.tensor_scale {
            TensorScale::None => UNIT_SCALE,
            TensorScale::PowerOfTwo(_) => self.scale_for(Self::largest_of(values)),
        }
    }

    /// Encodes one row of f32 bit patterns. `tensor` is the byte of the tensor's scale ([`UNIT_SCALE`] where it has
    /// none); `draw(col)` gives the 16 random bits (0..=65535) of a column, for stochastic rounding only. `codes` holds
    /// [`Format::codes_words_per_row`] words, `scales` [`Format::scale_words_per_row`]; all of both is written, unused
    /// bits with zeros.
    pub fn encode_row(
        self,
        values: &[u32],
        tensor: u8,
        rounding: Rounding,
        mut draw: impl FnMut(usize) -> u32,
        codes: &mut [u32],
        scales: &mut [u32],
    ) {
        codes.fill(0);
        scales.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(scales);
        let size = self.block_size().map_or(values.len(), |size| size as usize);
        for (b, block) in values.chunks(size.max(1)).enumerate() {
            let byte = match self.scale {
                Scale::None => tensor,
                Scale::Block { .. } => {
                    bytes[b] = self.scale_for(Self::largest_of(block));
                    bytes[b]
                }
            };
            for (i, &u) in block.iter().enumerate() {
                let col = b * size + i;
                let r16 = match rounding {
                    Rounding::Stochastic => draw(col),
                    Rounding::Nearest | Rounding::TowardZero => 0,
                };
                self.put(codes, col, self.encode_one(u, byte, rounding, r16));
            }
        }
    }

    /// Decodes one row into f32 bit patterns, `values.len()` columns of it.
    pub fn decode_row(self, codes: &[u32], scales: &[u32], tensor: u8, values: &mut [u32]) {
        let bytes: &[u8] = bytemuck::cast_slice(scales);
        for (col, value) in values.iter_mut().enumerate() {
            let byte = match self.block_size() {
                Some(size) => bytes[col / size as usize],
                None => tensor,
            };
            *value = self.decode_one(self.get(codes, col), byte);
        }
    }

    /// Encodes rows of `cols` f32 bit patterns; `draw(index)` gives the random bits of an element, row-major. `codes`
    /// and `scales` hold what [`Format::codes_words_per_row`] and [`Format::scales_words`] say.
    pub fn encode(
        self,
        values: &[u32],
        cols: usize,
        rounding: Rounding,
        mut draw: impl FnMut(usize) -> u32,
        codes: &mut [u32],
        scales: &mut [u32],
    ) {
        let tensor = self.tensor_byte(values);
        let (head, scales) = scales.split_at_mut(self.head_words());
        head.fill(e8m0_decode(tensor));
        let (words, scale_words) = (self.codes_words_per_row(cols), self.scale_words_per_row(cols));
        for (row, values) in values.chunks(cols.max(1)).enumerate() {
            let codes = &mut codes[row * words..][..words];
            let scales = &mut scales[row * scale_words..][..scale_words];
            self.encode_row(
                values,
                tensor,
                rounding,
                |col| draw(row * cols + col),
                codes,
                scales,
            );
        }
    }

    /// Decodes rows of `cols` columns into f32 bit patterns.
    pub fn decode(self, codes: &[u32], scales: &[u32], cols: usize, values: &mut [u32]) {
        let (head, scales) = scales.split_at(self.head_words());
        let tensor = head
            .first()
            .map_or(UNIT_SCALE, |&bits| super::scale::scale_byte(bits));
        let (words, scale_words) = (self.codes_words_per_row(cols), self.scale_words_per_row(cols));
        for (row, values) in values.chunks_mut(cols.max(1)).enumerate() {
            let codes = &codes[row * words..][..words];
            self.decode_row(codes, &scales[row * scale_words..][..scale_words], tensor, values);
        }
    }

    /// The code of column `col` in one row's words.
    #[inline]
    #[must_use]
    pub fn get(self, codes: &[u32], col: usize) -> u16 {
        let (word, offset) = self.position(col);
        let next = codes.get(word + 1).copied().unwrap_or(0);
        code_extract(codes[word], next, offset, self.bits()) as u16
    }

    /// Writes the code of column `col` into one row's words, where its bits are still zero.
    #[inline]
    pub fn put(self, codes: &mut [u32], col: usize, code: u16) {
        let (word, offset) = self.position(col);
        codes[word] |= u32::from(code) << offset;
        if offset + self.bits() > 32 {
            codes[word + 1] |= u32::from(code) >> (32 - offset);
        }
    }

    /// Where the code of column `col` starts: word, and bit in it.
    #[inline]
    const fn position(self, col: usize) -> (usize, u32) {
        let bits = self.bits() as usize;
        let bit = col % 32 * bits;
        (col / 32 * bits + bit / 32, (bit % 32) as u32)
    }

    /// Whether every value of the format is a bf16, subnormals of scaled formats aside (which products of bf16 may
    /// flush).
    #[must_use]
    pub const fn fits_bf16(self) -> bool {
        self.element.significant_bits() <= 8
    }

    /// The byte of the scale that elements have where no block has its own: the tensor's, which `scales` begin with, or
    /// [`UNIT_SCALE`].
    #[must_use]
    pub fn common_scale(self, scales: &[u32]) -> u8 {
        match (self.head_words(), scales.first()) {
            (0, _) | (_, None) => UNIT_SCALE,
            (_, Some(&bits)) => super::scale::scale_byte(bits),
        }
    }
}

/// The m-bit code (m <= 16) that starts at bit `offset` (0..=31) of `lo` and may run on into the next word `hi`.
///
/// Only an offset above 32 - m can straddle, so the left shift by 32 - offset is by 1..=15: never by 32.
#[inline]
#[must_use]
pub const fn code_extract(lo: u32, hi: u32, offset: u32, m: u32) -> u32 {
    let mut bits = lo >> (offset & 31);
    if offset + m > 32 {
        bits |= hi << ((32 - offset) & 31);
    }
    bits & ((1 << m) - 1)
}

/// What the elements of an operand are: plain numbers, or codes of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elements {
    /// Numbers as they are.
    Plain(DType),
    /// Codes with their scales.
    Coded(Format),
}

impl Elements {
    /// The plain type, if it is one.
    #[inline]
    #[must_use]
    pub const fn dtype(self) -> Option<DType> {
        match self {
            Self::Plain(dtype) => Some(dtype),
            Self::Coded(_) => None,
        }
    }

    /// The format, if it is one.
    #[inline]
    #[must_use]
    pub const fn format(self) -> Option<Format> {
        match self {
            Self::Plain(_) => None,
            Self::Coded(format) => Some(format),
        }
    }

    /// Whether they are of this plain type.
    #[inline]
    #[must_use]
    pub fn is(self, dtype: DType) -> bool {
        self == Self::Plain(dtype)
    }
}

impl From<DType> for Elements {
    fn from(dtype: DType) -> Self {
        Self::Plain(dtype)
    }
}

impl From<Format> for Elements {
    fn from(format: Format) -> Self {
        Self::Coded(format)
    }
}

impl std::fmt::Display for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(dtype) => dtype.fmt(f),
            Self::Coded(format) => format.fmt(f),
        }
    }
}
