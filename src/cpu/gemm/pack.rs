//! Packing: from operands as they are stored to the panels that the register tiles read.
//!
//! A and B are treated alike. Each has an *outer* index (rows of A, columns of B) and k; a panel
//! holds `w` consecutive outer indices for a range of k, k outermost, zero past the operand's end.
//! An operand stored with consecutive k adjacent (A as [M, K], B as [N, K]) is transposed on the
//! way, four rows by eight or sixteen by sixteen; the other layout is copied row by row.

use super::micro::Rows;
use crate::cpu::dispatch::{Kernel, Lanes};
use crate::format::bf16;
use std::ops::Range;

/// A stored operand.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) ld: usize,
    /// Whether consecutive k are adjacent in memory (else consecutive outer indices are).
    pub(crate) k_adjacent: bool,
}

impl<'a, T: Copy> View<'a, T> {
    /// `count` rows of `k` values, if they lie one after the other.
    pub(crate) fn rows_together(&self, count: usize, k: usize) -> Option<&'a [T]> {
        let together = self.k_adjacent && (self.ld == k || count == 1);
        self.data.get(..count * k).filter(|_| together)
    }

    /// The first k of an outer index, as `convert` makes them.
    #[inline(always)]
    pub(crate) fn gather<E>(&self, outer: usize, convert: impl Fn(T) -> E, out: &mut [E]) {
        if self.k_adjacent {
            let row = &self.data[outer * self.ld..][..out.len()];
            for (out, value) in out.iter_mut().zip(row) {
                *out = convert(*value);
            }
        } else {
            for (k, out) in out.iter_mut().enumerate() {
                *out = convert(self.data[k * self.ld + outer]);
            }
        }
    }
}

/// An operand that can be packed into panels of `E`.
pub(crate) trait Operand<E>: Copy + Send + Sync {
    /// Fills `out`, one panel of `w` after the other, with `outer` and `k`.
    fn pack<L: Lanes>(self, lanes: L, w: usize, outer: Range<usize>, k: Range<usize>, out: &mut [E]);

    /// The rows of an operand of `k` products as they lie, where tiles may read them so: then those that take rows
    /// of A in place do not call [`Operand::pack`]. An operand without this is always packed.
    fn rows(&self, k: usize) -> Option<Rows<'_>> {
        let _ = k;
        None
    }

    /// All of the operand, if it is packed already: then [`Operand::pack`] is not called.
    fn whole(&self) -> Option<&[E]> {
        None
    }
}

/// An operand that was packed before, in the layout of `Blocks::pack_all`.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a, E>(pub(crate) &'a [E]);

impl<E: Copy + Send + Sync> Operand<E> for Packed<'_, E> {
    #[inline(always)]
    fn pack<L: Lanes>(self, _: L, _: usize, _: Range<usize>, _: Range<usize>, out: &mut [E]) {
        debug_assert!(out.is_empty(), "a packed operand is read whole");
    }

    fn whole(&self) -> Option<&[E]> {
        Some(self.0)
    }
}

/// Two bf16 of consecutive k in one word, the lower k in the low half.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only x86-64 has a tile of pairs today")
)]
pub(crate) struct PairView<'a>(pub(crate) View<'a, u16>);

/// An operand of an f32 product.
#[derive(Clone, Copy)]
pub(crate) enum Mixed<'a> {
    F32(View<'a, f32>),
    Bf16(View<'a, u16>),
}

/// A whole operand as rows, if their k are adjacent.
fn rows<T: bytemuck::Pod>(view: View<'_, T>, k: usize) -> Option<Rows<'_>> {
    let stride = view.ld * size_of::<T>();
    view.k_adjacent.then(|| Rows {
        bytes: bytemuck::cast_slice(view.data),
        stride,
        width: k * size_of::<T>(),
        count: usize::MAX,
    })
}

impl Operand<f32> for Mixed<'_> {
    fn rows(&self, k: usize) -> Option<Rows<'_>> {
        match self {
            Mixed::F32(view) => rows(*view, k),
            // Widened while it is packed.
            Mixed::Bf16(_) => None,
        }
    }

    #[inline(always)]
    fn pack<L: Lanes>(self, lanes: L, w: usize, outer: Range<usize>, k: Range<usize>, out: &mut [f32]) {
        match self {
            Mixed::F32(view) => pack(lanes, view, w, outer, k, out),
            Mixed::Bf16(view) => pack(lanes, view, w, outer, k, out),
        }
    }
}

