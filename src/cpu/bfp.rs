//! Block floating point on the CPU device: rows in parallel; products as 16-bit integer dot products.

use super::parallel::TASK;
use super::{Cpu, Kernel, Lanes};
use crate::format::block::{NAN_BITS, bfp_decode as bfp_decode_bits};
use crate::format::{Rounding, bf16};
use crate::ops::{BfpDecode, BfpEncode, BfpMatmul};
use crate::reference::element::load_bits;
use crate::tensor::DType;

pub(crate) fn bfp_encode(cpu: &Cpu, op: &BfpEncode, src: &[u32], codes: &mut [u32], exponents: &mut [u32]) {
    let (code_words, exponent_words) = (
        op.format.codes_words_per_row(op.cols),
        op.format.exponent_words_per_row(op.cols),
    );
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let rows_per_task = (TASK / op.cols).max(1);
    let tasks: Vec<_> = codes[..op.rows * code_words]
        .chunks_mut(rows_per_task * code_words)
        .zip(exponents[..op.rows * exponent_words].chunks_mut(rows_per_task * exponent_words))
        .collect();
    cpu.items(tasks, |task, (codes, exponents)| {
        let rows = codes
            .chunks_mut(code_words)
            .zip(exponents.chunks_mut(exponent_words));
        for (row, (codes, exponents)) in (task * rows_per_task..).zip(rows) {
            cpu.run(EncodeRow {
                op,
                row,
                src,
                codes,
                exponents,
            });
        }
    });
}

struct EncodeRow<'a> {
    op: &'a BfpEncode,
    row: usize,
    src: &'a [u32],
    codes: &'a mut [u32],
    exponents: &'a mut [u32],
}

impl Kernel for EncodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self {
            op,
            row,
            src,
            codes,
            exponents,
        } = self;
        let mut draw = op.draw.cached();
        let first = (row * op.cols) as u64;
        let block = op.format.block() as usize;
        exponents.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(exponents);
        let (mut values, mut unpacked) = ([0u32; 128], [0u8; 128]);
        // Codes follow one another without gaps, across words: they run through a 64-bit register.
        let (mut stream, mut filled, mut word) = (0u64, 0, 0);
        for (number, byte) in bytes[..op.cols.div_ceil(block)].iter_mut().enumerate() {
            let start = number * block;
            let len = block.min(op.cols - start);
            for (i, value) in values[..len].iter_mut().enumerate() {
                *value = load_bits(op.from, src, row * op.src_ld + start + i);
            }
            let (values, unpacked) = (&values[..len], &mut unpacked[..len]);
            // The rounding is a constant in each arm, so that each loop is vectorised without asking for it.
            *byte = match op.rounding {
                Rounding::Nearest => op.format.encode_block(values, Rounding::Nearest, |_| 0, unpacked),
                Rounding::TowardZero => op
                    .format
                    .encode_block(values, Rounding::TowardZero, |_| 0, unpacked),
                Rounding::Stochastic => {
                    let draw = |i: usize| draw.bits(first + (start + i) as u64);
                    op.format
                        .encode_block(values, Rounding::Stochastic, draw, unpacked)
                }
            };
            for &code in unpacked.iter() {
                stream |= u64::from(code) << filled;
                filled += op.format.bits();
                if filled >= 32 {
                    codes[word] = stream as u32;
                    word += 1;
                    stream >>= 32;
                    filled -= 32;
                }
            }
        }
        if filled > 0 {
            codes[word] = stream as u32;
        }
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
    let row_words = op.to.words(op.dst_ld as u64) as usize;
    let rows_per_task = (TASK / op.cols).max(1);
    cpu.chunks_mut(dst, rows_per_task * row_words, |task, dst| {
        for (row, dst) in (task * rows_per_task..op.rows).zip(dst.chunks_mut(row_words)) {
            let codes = &codes[row * code_words..(row + 1) * code_words];
            let exponents = &exponents[row * exponent_words..(row + 1) * exponent_words];
            cpu.run(DecodeRow {
                op,
                codes,
                exponents,
                dst,
            });
        }
    });
}

struct DecodeRow<'a> {
    op: &'a BfpDecode,
    codes: &'a [u32],
    exponents: &'a [u32],
    dst: &'a mut [u32],
}

impl Kernel for DecodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self {
            op,
            codes,
            exponents,
            dst,
        } = self;
        let (block, bits) = (op.format.block() as usize, op.format.bits());
        let mut codes = Codes::new(codes, bits);
        let bytes: &[u8] = bytemuck::cast_slice(exponents);
        let mut unpacked = [0u32; 128];
        for (number, &byte) in bytes[..op.cols.div_ceil(block)].iter().enumerate() {
            let start = number * block;
            let values = &mut unpacked[..block.min(op.cols - start)];
            values.iter_mut().for_each(|value| *value = codes.next());
            for value in values.iter_mut() {
                *value = bfp_decode_bits(*value, byte, bits);
            }
            if op.to == DType::F32 {
                dst[start..start + values.len()].copy_from_slice(values);
                continue;
            }
            // Blocks start at even columns: their halves share no word with the block before.
            for (pair, word) in values.chunks(2).zip(&mut dst[start / 2..]) {
                let high = pair.get(1).map_or(0, |&bits| bf16::round_nearest(bits));
                *word = bf16::pack(bf16::round_nearest(pair[0]), high);
            }
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

pub(crate) fn bfp_matmul(cpu: &Cpu, op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    let [a, a_exponents, b, b_exponents] = operands;
    let a = Integers::new(cpu, op, op.m, a, a_exponents);
    let b = Integers::new(cpu, op, op.n, b, b_exponents);
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
}

/// A matrix's codes as signed integers, rows filled up with zeros to whole blocks, and its blocks' scales.
struct Integers {
    values: Vec<i16>,
    /// 2^(byte - 127 - (m - 2)), exact in f64; NaN for a block marked so.
    scales: Vec<f64>,
}

impl Integers {
    fn new(cpu: &Cpu, op: &BfpMatmul, rows: usize, codes: &[u32], exponents: &[u32]) -> Self {
        let (block, blocks) = (op.format.block() as usize, op.format.blocks_per_row(op.k));
        let (words, exponent_words) = (
            op.format.codes_words_per_row(op.k),
            op.format.exponent_words_per_row(op.k),
        );
        let mut values = vec![0i16; rows * blocks * block];
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
        Self {
            values,
            scales: (0..rows).flat_map(row).collect(),
        }
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
