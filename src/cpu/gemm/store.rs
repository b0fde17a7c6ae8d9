//! From accumulators to C: alpha, beta, bias, ReLU and rounding; and C cut into disjoint tiles.

use super::memory::reserved;
use super::{Narrow, StoreRow};
use crate::cpu::CpuError;
use crate::cpu::dispatch::{Kernel, Lanes};
use crate::format::bf16;
use std::ops::Range;

/// A rectangle of C that one task owns.
pub(crate) struct Tile<'c, T> {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    parts: Parts<'c, T>,
}

enum Parts<'c, T> {
    /// Whole rows of C: one slice and its leading dimension.
    Whole(&'c mut [T], usize),
    /// One slice per row.
    Rows(Vec<&'c mut [T]>),
}

impl<T> Tile<'_, T> {
    /// Row `i` of the tile.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [T] {
        match &mut self.parts {
            Parts::Whole(data, ld) => &mut data[i * *ld..][..self.columns],
            Parts::Rows(rows) => &mut rows[i][..self.columns],
        }
    }
}

/// Cuts C (m x n, rows `ld` apart, neither empty) into tiles of at most mc x nc.
pub(crate) fn tiles<T>(
    c: &mut [T],
    ld: usize,
    m: usize,
    n: usize,
    mc: usize,
    nc: usize,
) -> Result<Vec<Tile<'_, T>>, CpuError> {
    let mut tiles = reserved(m.div_ceil(mc) * n.div_ceil(nc))?;
    if m == 1 {
        // Pieces of one row, whatever the leading dimension, are whole: no list of rows each.
        for (i, part) in c[..n].chunks_mut(nc).enumerate() {
            let (column, columns) = (i * nc, part.len());
            let parts = Parts::Whole(part, columns);
            tiles.push(Tile {
                row: 0,
                column,
                rows: 1,
                columns,
                parts,
            });
        }
        return Ok(tiles);
    }
    for (i, band) in c[..(m - 1) * ld + n]
        .chunks_mut(mc.saturating_mul(ld))
        .enumerate()
    {
        let row = i * mc;
        let rows = mc.min(m - row);
        if n <= nc {
            let parts = Parts::Whole(band, ld);
            tiles.push(Tile {
                row,
                column: 0,
                rows,
                columns: n,
                parts,
            });
            continue;
        }
        let first = tiles.len();
        for column in (0..n).step_by(nc) {
            let columns = nc.min(n - column);
            let parts = Parts::Rows(reserved(rows)?);
            tiles.push(Tile {
                row,
                column,
                rows,
                columns,
                parts,
            });
        }
        for row in band.chunks_mut(ld) {
            for (tile, part) in tiles[first..].iter_mut().zip(row[..n].chunks_mut(nc)) {
                if let Parts::Rows(rows) = &mut tile.parts {
                    rows.push(part);
                }
            }
        }
    }
    Ok(tiles)
}

/// How accumulators become elements of C.
pub(crate) trait Finish<A>: Sync {
    /// Element of C.
    type Out: Send;
    /// Whether the product is needed at all (alpha is not 0).
    fn needs_product(&self) -> bool;
    /// Finishes consecutive elements of a row; `index` is the logical row-major index of the first,
    /// `bias` is empty or as long as the row.
    fn row<L: Lanes>(&self, lanes: L, acc: &[A], bias: &[A], index: u64, out: &mut [Self::Out]);
}

/// alpha acc + beta c + bias, then ReLU, in that order.
#[derive(Clone, Copy)]
pub(crate) struct Affine<T> {
    pub(crate) alpha: T,
    pub(crate) beta: T,
    pub(crate) relu: bool,
}

macro_rules! affine {
    ($real:ty) => {
        impl Affine<$real> {
            /// Leaves the finished values in `out`; `c(i)` is read only if beta is not 0.
            #[inline(always)]
            fn apply(
                &self,
                acc: &[$real],
                bias: &[$real],
                c: impl Fn(usize, $real) -> $real,
                out: &mut [$real],
            ) {
                let Affine { alpha, beta, relu } = *self;
                if alpha == 0.0 {
                    // Not a product with zero: the accumulators hold nothing.
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = if beta == 0.0 { 0.0 } else { beta * c(i, *out) };
                    }
                } else if beta == 0.0 {
                    for (out, acc) in out.iter_mut().zip(acc) {
                        *out = alpha * *acc;
                    }
                } else {
                    for (i, (out, acc)) in out.iter_mut().zip(acc).enumerate() {
                        *out = alpha * *acc + beta * c(i, *out);
                    }
                }
                for (out, bias) in out.iter_mut().zip(bias) {
                    *out += *bias;
                }
                if relu {
                    for out in out {
                        // Keeps NaN, which `max` would drop.
                        *out = if *out < 0.0 { 0.0 } else { *out };
                    }
                }
            }
        }

        impl Finish<$real> for Affine<$real> {
            type Out = $real;

            fn needs_product(&self) -> bool {
                self.alpha != 0.0
            }

            #[inline(always)]
            fn row<L: Lanes>(&self, _: L, acc: &[$real], bias: &[$real], _: u64, out: &mut [$real]) {
                self.apply(acc, bias, |_, old| old, out);
            }
        }
    };
}