impl Operand<f64> for View<'_, f64> {
    fn rows(&self, k: usize) -> Option<Rows<'_>> {
        rows(*self, k)
    }

    #[inline(always)]
    fn pack<L: Lanes>(self, lanes: L, w: usize, outer: Range<usize>, k: Range<usize>, out: &mut [f64]) {
        pack(lanes, self, w, outer, k, out);
    }
}

/// Elements that [`pack`] moves in blocks.
trait Block: Copy + Default {
    fn transpose<L: Lanes>(lanes: L, rows: [[Self; 8]; 4]) -> [[Self; 4]; 8];
}

impl Block for u32 {
    #[inline(always)]
    fn transpose<L: Lanes>(lanes: L, rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
        lanes.transpose4x8(rows)
    }
}

impl Block for f32 {
    #[inline(always)]
    fn transpose<L: Lanes>(lanes: L, rows: [[f32; 8]; 4]) -> [[f32; 4]; 8] {
        bytemuck::cast(lanes.transpose4x8(bytemuck::cast(rows)))
    }
}

impl Block for f64 {
    #[inline(always)]
    fn transpose<L: Lanes>(_: L, rows: [[f64; 8]; 4]) -> [[f64; 4]; 8] {
        let mut out = [[0.0; 4]; 8];
        for (c, column) in out.iter_mut().enumerate() {
            for (r, row) in rows.iter().enumerate() {
                column[r] = row[c];
            }
        }
        out
    }
}

/// Elements as they are stored, and as panels of `E` have them.
trait Stored<E>: Copy {
    fn convert(self) -> E;

    /// [`Lanes::columns`] of sixteen rows at most, where that is the fast way; false where it is not.
    #[inline(always)]
    fn columns<L: Lanes>(lanes: L, rows: &[&[Self]], out: &mut [E], stride: usize) -> bool {
        let _ = (lanes, rows, out, stride);
        false
    }
}

impl Stored<f32> for f32 {
    #[inline(always)]
    fn convert(self) -> f32 {
        self
    }

    #[inline(always)]
    fn columns<L: Lanes>(lanes: L, rows: &[&[f32]], out: &mut [f32], stride: usize) -> bool {
        if L::WIDE {
            lanes.columns::<f32, false>(rows, bytemuck::cast_slice_mut(out), stride);
        }
        L::WIDE
    }
}

impl Stored<f32> for u16 {
    #[inline(always)]
    fn convert(self) -> f32 {
        bf16::widen(self)
    }

    #[inline(always)]
    fn columns<L: Lanes>(lanes: L, rows: &[&[u16]], out: &mut [f32], stride: usize) -> bool {
        if L::WIDE {
            lanes.columns::<u16, false>(rows, bytemuck::cast_slice_mut(out), stride);
        }
        L::WIDE
    }
}

impl Stored<f64> for f64 {
    #[inline(always)]
    fn convert(self) -> f64 {
        self
    }
}

