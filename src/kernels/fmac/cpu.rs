//! FMAC on the CPU: f32 arithmetic, which rounds to nearest here, and integer rounding to bf16.
//!
//! The loops run over elements or columns without branches, so that the compiler turns them into vectors. No
//! NaN test is needed between steps: packing makes every NaN the one without payload, and arithmetic on such
//! NaNs gives NaNs without payload only, whose low half is zero and does not carry when it is rounded.

use crate::cpu::parallel::TASK;
use crate::cpu::random::for_pieces;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::random::{Generator, half_word};
use crate::format::{Rounding, bf16};
use crate::kernels::{Fmac, FmacMatmul};
use crate::tensor::alloc;

const HIGH: u32 = 0xffff_0000;

/// bf16 in the high half, as f32; every NaN is the one without payload.
#[inline(always)]
fn operand(bits: u32) -> f32 {
    let bits = if bits & 0x7fff_ffff > 0x7f80_0000 {
        0x7fc0_0000
    } else {
        bits
    };
    f32::from_bits(bits)
}

/// To nearest bf16, as f32 (see the module for NaN).
#[inline(always)]
fn nearest(sum: f32) -> f32 {
    let u = sum.to_bits();
    f32::from_bits(u.wrapping_add(0x7fff + ((u >> 16) & 1)) & HIGH)
}

#[inline(always)]
fn stochastic(sum: f32, r16: u32) -> f32 {
    f32::from_bits(sum.to_bits().wrapping_add(r16) & HIGH)
}

/// The stored half-word: one NaN, one zero.
#[inline(always)]
fn result(value: f32) -> u32 {
    let code = value.to_bits() >> 16;
    let code = if value.is_nan() { 0x7fc0 } else { code };
    if code & 0x7fff == 0 { 0 } else { code }
}

/// `a <- round(a + x * y)`.
pub(crate) fn fmac(cpu: &Cpu, op: &Fmac, x: &[u32], y: &[u32], a: &mut [u32]) {
    if op.rows == 0 || op.cols == 0 {
        return;
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, op.rounding);
    let words = op.cols.div_ceil(2);
    let [x_row, y_row, a_row] = op.views().map(|view| view.row_words() as usize);
    let run = TASK / 2;
    let mut tasks = Vec::new();
    for (row, a) in a.chunks_mut(a_row).take(op.rows).enumerate() {
        for (i, a) in a[..words].chunks_mut(run).enumerate() {
            tasks.push((row, i * run, a));
        }
    }
    cpu.items(tasks, |_, (row, first, a)| {
        let odd = op.cols % 2 == 1 && first + a.len() == words;
        cpu.run(Elements {
            op,
            base: (row * op.cols + 2 * first) as u64,
            x: &x[row * x_row + first..][..a.len()],
            y: &y[row * y_row + first..][..a.len()],
            a,
        });
        if odd && let Some(last) = a.last_mut() {
            *last &= 0xffff;
        }
    });
}

/// Whole words of one row, the first of them at logical index `base`.
struct Elements<'a> {
    op: &'a Fmac,
    base: u64,
    x: &'a [u32],
    y: &'a [u32],
    a: &'a mut [u32],
}

impl Kernel for Elements<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { op, base, x, y, a } = self;
        if op.rounding != Rounding::Stochastic {
            for ((a, &x), &y) in a.iter_mut().zip(x).zip(y) {
                let low = nearest(sum(*a << 16, x << 16, y << 16));
                let high = nearest(sum(*a & HIGH, x & HIGH, y & HIGH));
                *a = result(low) | (result(high) << 16);
            }
            return;
        }
        for_pieces(lanes, &op.draw, base, 2 * a.len(), |at, bits| {
            let (at, bits) = (at / 2, bits.as_chunks::<2>().0);
            let end = at + bits.len();
            let words = a[at..end].iter_mut().zip(&x[at..end]).zip(&y[at..end]);
            for (((a, &x), &y), &[r_low, r_high]) in words.zip(bits) {
                let low = stochastic(sum(*a << 16, x << 16, y << 16), r_low.into());
                let high = stochastic(sum(*a & HIGH, x & HIGH, y & HIGH), r_high.into());
                *a = result(low) | (result(high) << 16);
            }
        });
    }
}

#[inline(always)]
fn sum(a: u32, x: u32, y: u32) -> f32 {
    operand(a) + operand(x) * operand(y)
}

/// Rows of C that the loop over steps takes at a time.
const ROWS: usize = 4;
/// Rows and columns of C that a task owns, and steps that it packs at a time (a multiple of 8: draws).
const TASK_ROWS: usize = 32;
const TASK_COLS: usize = 64;
const STEPS: usize = 64;

type Row = [f32; TASK_COLS];

