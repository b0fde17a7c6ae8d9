//! Encoding on the CPU device: rows in parallel, a block as a few vector operations.

use super::super::packing::{PIECE, pack, pack_pairs};
use super::BfpEncode;
use crate::cpu::parallel::TASK;
use crate::cpu::random::aligned;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::block::{bfp_encode as encode_bits, block_exponent};
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// Rows in parallel.
pub(crate) fn encode(cpu: &Cpu, op: &BfpEncode, src: &[u32], codes: &mut [u32], exponents: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, op.rounding);
    let rows_per_task = (TASK / op.cols).max(1);
    let tasks: Vec<_> = codes[..op.rows * code_words]
        .chunks_mut(rows_per_task * code_words)
        .zip(exponents[..op.rows * exponent_words].chunks_mut(rows_per_task * exponent_words))
        .collect();
    cpu.items(tasks, |task, (codes, exponents)| {
        cpu.run(EncodeRows {
            op,
            row: task * rows_per_task,
            src,
            codes,
            exponents,
        });
    });
}

/// Consecutive rows from `row` on.
struct EncodeRows<'a> {
    op: &'a BfpEncode,
    row: usize,
    src: &'a [u32],
    codes: &'a mut [u32],
    exponents: &'a mut [u32],
}

impl Kernel for EncodeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        // The block size is a constant in each arm, so that a block is a few vector operations.
        match self.op.format.block() {
            8 => self.blocks::<L, 8>(lanes),
            16 => self.blocks::<L, 16>(lanes),
            32 => self.blocks::<L, 32>(lanes),
            64 => self.blocks::<L, 64>(lanes),
            // 128: `BfpFormat::new` lets no other through.
            _ => self.blocks::<L, 128>(lanes),
        }
    }
}

impl EncodeRows<'_> {
    #[inline(always)]
    fn blocks<L: Lanes, const B: usize>(self, lanes: L) {
        let (op, bits) = (self.op, self.op.format.bits());
        let code_words = op.format.codes_words_per_row(op.cols);
        let exponent_words = op.format.exponent_words_per_row(op.cols);
        let rows = self
            .codes
            .chunks_mut(code_words)
            .zip(self.exponents.chunks_mut(exponent_words));
        let (mut staged, mut unpacked, mut packed) = ([0u32; PIECE], [0u8; PIECE], [0u8; PIECE + 8]);
        let mut random = [[0; 4]; PIECE / 8];
        let mut scratch = Scratch {
            scales: [0.0; PIECE],
            wide: [0; PIECE],
        };
        for (row, (codes, exponents)) in (self.row..).zip(rows) {
            exponents.fill(0);
            let exponents: &mut [u8] = bytemuck::cast_slice_mut(exponents);
            let codes: &mut [u8] = bytemuck::cast_slice_mut(codes);
            for start in (0..op.cols).step_by(PIECE) {
                let len = PIECE.min(op.cols - start);
                let at = row * op.src_ld + start;
                let values = match (op.from, self.src.get(at..at + PIECE)) {
                    (DType::F32, Some(values)) if len == PIECE => values.first_chunk(),
                    (DType::F32 | DType::Bf16 | DType::F64 | DType::U32 | DType::U16, _) => None,
                };
                let values = values.unwrap_or_else(|| {
                    stage(op.from, self.src, at, len, &mut staged);
                    &staged
                });
                if op.rounding == Rounding::Stochastic {
                    let first = (row * op.cols + start) as u64;
                    aligned(lanes, &op.draw, first, &mut random);
                }
                let random = bytemuck::cast_ref(&random);
                let exponents = &mut exponents[start / B..(start + len).div_ceil(B)];
                // The rounding is a constant in each arm, so that each loop is vectorised without asking.
                let mut piece = Piece {
                    values,
                    bits,
                    random,
                    exponents,
                    codes: &mut unpacked,
                    scratch: &mut scratch,
                };
                match op.rounding {
                    Rounding::Nearest => piece.encode::<L, B>(lanes, Rounding::Nearest),
                    Rounding::TowardZero => piece.encode::<L, B>(lanes, Rounding::TowardZero),
                    Rounding::Stochastic => piece.encode::<L, B>(lanes, Rounding::Stochastic),
                }
                unpacked[len..].fill(0);
                let to = &mut codes[start / 8 * bits as usize..];
                let count = to.len().min(PIECE / 8 * bits as usize);
                if bits == 8 {
                    to[..count].copy_from_slice(&unpacked[..count]);
                } else if bits == 4 {
                    pack_pairs(&unpacked, &mut to[..count]);
                } else {
                    pack(&unpacked, bits, &mut packed);
                    to[..count].copy_from_slice(&packed[..count]);
                }
            }
        }
    }
}

/// `len` elements as f32 bits, then zeros: they change no maximum, and their codes are zero, as unused bits are.
#[inline(always)]
fn stage(from: DType, src: &[u32], at: usize, len: usize, values: &mut [u32; PIECE]) {
    match from {
        DType::Bf16 => {
            for (value, &half) in values.iter_mut().zip(&bf16::halves(src)[at..at + len]) {
                *value = u32::from(half) << 16;
            }
        }
        DType::F32 | DType::F64 | DType::U32 | DType::U16 => {
            values[..len].copy_from_slice(&src[at..at + len])
        }
    }
    values[len..].fill(0);
}