#[inline(always)]
fn pack<L: Lanes, T: Stored<E>, E: Block>(
    lanes: L,
    view: View<'_, T>,
    w: usize,
    outer: Range<usize>,
    k: Range<usize>,
    out: &mut [E],
) {
    let depth = k.len();
    if !view.k_adjacent {
        for step in 0..depth {
            let row = &view.data[(k.start + step) * view.ld + outer.start..][..outer.len()];
            for (source, panel) in row.chunks(w).zip(out.chunks_exact_mut(w * depth)) {
                let target = &mut panel[step * w..][..w];
                for (target, source) in target.iter_mut().zip(source) {
                    *target = source.convert();
                }
                target[source.len()..].fill(E::default());
            }
        }
        return;
    }
    let row = |o: usize| &view.data[o * view.ld + k.start..][..depth];
    for (p, panel) in out.chunks_exact_mut(w * depth).enumerate() {
        let first = outer.start + p * w;
        let valid = outer.end.saturating_sub(first).min(w);
        if sixteens(
            w,
            valid,
            |r| row(first + r),
            |rows, r| T::columns(lanes, rows, &mut panel[r..], w),
        ) {
            continue;
        }
        for r in (0..valid).step_by(4) {
            let count = (valid - r).min(4);
            // Rows past the end repeat the first: they are transposed along and not stored.
            let rows: [&[T]; 4] = std::array::from_fn(|i| row(first + r + if i < count { i } else { 0 }));
            let mut step = 0;
            while step + 8 <= depth {
                let mut block = [[E::default(); 8]; 4];
                for (block, row) in block.iter_mut().zip(rows) {
                    for (to, from) in block.iter_mut().zip(&row[step..step + 8]) {
                        *to = from.convert();
                    }
                }
                let columns = E::transpose(lanes, block);
                store(&columns, count, &mut panel[step * w + r..], w);
                step += 8;
            }
            for step in step..depth {
                for (i, row) in rows[..count].iter().enumerate() {
                    panel[step * w + r + i] = row[step].convert();
                }
            }
        }
        if valid < w {
            for step in panel.chunks_exact_mut(w) {
                step[valid..].fill(E::default());
            }
        }
    }
}