/// `C <- A B (+ C)` with a bf16 accumulator. A task owns a tile of C, so results do not depend on how many
/// threads there are.
pub(crate) fn fmac_matmul(cpu: &Cpu, op: &FmacMatmul, a: &[u32], b: &[u32], c: &mut [u32]) -> Result<()> {
    if op.batch == 0 || op.m == 0 || op.n == 0 {
        return Ok(());
    }
    let (down, across) = (op.m.div_ceil(TASK_ROWS), op.n.div_ceil(TASK_COLS));
    let (a, b) = (bf16::halves(a), bf16::halves(b));
    let c = bf16::halves_mut(c);
    // Tiles share rows of C, so some products' tiles at a time are computed apart and then stored.
    let per_product = down * across;
    let products = (64 / per_product).clamp(1, op.batch);
    let blank = [0u16; TASK_ROWS * TASK_COLS];
    let mut tiles = alloc::filled("fmac_matmul", products * per_product, blank)?;
    for first in (0..op.batch).step_by(products) {
        let place = |index: usize| {
            let (batch, tile) = (first + index / per_product, index % per_product);
            (batch, tile / across * TASK_ROWS, tile % across * TASK_COLS)
        };
        let tiles = &mut tiles[..products.min(op.batch - first) * per_product];
        let old = &*c;
        cpu.chunks_mut(tiles, 1, |index, codes| {
            let (batch, row0, col0) = place(index);
            if let [codes] = codes {
                cpu.run(Tile {
                    op,
                    a,
                    b,
                    c: old,
                    batch,
                    row0,
                    col0,
                    codes,
                });
            }
        });
        for (index, codes) in tiles.iter().enumerate() {
            let (batch, row0, col0) = place(index);
            let cols = TASK_COLS.min(op.n - col0);
            for i in 0..TASK_ROWS.min(op.m - row0) {
                let to = (batch * op.m + row0 + i) * op.c_ld + col0;
                c[to..to + cols].copy_from_slice(&codes[i * TASK_COLS..][..cols]);
                if cols % 2 == 1 {
                    c[to + cols] = 0;
                }
            }
        }
    }
    Ok(())
}

/// The tile of product `batch` from `row0` and `col0` on.
struct Tile<'a> {
    op: &'a FmacMatmul,
    a: &'a [u16],
    b: &'a [u16],
    c: &'a [u16],
    batch: usize,
    row0: usize,
    col0: usize,
    codes: &'a mut [u16; TASK_ROWS * TASK_COLS],
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self {
            op,
            a,
            b,
            c,
            batch,
            row0,
            col0,
            codes,
        } = self;
        let rows = TASK_ROWS.min(op.m - row0);
        let cols = TASK_COLS.min(op.n - col0);
        let mut acc = [[0f32; TASK_COLS]; TASK_ROWS];
        let mut xs = [[[0f32; ROWS]; STEPS]; TASK_ROWS / ROWS];
        let mut ys = [[0f32; TASK_COLS]; STEPS];
        for k0 in (0..op.k).step_by(STEPS) {
            let steps = STEPS.min(op.k - k0);
            for i in 0..rows {
                for (k, x) in xs[i / ROWS][..steps].iter_mut().enumerate() {
                    let at = match op.trans_a {
                        false => (batch * op.m + row0 + i) * op.a_ld + k0 + k,
                        true => (batch * op.k + k0 + k) * op.a_ld + row0 + i,
                    };
                    x[i % ROWS] = operand(u32::from(a[at]) << 16);
                }
            }
            for (k, y) in ys[..steps].iter_mut().enumerate() {
                if op.trans_b {
                    for (j, y) in y[..cols].iter_mut().enumerate() {
                        let at = (batch * op.n + col0 + j) * op.b_ld + k0 + k;
                        *y = operand(u32::from(b[at]) << 16);
                    }
                } else {
                    let row = &b[(batch * op.k + k0 + k) * op.b_ld + col0..][..cols];
                    for (y, &code) in y.iter_mut().zip(row) {
                        *y = operand(u32::from(code) << 16);
                    }
                }
            }
            for (group, acc) in acc[..rows].chunks_mut(ROWS).enumerate() {
                let (xs, ys) = (&xs[group][..steps], &ys[..steps]);
                let element = ((batch * op.m + row0 + group * ROWS) * op.n + col0) as u64;
                match (op.rounding, op.chunk) {
                    (Rounding::Stochastic, _) => drawn(lanes, op, element, k0, cols, acc, xs, ys),
                    (Rounding::Nearest | Rounding::TowardZero, 1) => every(cols, acc, xs, ys),
                    (Rounding::Nearest | Rounding::TowardZero, _) => chunked(op, k0, cols, acc, xs, ys),
                }
            }
        }
        for i in 0..TASK_ROWS.min(op.m - row0) {
            for j in 0..TASK_COLS.min(op.n - col0) {
                let value = acc[i][j];
                let (row, col) = (batch * op.m + row0 + i, col0 + j);
                codes[i * TASK_COLS + j] = if op.add_c {
                    let total = value + operand(u32::from(c[row * op.c_ld + col]) << 16);
                    let element = (row * op.n + col) as u64;
                    result(match op.rounding {
                        Rounding::Stochastic => {
                            let block = op.draw.fmac_block(element, (op.k / 8) as u32);
                            stochastic(total, half_word(block, op.k as u32))
                        }
                        Rounding::Nearest | Rounding::TowardZero => nearest(total),
                    })
                } else {
                    result(value)
                } as u16;
            }
        }
    }
}

