//! Conversion on the CPU device: rows in parallel, eight elements at a time, one draw for eight.

use super::reference;
use crate::cpu::parallel::TASK;
use crate::cpu::random::for_pieces;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::random::Draw;
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
                if len % 2 == 1 {
                    dst[len / 2] = 0;
                }
                let src = &src[..len];
                let dst = &mut bf16::halves_mut(dst)[..len];
                match (op.rounding, op.saturate) {
                    (Rounding::Stochastic, _) => stochastic(lanes, &op.draw, first, op.saturate, src, dst),
                    (_, false) => {
                        for (dst, &u) in dst.iter_mut().zip(src) {
                            *dst = bf16::round_nearest(u);
                        }
                    }
                    (_, true) => {
                        for (dst, &u) in dst.iter_mut().zip(src) {
                            *dst = bf16::saturate(bf16::round_nearest(u), u);
                        }
                    }
                }
            }
            _ => {
                // f64 is there for comparison, not for speed: the specification itself.
                let row = Convert {
                    rows: 1,
                    cols: len,
                    src_ld: len + len % 2,
                    dst_ld: len + len % 2,
                    ..*op
                };
                reference::convert(&row, src, dst);
            }
        }
    }
}

/// Rounds elements stochastically, the first of them at logical index `first`.
#[inline(always)]
pub(crate) fn stochastic<L: Lanes>(
    lanes: L,
    draw: &Draw,
    first: u64,
    saturate: bool,
    src: &[u32],
    dst: &mut [u16],
) {
    for_pieces(lanes, draw, first, src.len(), |at, halves| {
        let (src, dst) = (&src[at..at + halves.len()], &mut dst[at..at + halves.len()]);
        for ((dst, &u), &r) in dst.iter_mut().zip(src).zip(halves) {
            *dst = bf16::round_stochastic(u, u32::from(r));
        }
        if saturate {
            for (dst, &u) in dst.iter_mut().zip(src) {
                *dst = bf16::saturate(*dst, u);
            }
        }
    });
}
