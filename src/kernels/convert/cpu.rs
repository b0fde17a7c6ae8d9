//! Conversion on the CPU device: rows in parallel, eight elements at a time, one draw for eight.

use crate::cpu::parallel::TASK;
use crate::cpu::rounding::stochastic;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::rounding::f32_bits_odd;
use crate::format::{Rounding, bf16};
use crate::kernels::Convert;
use crate::tensor::DType;

pub(crate) fn convert(cpu: &Cpu, op: &Convert, src: &[u32], dst: &mut [u32]) {
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let contiguous = op.rows == 1 || (op.src_ld == op.cols && op.dst_ld == op.cols);
    let (rows, cols) = if contiguous {
        (1, op.rows * op.cols)
    } else {
        (op.rows, op.cols)
    };
    let cpu = &cpu.for_elements(rows * cols, op.rounding);
    let src_ld = if contiguous { cols } else { op.src_ld };
    let dst_ld = if contiguous {
        cols.next_multiple_of(2)
    } else {
        op.dst_ld
    };
    let src_words = op.from.words(src_ld as u64) as usize;
    let dst_words = op.to.words(dst_ld as u64) as usize;
    let used = op.to.words(cols as u64) as usize;
    let last = (rows - 1) * dst_words + used;
    // Runs of a row that are whole draws and whole words on both sides; or several short rows.
    if cols > TASK {
        let chunk = op.to.words(TASK as u64) as usize;
        for (row, dst) in dst[..last].chunks_mut(dst_words).enumerate() {
            cpu.chunks_mut(&mut dst[..used], chunk, |i, dst| {
                let first = i * TASK;
                let len = TASK.min(cols - first);
                let src = &src[row * src_words + op.from.words(first as u64) as usize..];
                cpu.run(Run {
                    op,
                    first: (row * cols + first) as u64,
                    len,
                    src,
                    dst,
                });
            });
        }
    } else {
        let rows_per_task = (TASK / cols).max(1);
        cpu.chunks_mut(&mut dst[..last], rows_per_task * dst_words, |i, dst| {
            for (j, dst) in dst.chunks_mut(dst_words).enumerate() {
                let row = i * rows_per_task + j;
                let src = &src[row * src_words..];
                cpu.run(Run {
                    op,
                    first: (row * cols) as u64,
                    len: cols,
                    src,
                    dst: &mut dst[..used],
                });
            }
        });
    }
}

/// `len` elements of one row, from logical index `first` on.
struct Run<'a> {
    op: &'a Convert,
    first: u64,
    len: usize,
    src: &'a [u32],
    dst: &'a mut [u32],
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self {
            op,
            first,
            len,
            src,
            dst,
        } = self;
        match (op.from, op.to) {
            (DType::Bf16, DType::F32) => {
                let halves = &bf16::halves(src)[..len];
                for (dst, &half) in dst[..len].iter_mut().zip(halves) {
                    *dst = u32::from(half) << 16;
                }
            }
            (DType::F32, DType::Bf16) => {
                let src = &src[..len];
                let dst = halves(dst, len);
                match (op.rounding, op.saturate) {
                    (Rounding::Stochastic, _) => stochastic(lanes, &op.draw, first, op.saturate, src, dst),
                    (Rounding::Nearest | Rounding::TowardZero, false) => {
                        for (dst, &u) in dst.iter_mut().zip(src) {
                            *dst = bf16::round_nearest(u);
                        }
                    }
                    (Rounding::Nearest | Rounding::TowardZero, true) => {
                        for (dst, &u) in dst.iter_mut().zip(src) {
                            *dst = bf16::saturate(bf16::round_nearest(u), u);
                        }
                    }
                }
            }
            // f64 is there for comparison, not for speed.
            (DType::F32, DType::F64) => {
                for (dst, &u) in doubles_mut(dst).iter_mut().zip(&src[..len]) {
                    *dst = words(f64::from(f32::from_bits(u)));
                }
            }
            (DType::Bf16, DType::F64) => {
                for (dst, &half) in doubles_mut(dst).iter_mut().zip(&bf16::halves(src)[..len]) {
                    *dst = words(f64::from(bf16::widen(half)));
                }
            }
            (DType::F64, DType::F32) => {
                for (dst, src) in dst[..len].iter_mut().zip(doubles(src)) {
                    *dst = (src as f32).to_bits();
                }
            }
            (DType::F64, DType::Bf16) => {
                for (dst, src) in halves(dst, len).iter_mut().zip(doubles(src)) {
                    let odd = f32_bits_odd(src);
                    let code = bf16::round_nearest(odd);
                    *dst = if op.saturate {
                        bf16::saturate(code, odd)
                    } else {
                        code
                    };
                }
            }
            // The operation's check refuses these.
            (DType::F64, DType::F64)
            | (DType::F32, DType::F32)
            | (DType::Bf16, DType::Bf16)
            | (DType::U32 | DType::U16, _)
            | (_, DType::U32 | DType::U16) => {}
        }
    }
}

/// `len` half-words to write; beside the last of an odd count there is a zero.
#[inline(always)]
fn halves(dst: &mut [u32], len: usize) -> &mut [u16] {
    if len % 2 == 1 {
        dst[len / 2] = 0;
    }
    &mut bf16::halves_mut(dst)[..len]
}

/// f64 values, low word first.
fn doubles(words: &[u32]) -> impl Iterator<Item = f64> {
    let value = |&[low, high]: &[u32; 2]| f64::from_bits(u64::from(low) | (u64::from(high) << 32));
    words.as_chunks::<2>().0.iter().map(value)
}

fn doubles_mut(words: &mut [u32]) -> &mut [[u32; 2]] {
    words.as_chunks_mut::<2>().0
}

fn words(value: f64) -> [u32; 2] {
    let bits = value.to_bits();
    [bits as u32, (bits >> 32) as u32]
}