/// To nearest after every step. The columns are a slice, whose loop becomes vectors at any width; rows go
/// from memory to memory, and there are enough of them between two steps of one row to hide that.
#[inline(always)]
fn every(cols: usize, acc: &mut [Row], xs: &[[f32; ROWS]], ys: &[Row]) {
    for (x, y) in xs.iter().zip(ys) {
        for (sums, &x) in acc.iter_mut().zip(x) {
            for (sum, &y) in sums[..cols].iter_mut().zip(&y[..cols]) {
                *sum = nearest(*sum + x * y);
            }
        }
    }
}

/// Eight steps of one row, `round(step, column, sum)` after each. The columns are the loop, which becomes vectors
/// at any width, and the steps are unrolled inside it: the sums stay in registers from step to step.
#[inline(always)]
fn eight(cols: usize, sums: &mut Row, x: [f32; 8], y: &[Row; 8], round: impl Fn(usize, usize, f32) -> f32) {
    for j in 0..cols.min(TASK_COLS) {
        let mut sum = sums[j];
        for i in 0..8 {
            sum = round(i, j, sum + x[i] * y[i][j]);
        }
        sums[j] = sum;
    }
}

/// To nearest after every chunk; the steps start at `k0`.
#[inline(always)]
fn chunked(op: &FmacMatmul, k0: usize, cols: usize, acc: &mut [Row], xs: &[[f32; ROWS]], ys: &[Row]) {
    for (k, (x, y)) in xs.iter().zip(ys).enumerate() {
        let ends = ends_chunk(op, k0 + k);
        for (sums, &x) in acc.iter_mut().zip(x) {
            let sums = sums[..cols].iter_mut().zip(&y[..cols]);
            if ends {
                sums.for_each(|(sum, &y)| *sum = nearest(*sum + x * y));
            } else {
                sums.for_each(|(sum, &y)| *sum += x * y);
            }
        }
    }
}

/// Whether the accumulator is rounded after step `k`.
#[inline(always)]
fn ends_chunk(op: &FmacMatmul, k: usize) -> bool {
    (k + 1).is_multiple_of(op.chunk) || k + 1 == op.k
}

/// Stochastically after every chunk; the steps start at `k0`, a multiple of 8, and `element` is the number of
/// the first output.
#[inline(always)]
fn drawn<L: Lanes>(
    lanes: L,
    op: &FmacMatmul,
    element: u64,
    k0: usize,
    cols: usize,
    acc: &mut [Row],
    xs: &[[f32; ROWS]],
    ys: &[Row],
) {
    for (r, sums) in acc.iter_mut().enumerate() {
        let element = element + (r * op.n) as u64;
        for (block, (xs, ys)) in xs.chunks(8).zip(ys.chunks(8)).enumerate() {
            let k = k0 + 8 * block;
            let mut words = [[0u32; TASK_COLS]; 4];
            if (0..xs.len()).any(|i| ends_chunk(op, k + i)) {
                blocks(lanes, op, element, (k / 8) as u32, cols, &mut words);
            }
            if op.chunk == 1
                && let (Some(xs), Some(ys)) = (xs.first_chunk::<8>(), ys.first_chunk::<8>())
            {
                eight(cols, sums, xs.map(|x| x[r]), ys, |i, j, sum| {
                    stochastic(sum, (words[i / 2][j] >> (16 * (i % 2))) & 0xffff)
                });
                continue;
            }
            for (i, (x, y)) in xs.iter().zip(ys).enumerate() {
                let x = x[r];
                let sums = sums[..cols].iter_mut().zip(&y[..cols]);
                if ends_chunk(op, k + i) {
                    let shift = 16 * (i % 2);
                    for ((sum, &y), &word) in sums.zip(&words[i / 2][..cols]) {
                        *sum = stochastic(*sum + x * y, (word >> shift) & 0xffff);
                    }
                } else {
                    sums.for_each(|(sum, &y)| *sum += x * y);
                }
            }
        }
    }
}

/// The draws of outputs from `element` on for one block of steps: see `Draw::fmac_block`.
#[inline(always)]
fn blocks<L: Lanes>(
    lanes: L,
    op: &FmacMatmul,
    element: u64,
    k_block: u32,
    cols: usize,
    words: &mut [[u32; TASK_COLS]; 4],
) {
    if op.draw.generator == Generator::Philox {
        for j in 0..cols {
            let block = op.draw.fmac_block(element + j as u64, k_block);
            for (words, word) in words.iter_mut().zip(block) {
                words[j] = word;
            }
        }
        return;
    }
    let [low, high, stream, step] = &mut *words;
    for ((low, high), element) in low.iter_mut().zip(high).zip(op.draw.index(element)..) {
        *low = element as u32;
        *high = (element >> 32) as u32 | (op.draw.step << 8);
    }
    stream.fill(op.draw.stream);
    step.fill(k_block);
    lanes.threefry(op.draw.seed, words);
}
