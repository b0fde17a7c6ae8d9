//! Conversion on the CPU device: rows in parallel, eight elements at a time, one draw for eight.

use super::parallel::TASK;
use super::{Cpu, Kernel, Lanes};
use crate::format::random::{Draw, Generator, half_word};
use crate::format::{Rounding, bf16};
use crate::ops::Convert;
use crate::reference;
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
    fn run<L: Lanes>(self, _: L) {
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
                    (Rounding::Stochastic, _) => stochastic(&op.draw, first, op.saturate, src, dst),
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

/// How many blocks of eight draws the vectorised generator makes at once.
pub(super) const BLOCKS: usize = 32;

#[inline(always)]
pub(super) fn stochastic(draw: &Draw, first: u64, saturate: bool, src: &[u32], dst: &mut [u16]) {
    // Up to the first whole draw one by one, then many draws side by side.
    let head = (first.next_multiple_of(8) - first).min(src.len() as u64) as usize;
    one_by_one(draw, first, saturate, &src[..head], &mut dst[..head]);
    let (src, dst) = (&src[head..], &mut dst[head..]);
    let mut block = (first + head as u64) / 8;
    let mut bits = [0u16; 8 * BLOCKS];
    for (src, dst) in src.chunks(8 * BLOCKS).zip(dst.chunks_mut(8 * BLOCKS)) {
        draws(draw, block, &mut bits);
        for ((dst, &u), &r) in dst.iter_mut().zip(src).zip(&bits) {
            *dst = bf16::round_stochastic(u, u32::from(r));
        }
        if saturate {
            for (dst, &u) in dst.iter_mut().zip(src) {
                *dst = bf16::saturate(*dst, u);
            }
        }
        block += BLOCKS as u64;
    }
}

#[inline(always)]
fn one_by_one(draw: &Draw, first: u64, saturate: bool, src: &[u32], dst: &mut [u16]) {
    for ((dst, &u), index) in dst.iter_mut().zip(src).zip(first..) {
        *dst = bf16::encode(u, Rounding::Stochastic, draw.bits(index), saturate);
    }
}

/// The half-words of blocks `first .. first + BLOCKS`, in order: lane i of every vector is block first + i.
#[inline(always)]
pub(super) fn draws(draw: &Draw, first: u64, bits: &mut [u16; 8 * BLOCKS]) {
    let mut words = [[0u32; BLOCKS]; 4];
    match draw.generator {
        Generator::Threefry => threefry_many(draw, first, &mut words),
        Generator::Philox => {
            for i in 0..BLOCKS {
                let block = draw.block(first + i as u64);
                for (words, block) in words.iter_mut().zip(block) {
                    words[i] = block;
                }
            }
        }
    }
    for i in 0..BLOCKS {
        let block = [words[0][i], words[1][i], words[2][i], words[3][i]];
        for j in 0..8 {
            bits[8 * i + j] = half_word(block, j as u32) as u16;
        }
    }
}

/// Blocks `first .. first + BLOCKS` side by side.
#[inline(always)]
fn threefry_many(draw: &Draw, first: u64, x: &mut [[u32; BLOCKS]; 4]) {
    let [low, high, stream, step] = &mut *x;
    for ((low, high), block) in low.iter_mut().zip(high).zip(first..) {
        *low = block as u32;
        *high = (block >> 32) as u32;
    }
    stream.fill(draw.stream);
    step.fill(draw.step);
    threefry_lanes(draw.seed, x);
}

/// [`threefry4x32_20`](crate::format::random::threefry4x32_20) over many counters side by side, in place; a
/// test holds it against the one-block function.
#[inline(always)]
pub(super) fn threefry_lanes<const N: usize>(seed: u64, x: &mut [[u32; N]; 4]) {
    const ROTATIONS: [(u32, u32); 8] = [
        (10, 26),
        (11, 21),
        (13, 27),
        (23, 5),
        (6, 20),
        (17, 11),
        (25, 10),
        (18, 20),
    ];
    let (k0, k1) = (seed as u32, (seed >> 32) as u32);
    let keys = [k0, k1, 0, 0, 0x1bd1_1bda ^ k0 ^ k1];
    for (words, key) in x.iter_mut().zip(keys) {
        words.iter_mut().for_each(|word| *word = word.wrapping_add(key));
    }
    let [a, b, c, d] = x;
    for round in 0..20 {
        let (r, s) = ROTATIONS[round % 8];
        if round % 2 == 0 {
            mix(a, b, r);
            mix(c, d, s);
        } else {
            mix(a, d, r);
            mix(c, b, s);
        }
        if round % 4 == 3 {
            let s = round / 4 + 1;
            for (words, key) in [&mut *a, &mut *b, &mut *c].into_iter().zip(s..) {
                words
                    .iter_mut()
                    .for_each(|word| *word = word.wrapping_add(keys[key % 5]));
            }
            let last = keys[(s + 3) % 5].wrapping_add(s as u32);
            d.iter_mut().for_each(|word| *word = word.wrapping_add(last));
        }
    }
}

#[inline(always)]
fn mix<const N: usize>(a: &mut [u32; N], b: &mut [u32; N], rotation: u32) {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(rotation) ^ *a;
    }
}
