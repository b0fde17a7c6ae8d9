//! Products of blocks on the CPU device: 16-bit integer dot products, rows of C in parallel.

use super::BfpMatmul;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::block::{BAD_BLOCK, NAN_BITS};
use crate::format::{Rounding, bf16};
use crate::tensor::{DType, alloc};

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

/// Rows of C in parallel.
pub(crate) fn matmul(cpu: &Cpu, op: &BfpMatmul, operands: [&[u32]; 4], c: &mut [u32]) -> Result<()> {
    if op.m == 0 || op.n == 0 {
        return Ok(());
    }
    let [a, a_exponents, b, b_exponents] = operands;
    let a = Integers::new(cpu, op, op.m, a, a_exponents)?;
    let b = Integers::new(cpu, op, op.n, b, b_exponents)?;
    // The operand may be longer.
    let c = &mut c[..op.c().words() as usize];
    cpu.chunks_mut(c, op.c().row_words() as usize, |row, c| {
        cpu.run(Row {
            op,
            row,
            a: &a,
            b: &b,
            c,
        });
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
        cpu.chunks_mut(&mut values, blocks * block, |row, values| {
            let mut codes = Codes::new(&codes[row * words..(row + 1) * words], op.format.bits());
            for value in &mut values[..op.k] {
                *value = op.format.signed(codes.next()) as i16;
            }
        });
        let bytes: &[u8] = bytemuck::cast_slice(exponents);
        let scale = |byte: u8| match byte {
            BAD_BLOCK => f64::NAN,
            byte => 2f64.powi(i32::from(byte) - 127 - (op.format.bits() as i32 - 2)),
        };
        let row = |row: usize| {
            bytes[row * exponent_words * 4..][..blocks]
                .iter()
                .map(|&byte| scale(byte))
        };
        let mut scales = alloc::reserved("bfp_matmul", rows * blocks)?;
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
            // 128: `BfpFormat::new` lets no other through.
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
            store(op, c, (row * op.n + col) as u64, col, bits);
        }
    }
}

/// Stores f32 bits as column `col` of a row of C; `index` is the output's.
#[inline(always)]
fn store(op: &BfpMatmul, c: &mut [u32], index: u64, col: usize, bits: u32) {
    let code = match (op.out, op.rounding) {
        (DType::F32 | DType::F64 | DType::U32 | DType::U16, _) => {
            c[col] = bits;
            return;
        }
        (DType::Bf16, Rounding::Stochastic) => bf16::round_stochastic(bits, op.draw.bits(index)),
        (DType::Bf16, Rounding::Nearest | Rounding::TowardZero) => bf16::round_nearest(bits),
    };
    if col.is_multiple_of(2) && col + 1 == op.n {
        c[col / 2] = code.into();
    } else {
        bf16::halves_mut(c)[col] = code;
    }
}
