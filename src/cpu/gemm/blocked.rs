//! The blocked product: tiles of C in parallel, each packing what it reads.
//!
//! A task owns a tile of C of about 256 x 384 and walks over k in blocks. For each block it packs
//! its rows of A and its columns of B into its core's second-level cache and multiplies panel by
//! panel. Packing again in every task costs one part in (rows of the tile) of the arithmetic and
//! saves a shared packed copy of the operands, which a skinny product would write to memory and
//! read back; it also leaves the tasks with nothing to wait for.
//!
//! An element's sum depends on the blocks of k alone: neither the tile's size nor the thread
//! that computes it changes its bits, so the tile's size may follow the number of threads.

use super::micro::Micro;
use super::pack::{Operand, Pack};
use super::store::{Finish, FinishTile, tiles};
use crate::cpu::Cpu;
use std::cell::Cell;

/// Packed steps of k per block.
const DEPTH: usize = 256;
/// Rows and columns of a tile of C aimed at.
const TILE: [usize; 2] = [256, 384];
/// Multiply-adds below which a product runs on the calling thread.
const SMALL: usize = 1 << 16;

/// One cache line: the unit in which scratch memory is held, so that panels are aligned.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    /// Panels and accumulators of this thread, kept from product to product: fresh memory costs a
    /// page fault per 4 KiB, a tenth of the time of a tile.
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Lends `f` three aligned slices of the given lengths with unspecified contents.
fn with_scratch<E, A, R>(lens: [usize; 3], f: impl FnOnce(&mut [E], &mut [E], &mut [A]) -> R) -> R
where
    E: bytemuck::Pod,
    A: bytemuck::Pod,
{
    let lines = |len: usize, size: usize| (len * size).div_ceil(size_of::<Line>());
    let (a, b) = (lines(lens[0], size_of::<E>()), lines(lens[1], size_of::<E>()));
    let all = a + b + lines(lens[2], size_of::<A>());
    // Taken, not borrowed: should `f` come back here on the same thread, it finds an empty vector.
    let mut scratch = SCRATCH.take();
    if scratch.len() < all {
        scratch.resize(all, Line([0; 8]));
    }
    let (first, rest) = scratch.split_at_mut(a);
    let (second, third) = rest.split_at_mut(b);
    let result = f(
        &mut bytemuck::cast_slice_mut(first)[..lens[0]],
        &mut bytemuck::cast_slice_mut(second)[..lens[1]],
        &mut bytemuck::cast_slice_mut(third)[..lens[2]],
    );
    SCRATCH.set(scratch);
    result
}

/// Cuts `len` into equal tiles of about `target`, a multiple of `unit`.
fn even(len: usize, target: usize, unit: usize) -> usize {
    let count = len.div_ceil(target);
    len.div_ceil(count).next_multiple_of(unit)
}

/// The operands and the shape of a product, C[m, n] = sum over k of a(i, k) b(j, k).
pub(crate) struct Product<'a, A, OA, OB> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: OA,
    pub(crate) b: OB,
    /// Empty, or one value per column of C.
    pub(crate) bias: &'a [A],
}

/// Runs a product whose m, n and k are not 0. `ku` is the number of k per packed element.
pub(crate) fn blocked<M, OA, OB, F>(
    cpu: &Cpu,
    micro: M,
    ku: usize,
    product: &Product<'_, M::Acc, OA, OB>,
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) where
    M: Micro,
    M::Acc: Default,
    OA: Operand<M::Elem>,
    OB: Operand<M::Elem>,
    F: Finish<M::Acc>,
{
    let &Product { m, n, k, a, b, bias } = product;
    // The wide side of the register tile goes along C's longer side when the other would leave
    // most of it empty: C^T = B^T A^T has the same sums.
    let swap = n < M::NR && m > n;
    let (rows, columns) = if swap { (n, m) } else { (m, n) };
    let threads = if m.saturating_mul(n).saturating_mul(k) < SMALL {
        1
    } else {
        cpu.threads()
    };
    let mut mc = even(rows, TILE[0], M::MR);
    let mut nc = even(columns, TILE[1], M::NR);
    let wanted = if threads > 1 { 4 * threads } else { 1 };
    while rows.div_ceil(mc) * columns.div_ceil(nc) < wanted && mc * nc > 2 * M::MR * M::NR {
        if nc >= mc && nc > M::NR {
            nc = even(columns, nc.div_ceil(2), M::NR).min(nc - M::NR);
        } else if mc > M::MR {
            mc = even(rows, mc.div_ceil(2), M::MR).min(mc - M::MR);
        } else {
            break;
        }
    }
    let depth = k.div_ceil(ku);
    let kc = depth.div_ceil(depth.div_ceil(DEPTH));
    let (tile_rows, tile_columns) = if swap { (nc, mc) } else { (mc, nc) };
    let tasks = tiles(c, ldc, m, n, tile_rows, tile_columns);
    let task = |mut tile: super::store::Tile<'_, F::Out>| {
        let (i, mi, j, nj) = if swap {
            (tile.column, tile.columns, tile.row, tile.rows)
        } else {
            (tile.row, tile.rows, tile.column, tile.columns)
        };
        let (mp, np) = (mi.next_multiple_of(M::MR), nj.next_multiple_of(M::NR));
        with_scratch(
            [mp * kc, np * kc, mp * np],
            |pa: &mut [M::Elem], pb, acc: &mut [M::Acc]| {
                for start in (0..depth).step_by(kc) {
                    let steps = kc.min(depth - start);
                    let range = start * ku..k.min((start + steps) * ku);
                    let (pa, pb) = (&mut pa[..mp * steps], &mut pb[..np * steps]);
                    let (outer_a, outer_b) = (i..i + mi, j..j + nj);
                    let (w, v) = (M::MR, M::NR);
                    if swap {
                        cpu.run(Pack {
                            operand: b,
                            w,
                            outer: outer_a,
                            k: range.clone(),
                            out: &mut *pa,
                        });
                        cpu.run(Pack {
                            operand: a,
                            w: v,
                            outer: outer_b,
                            k: range,
                            out: &mut *pb,
                        });
                    } else {
                        cpu.run(Pack {
                            operand: a,
                            w,
                            outer: outer_a,
                            k: range.clone(),
                            out: &mut *pa,
                        });
                        cpu.run(Pack {
                            operand: b,
                            w: v,
                            outer: outer_b,
                            k: range,
                            out: &mut *pb,
                        });
                    }
                    for (i, pa) in pa.chunks_exact(M::MR * steps).enumerate() {
                        for (j, pb) in pb.chunks_exact(M::NR * steps).enumerate() {
                            let acc = &mut acc[i * M::MR * np + j * M::NR..];
                            micro.tile(pa, pb, acc, np, start == 0);
                        }
                    }
                }
                let tile = &mut tile;
                cpu.run(FinishTile {
                    finish,
                    tile,
                    acc,
                    ld: np,
                    transposed: swap,
                    bias,
                    n,
                });
            },
        );
    };
    if threads > 1 {
        cpu.for_each(tasks, task)
    } else {
        tasks.into_iter().for_each(task)
    }
}