affine!(f32);
affine!(f64);

/// [`Affine`] in f32, then rounded to bf16.
#[derive(Clone, Copy)]
pub(crate) struct ToBf16<'r> {
    pub(crate) affine: Affine<f32>,
    pub(crate) rounding: Narrow<'r>,
}

/// f32 values between the accumulators and the rounding: a multiple of 8, so that a draw of eight
/// random half-words is not split more often than the tile's edges split it.
const STAGE: usize = 256;
/// The same for short rows.
const NARROW: usize = 64;

impl Finish<f32> for ToBf16<'_> {
    type Out = u16;

    fn needs_product(&self) -> bool {
        self.affine.needs_product()
    }

    #[inline(always)]
    fn row<L: Lanes>(&self, _: L, acc: &[f32], bias: &[f32], index: u64, out: &mut [u16]) {
        // Zeroing the stage is most of the work of a short row, such as a filter's few channels.
        match out.len() {
            0..=NARROW => self.staged::<NARROW>(acc, bias, index, out),
            _ => self.staged::<STAGE>(acc, bias, index, out),
        }
    }
}

impl ToBf16<'_> {
    #[inline(always)]
    fn staged<const N: usize>(&self, acc: &[f32], bias: &[f32], index: u64, out: &mut [u16]) {
        let mut stage = [0.0_f32; N];
        for (chunk, out) in out.chunks_mut(N).enumerate() {
            let start = chunk * N;
            let stage = &mut stage[..out.len()];
            let part = |all: &[f32]| start.min(all.len())..(start + out.len()).min(all.len());
            let (acc, bias) = (&acc[part(acc)], &bias[part(bias)]);
            self.affine.apply(acc, bias, |i, _| bf16::widen(out[i]), stage);
            match self.rounding {
                Narrow::Nearest => {
                    for (out, value) in out.iter_mut().zip(stage.iter()) {
                        *out = bf16::from_f32(*value);
                    }
                }
                Narrow::Custom { base, store } => {
                    StoreRow::store_row(store, base.wrapping_add(index + start as u64), stage, out);
                }
            }
        }
    }
}

/// Finishes rows of a tile, compiled per level.
pub(crate) struct FinishTile<'a, 'c, A, F: Finish<A>> {
    pub(crate) finish: &'a F,
    pub(crate) tile: &'a mut Tile<'c, F::Out>,
    /// Which rows: all of them if `transposed`.
    pub(crate) rows: Range<usize>,
    /// Their accumulators, `ld` apart; of the transposed tile if `transposed`.
    pub(crate) acc: &'a [A],
    pub(crate) ld: usize,
    pub(crate) transposed: bool,
    /// Empty, or one value per column of C.
    pub(crate) bias: &'a [A],
    /// Columns of C.
    pub(crate) n: usize,
}

impl<A: Copy + Default, F: Finish<A>> Kernel for FinishTile<'_, '_, A, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let FinishTile {
            finish,
            tile,
            rows,
            acc,
            ld,
            transposed,
            bias,
            n,
        } = self;
        let (row, column, columns) = (tile.row, tile.column, tile.columns);
        let bias = if bias.is_empty() {
            bias
        } else {
            &bias[column..column + columns]
        };
        let mut turned = vec![A::default(); if transposed { columns } else { 0 }];
        let first = rows.start;
        for i in rows {
            let acc = if acc.is_empty() {
                acc
            } else if transposed {
                for (j, value) in turned.iter_mut().enumerate() {
                    *value = acc[j * ld + i];
                }
                &turned
            } else {
                &acc[(i - first) * ld..][..columns]
            };
            let index = (row + i) as u64 * n as u64 + column as u64;
            finish.row(lanes, acc, bias, index, tile.row_mut(i));
        }
    }
}
