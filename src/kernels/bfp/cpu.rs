//! Block floating point on the CPU device: rows in parallel; products as 16-bit integer dot products.

use crate::cpu::parallel::TASK;
use crate::cpu::random::{HALVES, aligned};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::block::{BAD_BLOCK, NAN_BITS, bfp_encode as encode_bits, block_exponent};
use crate::format::{Rounding, bf16};
use crate::kernels::{BfpDecode, BfpEncode, BfpMatmul};
use crate::tensor::{DType, alloc};

pub(crate) fn bfp_encode(cpu: &Cpu, op: &BfpEncode, src: &[u32], codes: &mut [u32], exponents: &mut [u32]) {
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

/// Columns that are encoded or decoded at a time: whole blocks of any size, and whole words of codes of any width.
const PIECE: usize = HALVES;

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
                    _ => None,
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
                match op.rounding {
                    Rounding::Nearest => {
                        encode_piece::<L, B>(
                            lanes,
                            values,
                            bits,
                            Rounding::Nearest,
                            random,
                            exponents,
                            &mut unpacked,
                            &mut scratch,
                        );
                    }
                    Rounding::TowardZero => {
                        encode_piece::<L, B>(
                            lanes,
                            values,
                            bits,
                            Rounding::TowardZero,
                            random,
                            exponents,
                            &mut unpacked,
                            &mut scratch,
                        );
                    }
                    Rounding::Stochastic => {
                        encode_piece::<L, B>(
                            lanes,
                            values,
                            bits,
                            Rounding::Stochastic,
                            random,
                            exponents,
                            &mut unpacked,
                            &mut scratch,
                        );
                    }
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
    if from == DType::Bf16 {
        for (value, &half) in values.iter_mut().zip(&bf16::halves(src)[at..at + len]) {
            *value = u32::from(half) << 16;
        }
    } else {
        values[..len].copy_from_slice(&src[at..at + len]);
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
#[inline(always)]
fn encode_piece<L: Lanes, const B: usize>(
    lanes: L,
    values: &[u32; PIECE],
    bits: u32,
    rounding: Rounding,
    random: &[u16; PIECE],
    exponents: &mut [u8],
    codes: &mut [u8; PIECE],
    scratch: &mut Scratch,
) {
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
    let blocks = blocks.zip(codes.as_chunks_mut::<B>().0).zip(exponents);
    for ((((values, random), codes), byte), scale) in blocks.zip(block_scales) {
        if scale != 0 {
            continue;
        }
        for ((code, &u), &r) in codes.iter_mut().zip(values).zip(random) {
            *code = encode_bits(u, *byte, bits, rounding, r.into());
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

/// The width that most formats have: two codes to a byte.
#[inline(always)]
fn pack_pairs(codes: &[u8; PIECE], out: &mut [u8]) {
    for (out, codes) in out.iter_mut().zip(codes.as_chunks::<2>().0) {
        *out = codes[0] | codes[1] << 4;
    }
}

/// Codes of `bits` bits, one per byte, to one stream: pairs of neighbours are joined three times over, and eight
/// codes are then the low bytes of a word. Each word is stored over the zeros past the one before.
#[inline(always)]
fn pack(codes: &[u8; PIECE], bits: u32, out: &mut [u8; PIECE + 8]) {
    const LOW: [u64; 3] = [
        0x00ff_00ff_00ff_00ff,
        0x0000_ffff_0000_ffff,
        0x0000_0000_ffff_ffff,
    ];
    let mut words = [0u64; PIECE / 8];
    for (word, codes) in words.iter_mut().zip(codes.as_chunks::<8>().0) {
        let mut x = u64::from_le_bytes(*codes);
        for (i, low) in LOW.into_iter().enumerate() {
            x = (x & low) | (x & !low) >> ((8 - bits) << i);
        }
        *word = x;
    }
    for (i, word) in words.iter().enumerate() {
        let at = i * bits as usize;
        if let Some(out) = out.get_mut(at..at + 8) {
            out.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// [`pack_pairs`] backwards.
#[inline(always)]
fn unpack_pairs(packed: &[u8], codes: &mut [u8; PIECE]) {
    for (byte, codes) in packed.iter().zip(codes.as_chunks_mut::<2>().0) {
        *codes = [byte & 15, byte >> 4];
    }
}

/// [`pack`] backwards.
#[inline(always)]
fn unpack(packed: &[u8; PIECE + 8], bits: u32, codes: &mut [u8; PIECE]) {
    let mut words = [0u64; PIECE / 8];
    for (i, word) in words.iter_mut().enumerate() {
        let at = i * bits as usize;
        *word = packed[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    }
    // The codes that stay in the low half at each of the three splits.
    let stay = [bits, 2 * bits, 4 * bits].map(|width| (1u64 << width) - 1);
    let stay = [
        stay[0] * 0x0001_0001_0001_0001,
        stay[1] * 0x0000_0001_0000_0001,
        stay[2],
    ];
    for (word, codes) in words.iter().zip(codes.as_chunks_mut::<8>().0) {
        let mut x = word & (u64::MAX >> (64 - 8 * bits));
        for i in [2, 1, 0] {
            x = (x & stay[i]) | (x & !stay[i]) << ((8 - bits) << i);
        }
        *codes = x.to_le_bytes();
    }
}

pub(crate) fn bfp_decode(cpu: &Cpu, op: &BfpDecode, codes: &[u32], exponents: &[u32], dst: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let row_words = op.to.words(op.dst_ld as u64) as usize;
    let rows_per_task = (TASK / op.cols).max(1);
    cpu.chunks_mut(dst, rows_per_task * row_words, |task, dst| {
        let first = task * rows_per_task;
        let rows = rows_per_task.min(op.rows.saturating_sub(first));
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
        let rows = self.dst.chunks_mut(op.to.words(op.dst_ld as u64) as usize);
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

/// A row's codes one after the other, through a 64-bit register.
struct Codes<'a> {
    words: std::slice::Iter<'a, u32>,
    bits: u32,
    stream: u64,
    filled: u32,
}

impl<'a> Codes<'a> {
    #[inline(always)]
    fn new(words: &'a [u32], bits: u32) -> Self {
        Self {
            words: words.iter(),
            bits,
            stream: 0,
            filled: 0,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> u32 {
        if self.filled < self.bits {
            let word = self.words.next().copied().unwrap_or(0);
            self.stream |= u64::from(word) << self.filled;
            self.filled += 32;
        }
        let code = self.stream as u32 & ((1 << self.bits) - 1);
        self.stream >>= self.bits;
        self.filled -= self.bits;
        code
    }
}

pub(crate) fn bfp_matmul(cpu: &Cpu, op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) -> Result<()> {
    if op.m == 0 || op.n == 0 {
        return Ok(());
    }
    let [a, a_exponents, b, b_exponents] = operands;
    let a = Integers::new(cpu, op, op.m, a, a_exponents)?;
    let b = Integers::new(cpu, op, op.n, b, b_exponents)?;
    let row_words = op.out.words(op.c_ld as u64) as usize;
    cpu.chunks_mut(c, row_words, |row, c| {
        if row < op.m {
            cpu.run(Row {
                op,
                row,
                a: &a,
                b: &b,
                c,
            });
        }
    });
    Ok(())
}

/// A matrix's codes as signed integers, rows filled up with zeros to whole blocks, and its blocks' scales.
struct Integers {
    values: Vec<i16>,
    /// 2^(byte - 127 - (m - 2)), exact in f64; NaN for a block marked so.
    scales: Vec<f64>,
}

impl Integers {
    fn new(cpu: &Cpu, op: &BfpMatmul, rows: usize, codes: &[u32], exponents: &[u32]) -> Result<Self> {
        let (block, blocks) = (op.format.block() as usize, op.format.blocks_per_row(op.k));
        let (words, exponent_words) = (
            op.format.codes_words_per_row(op.k),
            op.format.exponent_words_per_row(op.k),
        );
        let mut values = alloc::filled("bfp_matmul", rows * blocks * block, 0i16)?;
        let mut scales = alloc::reserved("bfp_matmul", rows * blocks)?;
        cpu.chunks_mut(&mut values, blocks * block, |row, values| {
            let mut codes = Codes::new(&codes[row * words..(row + 1) * words], op.format.bits());
            for value in &mut values[..op.k] {
                *value = op.format.signed(codes.next()) as i16;
            }
        });
        let bytes: &[u8] = bytemuck::cast_slice(exponents);
        let scale = |byte: u8| match byte {
            255 => f64::NAN,
            byte => 2f64.powi(i32::from(byte) - 127 - (op.format.bits() as i32 - 2)),
        };
        let row = |row: usize| {
            bytes[row * exponent_words * 4..][..blocks]
                .iter()
                .map(|&byte| scale(byte))
        };
        scales.extend((0..rows).flat_map(row));
        Ok(Self { values, scales })
    }
}

/// One row of C, `c` starting at it.
struct Row<'a> {
    op: &'a BfpMatmul,
    row: usize,
    a: &'a Integers,
    b: &'a Integers,
    c: &'a mut [u32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        // The block size is a constant in each arm, so that a block's dot product is a few vector operations.
        match self.op.format.block() {
            8 => self.blocks::<8>(),
            16 => self.blocks::<16>(),
            32 => self.blocks::<32>(),
            64 => self.blocks::<64>(),
            _ => self.blocks::<128>(),
        }
    }
}

impl Row<'_> {
    #[inline(always)]
    fn blocks<const B: usize>(self) {
        let Self { op, row, a, b, c } = self;
        let blocks = op.format.blocks_per_row(op.k);
        let (a_values, _) = a.values[row * blocks * B..(row + 1) * blocks * B].as_chunks::<B>();
        let a_scales = &a.scales[row * blocks..(row + 1) * blocks];
        for col in 0..op.n {
            let (b_values, _) = b.values[col * blocks * B..(col + 1) * blocks * B].as_chunks::<B>();
            let b_scales = &b.scales[col * blocks..(col + 1) * blocks];
            let mut sum = 0.0f32;
            for ((a, b), (a_scale, b_scale)) in
                a_values.iter().zip(b_values).zip(a_scales.iter().zip(b_scales))
            {
                // At most 128 * 127^2 < 2^21: exact. Scaled in f64, exactly too, and rounded to f32 once.
                let dot: i32 = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                sum += (f64::from(dot) * (a_scale * b_scale)) as f32;
            }
            // A marked block's scale is NaN, and so is every sum it touches.
            let bits = if sum.is_nan() { NAN_BITS } else { sum.to_bits() };
            op.store_at(c, 0, col, (row * op.n + col) as u64, bits);
        }
    }
}