/// Exponent bytes for which every factor below is a normal f32, whatever the width of a code.
const SCALED: std::ops::RangeInclusive<u8> = 32..=253;

/// What every piece overwrites: to clear it first takes a fifth of the time.
struct Scratch {
    scales: [f32; PIECE],
    wide: [u32; PIECE],
}

/// One code per byte, and a byte for each of as many blocks as there is room for: see
/// [`BfpFormat::encode_block`](crate::format::block::BfpFormat::encode_block).
struct Piece<'a> {
    values: &'a [u32; PIECE],
    bits: u32,
    random: &'a [u16; PIECE],
    exponents: &'a mut [u8],
    codes: &'a mut [u8; PIECE],
    scratch: &'a mut Scratch,
}

impl Piece<'_> {
    #[inline(always)]
    fn encode<L: Lanes, const B: usize>(&mut self, lanes: L, rounding: Rounding) {
        let Self {
            values,
            bits,
            random,
            exponents,
            codes,
            scratch,
        } = self;
        let (values, bits, random) = (*values, *bits, *random);
        let (blocks, _) = values.as_chunks::<B>();
        // One factor per element, so that one long loop serves every block size.
        let Scratch { scales, wide } = scratch;
        let more = if rounding == Rounding::Stochastic { 16 } else { 0 };
        let mut maxima = [0u32; PIECE / 8];
        lanes.block_maxima::<B>(values, 0x7fff_ffff, &mut maxima[..PIECE / B]);
        let mut unscaled = false;
        let mut block_scales = [0u32; PIECE / 8];
        for ((exponent, &max), scale) in exponents.iter_mut().zip(&maxima).zip(&mut block_scales) {
            *exponent = block_exponent(max);
            // Zeros are zeros at any scale, 1 for one. No scale is 0: that marks the blocks that have none.
            *scale = match (SCALED.contains(exponent), max) {
                (true, _) => (252 + bits + more).wrapping_sub((*exponent).into()) << 23,
                (false, 0) => 1f32.to_bits(),
                (false, _) => 0,
            };
            unscaled |= *scale == 0;
        }
        for (scales, scale) in scales.as_chunks_mut::<B>().0.iter_mut().zip(block_scales) {
            lanes.fill(scales, f32::from_bits(scale));
        }
        encode_scaled(lanes, values, scales, bits, rounding, random, wide);
        for (code, wide) in codes.iter_mut().zip(wide) {
            *code = *wide as u8;
        }
        if !unscaled {
            return;
        }
        // What came out for the other blocks means nothing.
        let blocks = blocks.iter().zip(random.as_chunks::<B>().0);
        let blocks = blocks.zip(codes.as_chunks_mut::<B>().0).zip(&**exponents);
        for ((((values, random), codes), byte), scale) in blocks.zip(block_scales) {
            if scale != 0 {
                continue;
            }
            for ((code, &u), &r) in codes.iter_mut().zip(values).zip(random) {
                *code = encode_bits(u, *byte, bits, rounding, r.into());
            }
        }
    }
}

/// The codes, in the low bytes, of elements whose blocks' exponent bytes are in [`SCALED`]; the integer shifts of
/// [`encode_bits`] serve the others. `scales` are 1 / step = 2^(m-2) / 2^(byte-127), times 2^16 where drawn.
///
/// Multiplying by such a power of two is exact where the product is normal; where it is not, it is below
/// 2^-126, far below anything that rounds up. A magnitude is then below 2^(m-1), times 2^16 below 2^23: adding 2^23
/// leaves a sum whose last bit is the unit, so that the addition itself rounds to nearest, ties to even, and the
/// low bits are the integer. What is drawn is below 2^16, so that of a magnitude no larger than the largest code
/// nothing larger comes out: it is enough to limit what goes in.
#[inline(always)]
fn encode_scaled<L: Lanes>(
    lanes: L,
    values: &[u32; PIECE],
    scales: &[f32; PIECE],
    bits: u32,
    rounding: Rounding,
    random: &[u16; PIECE],
    codes: &mut [u32; PIECE],
) {
    /// 2^23, whose last bit is 1.
    const UNIT: f32 = 8_388_608.0;
    let sign = 1 << (bits - 1);
    let largest = sign - 1;
    let limit = (largest << if rounding == Rounding::Stochastic { 16 } else { 0 }) as f32;
    for (((code, &u), &scale), &r) in codes.iter_mut().zip(values).zip(scales).zip(random) {
        let x = f32::from_bits(u & 0x7fff_ffff) * scale;
        // The low byte is the magnitude; the bits above it are dropped.
        let magnitude = match rounding {
            Rounding::Nearest => (x + UNIT).to_bits().min(UNIT.to_bits() + largest),
            Rounding::TowardZero => lanes.truncate(x, limit),
            Rounding::Stochastic => (lanes.truncate(x, limit) + u32::from(r)) >> 16,
        };
        *code = magnitude | (u >> (32 - bits)) & sign;
    }
}
