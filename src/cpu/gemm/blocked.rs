//! The blocked product: tiles of C in parallel, each packing what it reads.
//!
//! A task owns a tile of C of at most 256 x 384 and walks over k in blocks, multiplying panel by
//! panel. An operand that several tiles read is packed once, for all of them, before they start:
//! packing it again in every task took a fifth of the time. An operand that one tile alone reads
//! (A of a product one tile wide, B of a skinny one) is packed by that task, block by block, into
//! its core's second-level cache, which saves writing a packed copy to memory and reading it back.
//!
//! An element's sum depends on the blocks of k alone: neither the tile's size nor the thread
//! that computes it changes its bits, so the tile's size may follow the number of threads.

use super::memory::grow;
use super::micro::{InPlace, Micro, Rows};
use super::pack::{Operand, Pack};
use super::sides::{Plane, sides};
use super::store::{Finish, FinishTile, Tile, tiles};
use crate::cpu::{Cpu, CpuError};
use crate::tensor::alloc::Line;
use bytemuck::Zeroable;
use std::cell::Cell;
use std::ops::Range;

/// Packed steps of k per block.
const DEPTH: usize = 256;
/// Multiply-adds below which a product runs on the calling thread.
const SMALL: usize = 1 << 16;

thread_local! {
    /// Panels and accumulators of this thread, kept from product to product: fresh memory costs a
    /// page fault per 4 KiB, a tenth of the time of a tile.
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    /// Operands packed for all tiles, kept by the threads that start products.
    static SHARED: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// More lines of packed operands than this are given back after a product: 64 MiB.
const KEPT: usize = 1 << 20;

/// Lends `f` three aligned slices of the given lengths with unspecified contents. The lengths are those of a tile,
/// some MiB whatever the product's shape.
fn with_scratch<E, A, R>(lens: [usize; 3], f: impl FnOnce(&mut [E], &mut [E], &mut [A]) -> R) -> R
where
    E: bytemuck::Pod,
    A: bytemuck::Pod,
{
    let (a, b) = (Line::holding::<E>(lens[0]), Line::holding::<E>(lens[1]));
    let all = a + b + Line::holding::<A>(lens[2]);
    // Taken, not borrowed: should `f` come back here on the same thread, it finds an empty vector.
    let mut scratch = SCRATCH.take();
    if scratch.len() < all {
        scratch.resize(all, Line::zeroed());
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

/// Lends `f` two aligned slices of the given lengths with unspecified contents, of the memory that all tiles share.
fn with_shared<E: bytemuck::Pod, R>(
    lens: [usize; 2],
    f: impl FnOnce(&mut [E], &mut [E]) -> R,
) -> Result<R, CpuError> {
    let mut shared = SHARED.take();
    let lines = lens.map(Line::holding::<E>);
    grow(&mut shared, lines[0].saturating_add(lines[1]), Line::zeroed())?;
    let (first, second) = shared.split_at_mut(lines[0]);
    let result = f(
        &mut bytemuck::cast_slice_mut(first)[..lens[0]],
        &mut bytemuck::cast_slice_mut(second)[..lens[1]],
    );
    if shared.len() <= KEPT {
        SHARED.set(shared);
    }
    Ok(result)
}

/// The rows of a tile's A, for one block of k.
enum Left<'a, M: Micro> {
    /// Packed.
    Panels(&'a [M::Elem]),
    /// As they lie.
    Rows(InPlace<M>, Rows<'a>),
}

/// Adds the product of `a` and of packed panels of B, as wide as `widths` says and `steps` deep, to a tile's sums, rows
/// `ld` apart; to zero if these are its `first`. Calls `done` with each panel of rows, and with its first row's number,
/// while its sums are in the first-level cache; if the panel is done with then (`once`), the next takes its place.
#[inline(always)]
fn multiply<M: Micro>(
    micro: M,
    a: Left<'_, M>,
    b: &[M::Elem],
    widths: Widths,
    steps: usize,
    acc: &mut [M::Acc],
    ld: usize,
    first: bool,
    once: bool,
    mut done: impl FnMut(usize, &[M::Acc]),
) {
    let (full, last) = widths.parts(ld);
    let (panels, lasts) = b.split_at(full * steps);
    let panels = || {
        let panels = panels.chunks(M::NR * steps).enumerate();
        let lasts = lasts.chunks((last * steps).max(1)).enumerate();
        let lasts = lasts.map(|(i, b)| (full + i * last, b));
        panels.map(|(i, b)| (i * M::NR, b)).chain(lasts)
    };
    let at = |row: usize| if once { 0 } else { row * ld };
    match a {
        Left::Panels(a) => {
            for (i, a) in a.chunks_exact(M::MR * steps).enumerate() {
                let acc = &mut acc[at(i * M::MR)..][..M::MR * ld];
                for (j, b) in panels() {
                    micro.tile(a, b, b.len() / steps, &mut acc[j..], ld, first);
                }
                done(i * M::MR, acc);
            }
        }
        Left::Rows(tile, a) => {
            for i in (0..a.count).step_by(M::MR) {
                let acc = &mut acc[at(i)..][..M::MR * ld];
                let a = a.part(i, M::MR, 0);
                for (j, b) in panels() {
                    tile(micro, a, steps, b, &mut acc[j..], ld, first);
                }
                done(i, acc);
            }
        }
    }
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
) -> Result<(), CpuError>
where
    M: Micro,
    M::Acc: Default,
    OA: Operand<M::Elem>,
    OB: Operand<M::Elem>,
    F: Finish<M::Acc>,
{
    let &Product { m, n, k, a, b, bias } = product;
    let cpu = &match m.saturating_mul(n).saturating_mul(k) < SMALL {
        true => cpu.on_this_thread(),
        false => cpu.clone(),
    };
    // The wide side of the register tile goes along C's longer side when the other would leave
    // most of it empty: C^T = B^T A^T has the same sums.
    if n < M::NR && m > n && b.whole().is_none() {
        let (m, n, a, b) = (n, m, b, a);
        let product = Product { m, n, k, a, b, bias };
        return oriented(cpu, micro, ku, &product, true, finish, c, ldc);
    }
    oriented(cpu, micro, ku, product, false, finish, c, ldc)
}

/// Runs a product whose rows are C's columns if it is `turned`.
fn oriented<M, OA, OB, F>(
    cpu: &Cpu,
    micro: M,
    ku: usize,
    product: &Product<'_, M::Acc, OA, OB>,
    turned: bool,
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError>
where
    M: Micro,
    M::Acc: Default,
    OA: Operand<M::Elem>,
    OB: Operand<M::Elem>,
    F: Finish<M::Acc>,
{
    let (rows, columns, bias) = (product.m, product.n, product.bias);
    let (k, a, b) = (product.k, product.a, product.b);
    let whole = b.whole();
    let in_place = M::IN_PLACE.and_then(|tile| a.rows(k).map(|lying| (tile, lying)));
    let [mc, nc] = sides(&Plane {
        outer: [rows, columns],
        // Panels packed before begin at multiples of their width.
        units: [M::MR, if whole.is_some() { M::NR } else { M::STEP }],
        steps: [M::MR, M::STEP],
        packed: [in_place.is_none(), whole.is_none()],
        k,
        threads: cpu.threads(),
    });
    let blocks = Blocks::new(k, ku);
    let (depth, kc) = (k.div_ceil(ku), blocks.kc);
    let (m, n, tile_rows, tile_columns) = match turned {
        false => (rows, columns, mc, nc),
        true => (columns, rows, nc, mc),
    };
    let tasks = tiles(c, ldc, m, n, tile_rows, tile_columns)?;
    let (widths_a, widths_b) = (Widths::of_a::<M>(), Widths::of_b::<M>().even(whole.is_none()));
    let (outer_rows, outer_columns) = (widths_a.padded(rows), widths_b.padded(columns));
    // Shared where it is packed and more than one tile reads it.
    let share_a = columns > nc && in_place.is_none();
    let share_b = rows > mc || whole.is_some();
    let len = |packed: bool, outer: usize| if packed { outer * depth } else { 0 };
    let lens = [
        len(share_a, outer_rows),
        len(share_b && whole.is_none(), outer_columns),
    ];
    let run = |shared_a: &mut [M::Elem], shared_b: &mut [M::Elem]| {
        blocks.pack_all(cpu, a, (rows, rows), widths_a, shared_a);
        blocks.pack_all(cpu, b, (columns, nc), widths_b, shared_b);
        let (shared_a, shared_b) = (&*shared_a, whole.unwrap_or(shared_b));
        let finished = |tile: &mut Tile<'_, F::Out>, rows, acc: &[M::Acc], ld| {
            cpu.run(FinishTile {
                finish,
                tile,
                rows,
                acc,
                ld,
                transposed: turned,
                bias,
                n,
            });
        };
        let task = |mut tile: Tile<'_, F::Out>| {
            let (i, mi, j, nj) = if turned {
                (tile.column, tile.columns, tile.row, tile.rows)
            } else {
                (tile.row, tile.rows, tile.column, tile.columns)
            };
            let (mp, np) = (widths_a.padded(mi), widths_b.padded(nj));
            let own = |shared: bool, len: usize| if shared { 0 } else { len };
            let share_a = share_a || in_place.is_some();
            with_scratch(
                [own(share_a, mp * kc), own(share_b, np * kc), mp * np],
                |own_a: &mut [M::Elem], own_b, acc: &mut [M::Acc]| {
                    for start in (0..depth).step_by(kc) {
                        let steps = kc.min(depth - start);
                        let k = blocks.range(start, steps);
                        let pa = if let Some((tile, lying)) = in_place {
                            Left::Rows(tile, lying.part(i, mi, start * size_of::<M::Elem>()))
                        } else if share_a {
                            Left::Panels(&shared_a[outer_rows * start + i * steps..][..mp * steps])
                        } else {
                            let out = &mut own_a[..mp * steps];
                            pack(cpu, a, widths_a, i..i + mi, k.clone(), steps, out);
                            Left::Panels(&*out)
                        };
                        let pb = if share_b {
                            &shared_b[outer_columns * start + j * steps..][..np * steps]
                        } else {
                            let out = &mut own_b[..np * steps];
                            pack(cpu, b, widths_b, j..j + nj, k, steps, out);
                            &*out
                        };
                        let (first, by_panel) = (start == 0, !turned && start + steps == depth);
                        let once = first && by_panel;
                        multiply(micro, pa, pb, widths_b, steps, acc, np, first, once, |i, acc| {
                            if by_panel {
                                finished(&mut tile, i..mi.min(i + M::MR), acc, np);
                            }
                        });
                    }
                    if turned {
                        let rows = 0..tile.rows;
                        finished(&mut tile, rows, acc, np);
                    }
                },
            );
        };
        cpu.for_each(tasks, task);
    };
    with_shared(lens, |shared_a, shared_b| cpu.inside(|| run(shared_a, shared_b)))
}

/// How wide an operand's panels are.
#[derive(Clone, Copy)]
pub(crate) struct Widths {
    /// All but the last.
    full: usize,
    /// What the last is a multiple of.
    step: usize,
    /// Whether a last panel of one step shares with the one before: two of two steps, not of three and one. A tile that
    /// is one vector wide loads nine registers for eight products, and takes a third more than its share. Not
    /// for panels that are packed before their tiles are known: those may end between the two.
    even: bool,
}

impl Widths {
    pub(crate) const fn of_a<M: Micro>() -> Self {
        Self {
            full: M::MR,
            step: M::MR,
            even: false,
        }
    }

    pub(crate) const fn of_b<M: Micro>() -> Self {
        Self {
            full: M::NR,
            step: M::STEP,
            even: false,
        }
    }

    /// The same where a last panel may share with the one before, or may not.
    fn even(self, even: bool) -> Self {
        Self { even, ..self }
    }

    /// What `outer` indices take in panels.
    fn padded(self, outer: usize) -> usize {
        outer.next_multiple_of(self.step)
    }

    /// What `outer` indices take in full panels, and the width of each panel after those: 0 if there is none.
    fn parts(self, outer: usize) -> (usize, usize) {
        let padded = self.padded(outer);
        let last = padded % self.full;
        let full = padded - last;
        if self.even && last == self.step && self.full == 3 * self.step && full > 0 {
            return (full - self.full, 2 * self.step);
        }
        (full, last)
    }
}

/// Packs `outer` and `k`, which are `steps` elements deep: full panels, then what is left in narrower ones.
fn pack<E, O: Operand<E>>(
    cpu: &Cpu,
    operand: O,
    widths: Widths,
    outer: Range<usize>,
    k: Range<usize>,
    steps: usize,
    out: &mut [E],
) {
    let (full, width) = widths.parts(outer.len());
    let (panels, last) = out.split_at_mut(full * steps);
    let end = outer.end.min(outer.start + full);
    let parts = [
        (widths.full, outer.start..end, panels),
        (width, end..outer.end, last),
    ];
    for (w, outer, out) in parts {
        if !outer.is_empty() {
            let k = k.clone();
            cpu.run(Pack {
                operand,
                w,
                outer,
                k,
                out,
            });
        }
    }
}

/// How k is cut: `kc` packed steps of `ku` each per block.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    k: usize,
    ku: usize,
    kc: usize,
}

impl Blocks {
    /// For `k` products, `ku` per packed element.
    pub(crate) fn new(k: usize, ku: usize) -> Self {
        let depth = k.div_ceil(ku);
        let kc = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        Self { k, ku, kc }
    }

    /// Elements of a packed operand.
    pub(crate) fn len(&self, outer: usize, widths: Widths) -> usize {
        widths.padded(outer) * self.k.div_ceil(self.ku)
    }

    /// The k of `steps` packed steps from `start` on.
    fn range(&self, start: usize, steps: usize) -> Range<usize> {
        start * self.ku..self.k.min((start + steps) * self.ku)
    }

    /// Packs a whole operand of `outer` indices: the panels of the first block of k, then those of the next. Those of
    /// each `band` of indices, a multiple of the panels' step, begin with a full one. Nothing, if `out` is empty.
    pub(crate) fn pack_all<E: Send, O: Operand<E>>(
        &self,
        cpu: &Cpu,
        operand: O,
        (outer, band): (usize, usize),
        widths: Widths,
        out: &mut [E],
    ) {
        if out.is_empty() {
            return;
        }
        let depth = self.k.div_ceil(self.ku);
        // Sixteen panels at a time at most, some hundreds of KiB, and fewer where threads would have nothing to do.
        let panels = (outer.div_ceil(widths.full) * depth.div_ceil(self.kc)).div_ceil(2 * cpu.threads());
        let group = panels.clamp(1, 16) * widths.full;
        let mut items = Vec::new();
        let mut rest = out;
        for start in (0..depth).step_by(self.kc) {
            let steps = self.kc.min(depth - start);
            for first in (0..outer).step_by(band) {
                let end = outer.min(first + band);
                // Narrower panels are packed by themselves, so that no group parts what shares its width.
                let full = end.min(first + widths.parts(end - first).0);
                let groups = (first..full)
                    .step_by(group)
                    .map(|first| first..full.min(first + group));
                for outer in groups
                    .chain(std::iter::once(full..end))
                    .filter(|outer| !outer.is_empty())
                {
                    let (out, next) = rest.split_at_mut(widths.padded(outer.len()) * steps);
                    rest = next;
                    items.push((outer, self.range(start, steps), steps, out));
                }
            }
        }
        let task = |(outer, k, steps, out)| pack(cpu, operand, widths, outer, k, steps, out);
        cpu.for_each(items, task);
    }
}
