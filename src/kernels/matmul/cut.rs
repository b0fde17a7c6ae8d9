//! How a product is cut into dispatches that fit bindings, counts of workgroups and the caps on work and turns.

use std::ops::Range;

use super::{Matmul, MatrixLayout, OP};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::tensor::DType;

/// How a product is cut: how many batches, rows, columns and k one dispatch takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) batches: u64,
    pub(super) rows: u64,
    pub(super) cols: u64,
    pub(super) ks: u64,
}

/// `value` rounded down to a multiple, but not to zero where it is at least 1.
fn down(value: u64, multiple: u64) -> u64 {
    if value >= multiple {
        value / multiple * multiple
    } else {
        value
    }
}

/// What bounds a dispatch.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes of one binding.
    binding: u64,
    /// Workgroups in each dimension.
    groups: u64,
    /// Rows and columns that one workgroup makes.
    tile: [u64; 2],
    /// Whether every dispatch leaves f32 sums, which must fit a binding too.
    sums: bool,
    work: u64,
}

impl Limits {
    /// How many rows of so many bytes fit a binding: multiples of 128 or of eight where there are as many.
    fn rows_of(&self, bytes: u64) -> u64 {
        down(down((self.binding / bytes.max(1)).min(self.groups * 8), 128), 8)
    }
}

/// `tall` and `wide` are the rows and columns that one workgroup makes; with `sums` every dispatch leaves f32 sums,
/// whether K is cut or not, which must fit a binding too. No dispatch takes more than `deepest` k, a multiple of eight.
pub(super) fn cut(op: &Matmul, gpu: &Gpu, tile: [u64; 2], sums: bool, deepest: u64) -> Result<Cut> {
    let device = gpu.limits();
    let limits = Limits {
        // A window may start up to one alignment before its first word, and vectors reach past its last.
        binding: device.max_storage_buffer_binding_size.saturating_sub(512),
        groups: u64::from(device.max_compute_workgroups_per_dimension),
        tile,
        sums,
        work: gpu.work_cap(),
    };
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let all = Cut {
        batches: 1,
        rows: m,
        cols: n,
        ks: k,
    };
    let fits_all = fits(op, &all, limits.binding) && !(sums && sum_bytes(&all) > limits.binding);
    let [tall, wide] = tile;
    let groups_fit = m.div_ceil(tall) <= limits.groups && n.div_ceil(wide) <= limits.groups;
    if fits_all && k <= deepest && groups_fit && work(&all) <= limits.work {
        return Ok(Cut {
            batches: batches(op, &all, &limits),
            ..all
        });
    }

    // One batch at a time. What cannot be cut along rows or columns is cut along K.
    let mut cut = Cut {
        ks: k.min(deepest),
        ..all
    };
    cut_to_bindings(op, &mut cut, &limits);
    cut_to_work(&mut cut, limits.work);
    if cut.ks < k || sums {
        // Partial sums of the dispatch must fit a binding too.
        cut.rows = cut.rows.min(down(limits.binding / (4 * cut.cols).max(1), 8));
    }
    if cut.ks < k {
        cut.ks = down(cut.ks, 8);
    }
    let units = units(op);
    let mut whole_units = true;
    let parts = [(&mut cut.rows, m), (&mut cut.cols, n), (&mut cut.ks, k)];
    for ((part, of), unit) in parts.into_iter().zip(units) {
        if *part < of {
            *part = *part / unit * unit;
            whole_units &= *part > 0;
        }
    }
    if !whole_units || !fits(op, &cut, limits.binding) {
        let widest = [op.a, op.b, op.c].map(|matrix| matrix.row_words() * 4);
        let fewest = units.into_iter().max().unwrap_or(1);
        return Err(Error::Limit {
            op: OP,
            what: "bytes of the fewest rows of one operand",
            value: fewest.saturating_mul(widest.into_iter().max().unwrap_or(0)),
            limit: device.max_storage_buffer_binding_size,
        });
    }
    Ok(cut)
}

/// Elementary operations of one batch of a cut.
fn work(cut: &Cut) -> u64 {
    cut.rows.saturating_mul(cut.cols).saturating_mul(cut.ks.max(1))
}

