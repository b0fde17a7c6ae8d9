//! Block floating point on the CPU device: rows in parallel; products as 16-bit integer dot products.

use super::parallel::TASK;
use super::{Cpu, Kernel, Lanes};
use crate::format::Rounding;
use crate::format::block::block_exponent;
use crate::ops::{BfpDecode, BfpEncode, BfpMatmul};
use crate::reference::{self, element::load_bits};

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
        codes.fill(0);
        exponents.fill(0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(exponents);
        let (mut values, mut unpacked) = ([0u32; 128], [0u8; 128]);
        for (number, byte) in bytes[..op.cols.div_ceil(block)].iter_mut().enumerate() {
            let start = number * block;
            let len = block.min(op.cols - start);
            for (i, value) in values[..len].iter_mut().enumerate() {
                *value = load_bits(op.from, src, row * op.src_ld + start + i);
            }
            let values = &values[..len];
            let unpacked = &mut unpacked[..len];
            match op.rounding {
                Rounding::Stochastic => {
                    let draw = |i: usize| draw.bits(first + (start + i) as u64);
                    *byte = op.format.encode_block(values, op.rounding, draw, unpacked);
                }
                rounding => *byte = op.format.encode_block(values, rounding, |_| 0, unpacked),
            }
            debug_assert_eq!(
                *byte,
                block_exponent(values.iter().fold(0, |max, u| max.max(u & 0x7fff_ffff)))
            );
            for (i, &code) in unpacked.iter().enumerate() {
                op.format.put(codes, start + i, u32::from(code));
            }
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
        let first = task * rows_per_task;
        if first >= op.rows {
            return;
        }
        let rows = rows_per_task.min(op.rows - first);
        let part = BfpDecode { rows, ..*op };
        reference::bfp_decode(
            &part,
            &codes[first * code_words..],
            &exponents[first * exponent_words..],
            dst,
        );
    });
}

pub(crate) fn bfp_matmul(cpu: &Cpu, op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) {
    if op.m == 0 || op.n == 0 {
        return;
    }
    let [a, a_exponents, b, b_exponents] = operands;
    // Codes become 16-bit integers once; a block's dot product then fits 32 bits: 128 * 127^2 < 2^21.
    let (a, b) = (integers(cpu, op, op.m, a), integers(cpu, op, op.n, b));
    let row_words = op.out.words(op.c_ld as u64) as usize;
    cpu.chunks_mut(c, row_words, |row, c| {
        if row < op.m {
            cpu.run(Row {
                op,
                row,
                a: &a,
                b: &b,
                exponents: [a_exponents, b_exponents],
                c,
            });
        }
    });
}

/// The signed integers of `rows` rows of codes.
fn integers(cpu: &Cpu, op: &BfpMatmul, rows: usize, codes: &[u32]) -> Vec<i16> {
    let words = op.format.codes_words_per_row(op.k);
    let mut values = vec![0i16; rows * op.k];
    cpu.chunks_mut(&mut values, op.k, |row, values| {
        let codes = &codes[row * words..(row + 1) * words];
        for (k, value) in values.iter_mut().enumerate() {
            *value = op.format.signed(op.format.get(codes, k)) as i16;
        }
    });
    values
}

/// One row of C, `c` starting at it.
struct Row<'a> {
    op: &'a BfpMatmul,
    row: usize,
    a: &'a [i16],
    b: &'a [i16],
    exponents: [&'a [u32]; 2],
    c: &'a mut [u32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self {
            op,
            row,
            a,
            b,
            exponents: [a_exponents, b_exponents],
            c,
        } = self;
        let (block, words) = (op.format.block() as usize, op.format.exponent_words_per_row(op.k));
        let a = &a[row * op.k..(row + 1) * op.k];
        let a_bytes: &[u8] = bytemuck::cast_slice(&a_exponents[row * words..(row + 1) * words]);
        // The row of C is stored as row 0 of a slice, drawn for as row `row`.
        let draws = BfpMatmul { m: 1, ..*op };
        for col in 0..op.n {
            let b = &b[col * op.k..(col + 1) * op.k];
            let b_bytes: &[u8] = bytemuck::cast_slice(&b_exponents[col * words..(col + 1) * words]);
            let (mut sum, mut spoiled) = (0.0f32, false);
            for ((a, b), (&a_byte, &b_byte)) in a
                .chunks(block)
                .zip(b.chunks(block))
                .zip(a_bytes.iter().zip(b_bytes))
            {
                let dot: i32 = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                // Exact in f64; rounded to f32 once, so that a subnormal term is the nearest one.
                sum += (f64::from(dot) * op.scale(a_byte, b_byte)) as f32;
                spoiled |= a_byte == 255 || b_byte == 255;
            }
            let bits = if spoiled { 0x7fc0_0000 } else { sum.to_bits() };
            draws.store_at(c, 0, col, (row * op.n + col) as u64, bits);
        }
    }
}
