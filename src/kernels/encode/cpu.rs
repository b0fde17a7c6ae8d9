//! Encoding on the CPU device: rows in parallel, a piece of a row as a few vector operations.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Encode;
use crate::cpu::codes::{PIECE, Writer};
use crate::cpu::parallel::TASK;
use crate::cpu::random::aligned;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::minifloat::e8m0_decode;
use crate::format::{Rounding, TensorScale, UNIT_SCALE, bf16};
use crate::tensor::DType;

/// Rows in parallel.
pub(crate) fn encode(cpu: &Cpu, op: &Encode, src: &[u32], codes: &mut [u32], scales: &mut [u32]) {
    let (head, scales) = scales.split_at_mut(op.format.head_words());
    let cpu = &cpu.for_elements(op.rows * op.cols, op.rounding);
    let common = match op.format.tensor_scale() {
        TensorScale::None => UNIT_SCALE,
        TensorScale::PowerOfTwo(_) => op.format.scale_for(largest(cpu, op, src)),
    };
    head.fill(e8m0_decode(common));
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let code_words = op.format.codes_words_per_row(op.cols);
    let scale_words = op.format.scale_words_per_row(op.cols);
    let rows_per_task = (TASK / op.cols).max(1);
    let codes = codes[..op.rows * code_words].chunks_mut(rows_per_task * code_words);
    // Formats without blocks have no words of scales to cut.
    let mut rest = &mut scales[..op.rows * scale_words];
    let scales = (0..codes.len()).map(|_| {
        let share = rest.len().min(rows_per_task * scale_words);
        let (task, after) = std::mem::take(&mut rest).split_at_mut(share);
        rest = after;
        task
    });
    let tasks: Vec<_> = codes.zip(scales).collect();
    cpu.items(tasks, |task, (codes, scales)| {
        cpu.run(EncodeRows {
            op,
            common,
            row: task * rows_per_task,
            src,
            codes,
            scales,
        });
    });
}

/// The largest magnitude, in bits: of all, whatever the order.
fn largest(cpu: &Cpu, op: &Encode, src: &[u32]) -> u32 {
    let largest = AtomicU32::new(0);
    let words = op.src().row_words() as usize;
    let rows_per_task = (TASK / op.cols.max(1)).max(1);
    let rows = if op.cols == 0 { 0 } else { op.rows };
    let tasks: Vec<_> = (0..rows).step_by(rows_per_task).collect();
    cpu.items(tasks, |_, first| {
        for row in first..rows.min(first + rows_per_task) {
            let src = &src[row * words..];
            let max = match op.from {
                DType::Bf16 => cpu.run(LargestHalf(&bf16::halves(src)[..op.cols])),
                DType::F32 | DType::F64 | DType::U32 | DType::U16 => cpu.run(Largest(&src[..op.cols])),
            };
            largest.fetch_max(max, Ordering::Relaxed);
        }
    });
    largest.into_inner()
}

struct Largest<'a>(&'a [u32]);

impl Kernel for Largest<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> u32 {
        let magnitudes = self.0.iter().map(|u| (u & 0x7fff_ffff).cast_signed());
        magnitudes.fold(0, i32::max).cast_unsigned()
    }
}

struct LargestHalf<'a>(&'a [u16]);

impl Kernel for LargestHalf<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> u32 {
        let magnitudes = self.0.iter().map(|half| half & 0x7fff);
        u32::from(magnitudes.fold(0, u16::max)) << 16
    }
}

/// Consecutive rows from `row` on.
struct EncodeRows<'a> {
    op: &'a Encode,
    common: u8,
    row: usize,
    src: &'a [u32],
    codes: &'a mut [u32],
    scales: &'a mut [u32],
}

impl Kernel for EncodeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let op = self.op;
        let code_words = op.format.codes_words_per_row(op.cols);
        let scale_words = op.format.scale_words_per_row(op.cols);
        let (mut staged, mut random) = ([0u32; PIECE], [[0; 4]; PIECE / 8]);
        let mut writer = Writer::new(op.format, self.common, op.rounding);
        // The maxima of so large blocks are looked for in places so far apart that the processor's own prefetching
        // stops: without this, formats of blocks take up to 1.7 times as long from memory. Two pieces ahead: one is
        // made in less time than memory takes to answer.
        let far = op.format.block_size().is_some_and(|size| size >= 32) && op.from == DType::F32;
        let mut rest = self.scales;
        for (row, codes) in (self.row..).zip(self.codes.chunks_mut(code_words)) {
            let (scales, after) = std::mem::take(&mut rest).split_at_mut(scale_words);
            rest = after;
            // To clear nothing is not free: a masked store of no lanes to an address that is none takes some 60 ns (Zen 5).
            if !scales.is_empty() {
                scales.fill(0);
            }
            let scales: &mut [u8] = bytemuck::cast_slice_mut(scales);
            let codes: &mut [u8] = bytemuck::cast_slice_mut(codes);
            for start in (0..op.cols).step_by(PIECE) {
                let len = PIECE.min(op.cols - start);
                let at = row * op.src_ld + start;
                if far && let Some(next) = self.src.get(at + 2 * PIECE..at + 3 * PIECE) {
                    lanes.prefetch(next);
                }
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
                writer.piece(lanes, values, random, start, len, codes, scales);
            }
        }
    }
}

/// `len` elements as f32 bits, then zeros.
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