/// The batches of whole products that one dispatch takes.
fn batches(op: &Matmul, all: &Cut, limits: &Limits) -> u64 {
    let mut batches = (limits.work / work(all).max(1))
        .min(limits.groups)
        .min(op.batch as u64)
        .max(1);
    let matrices = [
        (&op.a, op.stored_a()),
        (&op.b, op.stored_b()),
        (&op.c, [op.m, op.n]),
    ];
    for (matrix, stored) in matrices {
        let [rows, cols] = stored.map(|extent| extent as u64);
        let one = matrix.words(1, rows, cols) * 4;
        let stride = matrix.batch_words() * 4;
        batches = batches.min((limits.binding - one) / stride.max(1) + 1);
    }
    if limits.sums {
        batches = batches.min(limits.binding / sum_bytes(all)).max(1);
    }
    batches
}

/// What a range of rows, columns and k must be a multiple of. Where it lies along stored rows it starts at multiples of
/// eight, so that vectors and pairs stay whole; whole rows may start anywhere, but for C's columns, which are stored in
/// pairs where it is packed.
fn units(op: &Matmul) -> [u64; 3] {
    let packed = op.c.dtype() == DType::Bf16 || op.bias == Some(DType::Bf16);
    let unit = |along: bool, pairs: bool| match (along, pairs) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 1,
    };
    [
        unit(op.a.transposed, false),
        unit(!op.b.transposed, packed),
        // Codes begin at any multiple of eight, and blocks may be cut.
        match op.is_coded() {
            true => 8,
            false => unit(!op.a.transposed || op.b.transposed, false),
        },
    ]
}

/// No more stored rows of an operand than fit a binding, no more groups than a dimension takes.
fn cut_to_bindings(op: &Matmul, cut: &mut Cut, limits: &Limits) {
    let rows_of = |matrix: &MatrixLayout| limits.rows_of(matrix.row_words() * 4);
    if op.a.transposed {
        cut.ks = cut.ks.min(rows_of(&op.a));
    } else {
        cut.rows = cut.rows.min(rows_of(&op.a));
    }
    if op.b.transposed {
        cut.cols = cut.cols.min(rows_of(&op.b));
    } else {
        cut.ks = cut.ks.min(rows_of(&op.b));
    }
    let [tall, wide] = limits.tile;
    cut.rows = cut.rows.min(rows_of(&op.c)).min(limits.groups * tall);
    cut.cols = cut.cols.min(limits.groups * wide);
}

/// No more work than the cap: rows first, then columns, to eight of each; then K.
fn cut_to_work(cut: &mut Cut, cap: u64) {
    let down_to_eight = |value: u64, of: u64| down(value, if value >= 128 { 128 } else { 8 }).max(8).min(of);
    if work(cut) > cap {
        cut.rows = down_to_eight(cap / (cut.cols * cut.ks.max(1)).max(1), cut.rows);
    }
    if work(cut) > cap {
        cut.cols = down_to_eight(cap / (cut.rows * cut.ks.max(1)).max(1), cut.cols);
    }
    if work(cut) > cap {
        cut.ks = down_to_eight(cap / (cut.rows * cut.cols).max(1), cut.ks);
    }
}

/// Bytes of the f32 sums of one batch of a cut.
fn sum_bytes(cut: &Cut) -> u64 {
    cut.rows.saturating_mul(cut.cols).saturating_mul(4)
}

/// Whether the windows of one batch of a cut fit a binding.
fn fits(op: &Matmul, cut: &Cut, binding: u64) -> bool {
    let [a, b] = [
        if op.a.transposed {
            [cut.ks, cut.rows]
        } else {
            [cut.rows, cut.ks]
        },
        if op.b.transposed {
            [cut.cols, cut.ks]
        } else {
            [cut.ks, cut.cols]
        },
    ];
    let bytes = [
        op.a.words_read(1, a[0], a[1]) * 4,
        op.b.words_read(1, b[0], b[1]) * 4,
        op.c.words(1, cut.rows, cut.cols) * 4,
    ];
    bytes.into_iter().all(|bytes| bytes <= binding)
}

pub(super) fn ranges(of: u64, part: u64) -> impl Iterator<Item = Range<u64>> {
    let part = part.max(1);
    (0..of.div_ceil(part)).map(move |i| i * part..((i + 1) * part).min(of))
}

/// The parts of a range.
pub(super) fn within(range: &Range<u64>, part: u64) -> impl Iterator<Item = Range<u64>> {
    let first = range.start;
    ranges(range.end - first, part).map(move |part| first + part.start..first + part.end)
}
