//! Block floating point (BFP): up to `block` neighbours along a row share one 8-bit exponent, each keeps a
//! sign and m - 1 magnitude bits (m counts the sign; papers that count it apart, like FAST, say m - 1).
//!
//! With e = floor(log2(largest magnitude)), at least -127, a value is q * 2^(e - (m-2)) for an integer q below
//! 2^(m-1) in magnitude; rounding up to 2^(m-1) saturates. The stored exponent byte is e + 127 (0..=254); 255
//! marks a block with a NaN or Inf in it, whose codes are 0 and which decodes to NaN. A code is
//! sign << (m-1) | magnitude; -0, and negatives that round to 0, keep their sign bit. Blocks never cross rows;
//! a row's last block may be shorter.
//!
//! Storage: each row is one stream of m-bit codes, least significant bit first, starting on a u32 word; the
//! exponent bytes lie apart, four to a word, each row starting on a word. Unused bits are zero.
//!
//! WGSL twin: `shaders/lib/block.wgsl`.

use super::FormatError;
use super::rounding::{Rounding, exponent, shift_round, significand};

/// The exponent byte of a block that holds a NaN or an Inf.
pub const BAD_BLOCK: u8 = 255;
/// What every element of a [`BAD_BLOCK`] decodes to: the bits of a quiet NaN.
pub const NAN_BITS: u32 = 0x7fc0_0000;

/// The exponent byte of a block whose largest magnitude has these f32 bits (sign bit ignored).
///
/// It is the f32 exponent field itself. For a normal maximum, e + 127 is the field by definition (and not by a
/// log2 that rounds, which is wrong just under powers of two). A subnormal or zero maximum has e clamped to
/// -127, byte 0, field 0. Inf and NaN have field 255, and as the largest patterns they win any maximum of bits.
#[inline]
#[must_use]
pub const fn block_exponent(max_abs_bits: u32) -> u8 {
    ((max_abs_bits >> 23) & 0xff) as u8
}

/// The m-bit code of one element (f32 bits `u`) in a block with this exponent byte, which must not be below
/// the element's own exponent field. Only stochastic rounding looks at `r16` (0..=65535).
///
/// The element is significand * 2^(f-150), f = max(its exponent field, 1), and one step of the block is
/// 2^(byte-127-(m-2)), so the magnitude is the significand shifted right by sh = byte + 25 - m - f. Where
/// f <= byte, sh >= 25 - m >= 17; else f = 1 and byte = 0, and sh = 24 - m >= 16: never a shift to the left,
/// and always 16 whole bits for stochastic rounding to look at.
#[inline]
#[must_use]
pub fn bfp_encode(u: u32, exponent_byte: u8, m: u32, rounding: Rounding, r16: u32) -> u8 {
    if exponent_byte == BAD_BLOCK {
        return 0;
    }
    // Saturating, for a caller's exponent that is too small: any result, but no overflow.
    let sh = (u32::from(exponent_byte) + 25 - m).saturating_sub(exponent(u));
    let magnitude = shift_round(significand(u), sh, rounding, r16).min((1 << (m - 1)) - 1);
    ((u >> 31) << (m - 1) | magnitude) as u8
}

/// The f32 bits of an m-bit code: exact, subnormal results included.
///
/// value = q * 2^(byte-127-(m-2)). With k = floor(log2 q), the f32 exponent field is byte + k - (m-2), which
/// is at most byte <= 254, and the mantissa is q moved up until its leading bit is bit 23, then hidden. Where
/// that field would be below 1 the result is subnormal, in units of 2^-149: q << (byte + 24 - m), a shift of at
/// least 16, and below 2^23 because the value is below 2^-126.
#[inline]
#[must_use]
pub const fn bfp_decode(code: u32, exponent_byte: u8, m: u32) -> u32 {
    if exponent_byte == BAD_BLOCK {
        return NAN_BITS;
    }
    let byte = exponent_byte as u32;
    let sign = ((code >> (m - 1)) & 1) << 31;
    let q = code & ((1 << (m - 1)) - 1);
    if q == 0 {
        return sign;
    }
    let k = 31 - q.leading_zeros();
    if byte + k >= m - 1 {
        sign | (byte + k + 2 - m) << 23 | ((q << (23 - k)) & 0x007f_ffff)
    } else {
        sign | q << (byte + 24 - m)
    }
}

/// The signed integer q of an m-bit code; 0 for -0.
#[inline]
#[must_use]
pub const fn bfp_signed(code: u32, m: u32) -> i32 {
    let magnitude = (code & ((1 << (m - 1)) - 1)) as i32;
    if (code >> (m - 1)) & 1 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// The m-bit code (m <= 8) that starts at bit `offset` (0..=31) of `lo` and may run on into the next word `hi`.
///
/// Only an offset above 24 can straddle, so the left shift by 32 - offset is by 1..=7: never by 32.
#[inline]
#[must_use]
pub const fn code_extract(lo: u32, hi: u32, offset: u32, m: u32) -> u32 {
    let mut bits = lo >> (offset & 31);
    if offset + m > 32 {
        bits |= hi << ((32 - offset) & 31);
    }
    bits & ((1 << m) - 1)
}

/// A BFP format: how many values share an exponent, and how wide a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BfpFormat {
    block: u32,
    bits: u32,
}