/// Calls `columns` for each sixteen of a panel's `valid` rows, with the first one's number; whether that was all that
/// the panel needs.
#[inline(always)]
fn sixteens<'a, T: 'a>(
    w: usize,
    valid: usize,
    row: impl Fn(usize) -> &'a [T],
    mut columns: impl FnMut(&[&'a [T]], usize) -> bool,
) -> bool {
    if !w.is_multiple_of(16) || valid.next_multiple_of(16) != w {
        return false;
    }
    (0..w).step_by(16).all(|r| {
        let count = (valid - r).min(16);
        let rows: [&[T]; 16] = std::array::from_fn(|i| row(r + if i < count { i } else { 0 }));
        columns(&rows[..count], r)
    })
}

/// Writes the first `count` of each column's elements, columns `w` apart.
#[inline(always)]
fn store<E: Copy>(columns: &[[E; 4]; 8], count: usize, panel: &mut [E], w: usize) {
    if count == 4 {
        // Apart, because a copy of known length is one instruction.
        for (s, column) in columns.iter().enumerate() {
            panel[s * w..s * w + 4].copy_from_slice(column);
        }
    } else {
        for (s, column) in columns.iter().enumerate() {
            panel[s * w..s * w + count].copy_from_slice(&column[..count]);
        }
    }
}

/// Both halves of as many words, most of them in blocks of known length, which are a few instructions each.
#[inline(always)]
fn pairs(lo: &[u16], hi: &[u16], words: &mut [u32]) {
    let word = |lo: u16, hi: u16| u32::from(lo) | u32::from(hi) << 16;
    let (lo, lo_rest) = lo.as_chunks::<16>();
    let (hi, hi_rest) = hi.as_chunks::<16>();
    let (words, rest) = words.as_chunks_mut::<16>();
    for ((words, lo), hi) in words.iter_mut().zip(lo).zip(hi) {
        *words = std::array::from_fn(|i| word(lo[i], hi[i]));
    }
    for ((rest, lo), hi) in rest.iter_mut().zip(lo_rest).zip(hi_rest) {
        *rest = word(*lo, *hi);
    }
}

impl Operand<u32> for PairView<'_> {
    fn rows(&self, k: usize) -> Option<Rows<'_>> {
        rows(self.0, k)
    }

    #[inline(always)]
    fn pack<L: Lanes>(self, lanes: L, w: usize, outer: Range<usize>, k: Range<usize>, out: &mut [u32]) {
        let view = self.0;
        let depth = k.len().div_ceil(2);
        let word = |lo: u16, hi: u16| u32::from(lo) | u32::from(hi) << 16;
        if !view.k_adjacent {
            for step in 0..depth {
                let k = k.start + 2 * step..k.end.min(k.start + 2 * step + 2);
                let lo = &view.data[k.start * view.ld + outer.start..][..outer.len()];
                // An odd last k is paired with zeros, in A and in B.
                let hi: &[u16] = match k.len() {
                    2 => &view.data[(k.start + 1) * view.ld + outer.start..][..outer.len()],
                    _ => &[],
                };
                for (p, panel) in out.chunks_exact_mut(w * depth).enumerate() {
                    let target = &mut panel[step * w..][..w];
                    let lo = &lo[(p * w).min(lo.len())..((p + 1) * w).min(lo.len())];
                    let hi = &hi[(p * w).min(hi.len())..((p + 1) * w).min(hi.len())];
                    if hi.len() == lo.len() && lo.len() == w {
                        pairs(lo, hi, target);
                    } else if hi.len() == lo.len() {
                        for ((target, lo), hi) in target.iter_mut().zip(lo).zip(hi) {
                            *target = word(*lo, *hi);
                        }
                    } else {
                        for (target, lo) in target.iter_mut().zip(lo) {
                            *target = word(*lo, 0);
                        }
                    }
                    target[lo.len()..].fill(0);
                }
            }
            return;
        }
        let row = |o: usize| &view.data[o * view.ld + k.start..][..k.len()];
        for (p, panel) in out.chunks_exact_mut(w * depth).enumerate() {
            let first = outer.start + p * w;
            let valid = outer.end.saturating_sub(first).min(w);
            if L::WIDE
                && sixteens(
                    w,
                    valid,
                    |r| row(first + r),
                    |rows, r| {
                        lanes.columns::<u16, true>(rows, &mut panel[r..], w);
                        true
                    },
                )
            {
                continue;
            }
            for r in (0..valid).step_by(4) {
                let count = (valid - r).min(4);
                let rows: [&[u16]; 4] =
                    std::array::from_fn(|i| row(first + r + if i < count { i } else { 0 }));
                let mut step = 0;
                while 2 * step + 16 <= k.len() {
                    let mut block = [[0_u32; 8]; 4];
                    for (block, row) in block.iter_mut().zip(rows) {
                        let halves = &row[2 * step..2 * step + 16];
                        for (to, from) in block.iter_mut().zip(halves.chunks_exact(2)) {
                            *to = word(from[0], from[1]);
                        }
                    }
                    let columns = lanes.transpose4x8(block);
                    store(&columns, count, &mut panel[step * w + r..], w);
                    step += 8;
                }
                for step in step..depth {
                    for (i, row) in rows[..count].iter().enumerate() {
                        let hi = row.get(2 * step + 1).copied().unwrap_or(0);
                        panel[step * w + r + i] = word(row[2 * step], hi);
                    }
                }
            }
            if valid < w {
                for step in panel.chunks_exact_mut(w) {
                    step[valid..].fill(0);
                }
            }
        }
    }
}

/// One packing job, compiled per level.
pub(crate) struct Pack<'o, O, E> {
    pub(crate) operand: O,
    pub(crate) w: usize,
    pub(crate) outer: Range<usize>,
    pub(crate) k: Range<usize>,
    pub(crate) out: &'o mut [E],
}

impl<E, O: Operand<E>> Kernel for Pack<'_, O, E> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        self.operand.pack(lanes, self.w, self.outer, self.k, self.out);
    }
}
