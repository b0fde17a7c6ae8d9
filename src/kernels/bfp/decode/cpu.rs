//! Decoding on the CPU device: rows in parallel, a block as a few vector operations.

use super::super::packing::{PIECE, unpack, unpack_pairs};
use super::BfpDecode;
use crate::cpu::parallel::TASK;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::block::{BAD_BLOCK, NAN_BITS};
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// Rows in parallel.
pub(crate) fn decode(cpu: &Cpu, op: &BfpDecode, codes: &[u32], exponents: &[u32], dst: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let row_words = op.dst().row_words() as usize;
    let rows_per_task = (TASK / op.cols).max(1);
    // The operand may be longer.
    let dst = &mut dst[..op.dst().words() as usize];
    cpu.chunks_mut(dst, rows_per_task * row_words, |task, dst| {
        let first = task * rows_per_task;
        let rows = rows_per_task.min(op.rows - first);
        cpu.run(DecodeRows {
            op,
            codes: &codes[first * code_words..][..rows * code_words],
            exponents: &exponents[first * exponent_words..][..rows * exponent_words],
            dst,
        });
    });
}

struct DecodeRows<'a> {
    op: &'a BfpDecode,
    codes: &'a [u32],
    exponents: &'a [u32],
    dst: &'a mut [u32],
}

impl Kernel for DecodeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
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

impl DecodeRows<'_> {
    #[inline(always)]
    fn blocks<L: Lanes, const B: usize>(self, lanes: L) {
        let (op, bits) = (self.op, self.op.format.bits());
        let code_words = op.format.codes_words_per_row(op.cols);
        let exponent_words = op.format.exponent_words_per_row(op.cols);
        let sources = self
            .codes
            .chunks(code_words)
            .zip(self.exponents.chunks(exponent_words));
        let rows = self.dst.chunks_mut(op.dst().row_words() as usize);
        let (mut packed, mut unpacked) = ([0u8; PIECE + 8], [0u8; PIECE]);
        let (mut values, mut steps) = ([0u32; PIECE], [0f32; PIECE]);
        for ((codes, exponents), dst) in sources.zip(rows) {
            let exponents: &[u8] = bytemuck::cast_slice(exponents);
            let codes: &[u8] = bytemuck::cast_slice(codes);
            for start in (0..op.cols).step_by(PIECE) {
                let len = PIECE.min(op.cols - start);
                let from = &codes[start / 8 * bits as usize..];
                let count = from.len().min(PIECE / 8 * bits as usize);
                if bits == 8 {
                    unpacked[..count].copy_from_slice(&from[..count]);
                } else if bits == 4 {
                    unpack_pairs(&from[..count], &mut unpacked);
                } else {
                    packed[..count].copy_from_slice(&from[..count]);
                    unpack(&packed, bits, &mut unpacked);
                }
                let exponents = &exponents[start / B..(start + len).div_ceil(B)];
                if op.to == DType::F32 {
                    if let Some(values) = dst.get_mut(start..start + PIECE)
                        && len == PIECE
                    {
                        decode_piece::<L, B>(lanes, &unpacked, exponents, bits, &mut steps, values);
                    } else {
                        decode_piece::<L, B>(lanes, &unpacked, exponents, bits, &mut steps, &mut values);
                        dst[start..start + len].copy_from_slice(&values[..len]);
                    }
                    continue;
                }
                decode_piece::<L, B>(lanes, &unpacked, exponents, bits, &mut steps, &mut values);
                let words = &mut dst[start / 2..(start + len).div_ceil(2)];
                if len % 2 == 1 {
                    words[len / 2] = 0;
                }
                let halves = &mut bf16::halves_mut(words)[..len];
                for (half, &bits) in halves.iter_mut().zip(&values) {
                    *half = bf16::round_nearest(bits);
                }
            }
        }
    }
}

/// As [`bfp_decode`](crate::format::block::bfp_decode) of each code, with a byte of `exponents` for each block: the
/// integer times the step, both of them exact, and the product too, since it is a multiple of the smallest
/// subnormal with at most seven bits.
#[inline(always)]
fn decode_piece<L: Lanes, const B: usize>(
    lanes: L,
    codes: &[u8; PIECE],
    exponents: &[u8],
    bits: u32,
    steps: &mut [f32; PIECE],
    values: &mut [u32],
) {
    // One factor per element, so that one long loop serves every block size.
    let mut block_steps = [0u32; PIECE / 8];
    let less = bits - 2;
    let mut bad = false;
    for (&byte, step) in exponents.iter().zip(&mut block_steps) {
        bad |= byte == BAD_BLOCK;
        // 2^(byte - 127 - (m-2)), at least 2^-133: a subnormal where its exponent field would be below 1.
        let byte = u32::from(byte);
        *step = match byte > less {
            true => (byte - less) << 23,
            false => 1 << (22 + byte).saturating_sub(less),
        };
    }
    for (steps, step) in steps.as_chunks_mut::<B>().0.iter_mut().zip(block_steps) {
        lanes.fill(steps, f32::from_bits(step));
    }
    let mask = (1u32 << (bits - 1)) - 1;
    for ((value, &code), &step) in values.iter_mut().zip(codes).zip(&*steps) {
        let code = u32::from(code);
        let magnitude = (code & mask).cast_signed() as f32 * step;
        *value = magnitude.to_bits() | (code >> (bits - 1)) << 31;
    }
    if bad {
        for (values, _) in values
            .chunks_mut(B)
            .zip(exponents)
            .filter(|(_, byte)| **byte == BAD_BLOCK)
        {
            values.fill(NAN_BITS);
        }
    }
}