impl BfpFormat {
    /// A format of `block` values per exponent (8, 16, 32, 64 or 128) and codes of `bits` bits (2..=8, the sign
    /// among them); anything else is an error.
    pub const fn new(block: u32, bits: u32) -> Result<Self, FormatError> {
        if !matches!(block, 8 | 16 | 32 | 64 | 128) {
            return Err(FormatError::BlockSize { got: block });
        }
        if !matches!(bits, 2..=8) {
            return Err(FormatError::CodeBits { got: bits });
        }
        Ok(Self { block, bits })
    }

    /// Values per block.
    #[inline]
    #[must_use]
    pub const fn block(self) -> u32 {
        self.block
    }

    /// Bits per code (m), the sign among them.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// u32 words that hold one row's codes: ceil(cols * m / 32).
    #[inline]
    #[must_use]
    pub const fn codes_words_per_row(self, cols: usize) -> usize {
        // Split so that no product overflows: 32 codes take m words.
        let bits = self.bits as usize;
        cols / 32 * bits + (cols % 32 * bits).div_ceil(32)
    }

    /// Blocks in one row, the last of which may be shorter: ceil(cols / block).
    #[inline]
    #[must_use]
    pub const fn blocks_per_row(self, cols: usize) -> usize {
        cols.div_ceil(self.block as usize)
    }

    /// u32 words that hold one row's exponent bytes: ceil(blocks / 4).
    #[inline]
    #[must_use]
    pub const fn exponent_words_per_row(self, cols: usize) -> usize {
        self.blocks_per_row(cols).div_ceil(4)
    }

    /// Encodes one block of f32 bit patterns (at most [`BfpFormat::block`] of them) into as many codes, one per
    /// byte, and returns the exponent byte. `draw(i)` gives the 16 random bits (0..=65535) of `values[i]`; the
    /// caller maps i to the element's logical row-major index. It is called for stochastic rounding only.
    #[inline]
    pub fn encode_block(
        self,
        values: &[u32],
        rounding: Rounding,
        mut draw: impl FnMut(usize) -> u32,
        codes: &mut [u8],
    ) -> u8 {
        debug_assert!(values.len() <= self.block as usize && codes.len() >= values.len());
        let max_abs_bits = values.iter().fold(0, |max, u| max.max(u & 0x7fff_ffff));
        let byte = block_exponent(max_abs_bits);
        for (i, (code, &u)) in codes.iter_mut().zip(values).enumerate() {
            let r16 = if rounding == Rounding::Stochastic {
                draw(i)
            } else {
                0
            };
            *code = bfp_encode(u, byte, self.bits, rounding, r16);
        }
        byte
    }

    /// Encodes one row of f32 bit patterns in the storage layout. `draw(col)` gives the random bits of a
    /// column (stochastic rounding only). `codes` holds [`BfpFormat::codes_words_per_row`] words, `exponents`
    /// [`BfpFormat::exponent_words_per_row`]; all of both is written, unused bits with zeros.
    pub fn encode_row(
        self,
        values: &[u32],
        rounding: Rounding,
        mut draw: impl FnMut(usize) -> u32,
        codes: &mut [u32],
        exponents: &mut [u32],
    ) {
        debug_assert!(codes.len() >= self.codes_words_per_row(values.len()));
        debug_assert!(exponents.len() >= self.exponent_words_per_row(values.len()));
        codes.fill(0);
        exponents.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(exponents);
        let mut unpacked = [0; 128];
        for (b, block) in values.chunks(self.block as usize).enumerate() {
            let start = b * self.block as usize;
            bytes[b] = self.encode_block(block, rounding, |i| draw(start + i), &mut unpacked);
            for (i, &code) in unpacked[..block.len()].iter().enumerate() {
                self.put(codes, start + i, u32::from(code));
            }
        }
    }

    /// Decodes one row from the storage layout into f32 bit patterns, `values.len()` columns of it.
    pub fn decode_row(self, codes: &[u32], exponents: &[u32], values: &mut [u32]) {
        let bytes: &[u8] = bytemuck::cast_slice(exponents);
        for (col, value) in values.iter_mut().enumerate() {
            *value = self.decode(self.get(codes, col), bytes[col / self.block as usize]);
        }
    }

    /// The code of column `col` in one row's words.
    #[inline]
    #[must_use]
    pub fn get(self, codes: &[u32], col: usize) -> u32 {
        let (word, offset) = self.position(col);
        code_extract(
            codes[word],
            codes.get(word + 1).copied().unwrap_or(0),
            offset,
            self.bits,
        )
    }

    /// Writes the code of column `col` into one row's words, where its bits are still zero.
    #[inline]
    pub fn put(self, codes: &mut [u32], col: usize, code: u32) {
        let (word, offset) = self.position(col);
        codes[word] |= code << offset;
        if offset + self.bits > 32 {
            codes[word + 1] |= code >> (32 - offset);
        }
    }

    /// Where the code of column `col` starts: word, and bit in it.
    #[inline]
    const fn position(self, col: usize) -> (usize, u32) {
        let bit = col % 32 * self.bits as usize;
        (col / 32 * self.bits as usize + bit / 32, (bit % 32) as u32)
    }

    /// The f32 bits of a code: [`bfp_decode`].
    #[inline]
    #[must_use]
    pub const fn decode(self, code: u32, exponent_byte: u8) -> u32 {
        bfp_decode(code, exponent_byte, self.bits)
    }

    /// The signed integer of a code: [`bfp_signed`].
    #[inline]
    #[must_use]
    pub const fn signed(self, code: u32) -> i32 {
        bfp_signed(code, self.bits)
    }
}
