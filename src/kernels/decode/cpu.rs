//! Decoding on the CPU device: rows in parallel, a piece of a row as a few vector operations.

use super::Decode;
use crate::cpu::codes::{PIECE, Reader};
use crate::cpu::parallel::TASK;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::{Rounding, bf16};
use crate::tensor::DType;

/// Rows in parallel.
pub(crate) fn decode(cpu: &Cpu, op: &Decode, codes: &[u32], scales: &[u32], dst: &mut [u32]) {
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let common = op.format.common_scale(scales);
    let scales = &scales[op.format.head_words()..];
    let code_words = op.format.codes_words_per_row(op.cols);
    let scale_words = op.format.scale_words_per_row(op.cols);
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
            common,
            codes: &codes[first * code_words..][..rows * code_words],
            scales: &scales[first * scale_words..][..rows * scale_words],
            dst,
        });
    });
}

struct DecodeRows<'a> {
    op: &'a Decode,
    common: u8,
    codes: &'a [u32],
    scales: &'a [u32],
    dst: &'a mut [u32],
}

impl Kernel for DecodeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let op = self.op;
        let code_words = op.format.codes_words_per_row(op.cols);
        let scale_words = op.format.scale_words_per_row(op.cols);
        let rows = self.dst.chunks_mut(op.dst().row_words() as usize);
        let mut reader = Reader::new(op.format, self.common);
        let mut values = [0u32; PIECE];
        for (row, (codes, dst)) in self.codes.chunks(code_words).zip(rows).enumerate() {
            let codes: &[u8] = bytemuck::cast_slice(codes);
            let scales: &[u8] = bytemuck::cast_slice(&self.scales[row * scale_words..][..scale_words]);
            for start in (0..op.cols).step_by(PIECE) {
                let len = PIECE.min(op.cols - start);
                // Stores of the plainest formats outrun the processor's own prefetching: from memory they take up to 1.5
                // times as long without this.
                if let Some(next) = dst.get(start + PIECE..start + 2 * PIECE) {
                    lanes.prefetch(next);
                }
                if op.to == DType::F32 {
                    if let Some(values) = dst[start..].first_chunk_mut()
                        && len == PIECE
                    {
                        reader.piece(lanes, codes, scales, start, values);
                    } else {
                        reader.piece(lanes, codes, scales, start, &mut values);
                        dst[start..start + len].copy_from_slice(&values[..len]);
                    }
                    continue;
                }
                reader.piece(lanes, codes, scales, start, &mut values);
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
