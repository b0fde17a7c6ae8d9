//! How a product is cut into dispatches that fit bindings, counts of workgroups and the caps on work and turns.

use std::ops::Range;

use super::{Matmul, OP};
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

/// `tall` and `wide` are the rows and columns that one workgroup makes; with `sums` every dispatch leaves f32 sums,
/// whether K is cut or not, which must fit a binding too. No dispatch takes more than `deepest` k, a multiple of eight.
pub(super) fn cut(op: &Matmul, gpu: &Gpu, [tall, wide]: [u64; 2], sums: bool, deepest: u64) -> Result<Cut> {
    let limits = gpu.limits();
    // A window may start up to one alignment before its first word, and vectors reach past its last.
    let binding = limits.max_storage_buffer_binding_size.saturating_sub(512);
    let groups = u64::from(limits.max_compute_workgroups_per_dimension);
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let bytes = |dtype: DType, elements: u64| elements.saturating_mul(u64::from(dtype.bits()) / 8);
    let all = Cut {
        batches: 1,
        rows: m,
        cols: n,
        ks: k,
    };
    let fits = |cut: &Cut| fits(op, cut, binding) && !(sums && sum_bytes(cut) > binding);
    let whole = fits(&all) && k <= deepest && m.div_ceil(tall) <= groups && n.div_ceil(wide) <= groups;
    let per_batch = m.saturating_mul(n).saturating_mul(k.max(1));
    if whole && per_batch <= gpu.work_cap() {
        let mut batches = (gpu.work_cap() / per_batch)
            .min(groups)
            .min(op.batch as u64)
            .max(1);
        for (matrix, rows, cols) in [
            (&op.a, op.stored_a()[0] as u64, op.stored_a()[1] as u64),
            (&op.b, op.stored_b()[0] as u64, op.stored_b()[1] as u64),
            (&op.c, m, n),
        ] {
            let one = bytes(matrix.dtype, matrix.span(1, rows, cols));
            let stride = bytes(matrix.dtype, matrix.batch_stride as u64);
            batches = batches.min((binding - one) / stride.max(1) + 1);
        }
        if sums {
            batches = batches.min(binding / sum_bytes(&all)).max(1);
        }
        return Ok(Cut { batches, ..all });
    }

    // One batch at a time. What cannot be cut along rows or columns is cut along K.
    let (a_row, b_row) = (
        bytes(op.a.dtype, op.a.ld as u64),
        bytes(op.b.dtype, op.b.ld as u64),
    );
    let limited = |row: u64| down(down((binding / row.max(1)).min(groups * 8), 128), 8);
    // Where a range lies along stored rows it starts at multiples of eight, so that vectors and pairs stay whole;
    // whole rows may start anywhere, but for C's columns, which are stored in pairs where it is packed.
    let packed = op.c.dtype == DType::Bf16 || op.bias == Some(DType::Bf16);
    let unit = |along: bool, pairs: bool| match (along, pairs) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 1,
    };
    let (row_unit, col_unit, k_unit) = (
        unit(op.a.transposed, false),
        unit(!op.b.transposed, packed),
        unit(!op.a.transposed || op.b.transposed, false),
    );
    let mut cut = Cut {
        ks: k.min(deepest),
        ..all
    };
    if op.a.transposed {
        cut.ks = cut.ks.min(limited(a_row));
    } else {
        cut.rows = cut.rows.min(limited(a_row));
    }
    if op.b.transposed {
        cut.cols = cut.cols.min(limited(b_row));
    } else {
        cut.ks = cut.ks.min(limited(b_row));
    }
    cut.rows = cut
        .rows
        .min(limited(bytes(op.c.dtype, op.c.ld as u64)))
        .min(groups * tall);
    cut.cols = cut.cols.min(groups * wide);
    // The work of a dispatch: rows first, then columns, to eight of each; then K.
    let cap = gpu.work_cap();
    let work = |cut: &Cut| cut.rows.saturating_mul(cut.cols).saturating_mul(cut.ks.max(1));
    let down_to_eight = |value: u64, of: u64| down(value, if value >= 128 { 128 } else { 8 }).max(8).min(of);
    if work(&cut) > cap {
        cut.rows = down_to_eight(cap / (cut.cols * cut.ks.max(1)).max(1), cut.rows);
    }
    if work(&cut) > cap {
        cut.cols = down_to_eight(cap / (cut.rows * cut.ks.max(1)).max(1), cut.cols);
    }
    if work(&cut) > cap {
        cut.ks = down_to_eight(cap / (cut.rows * cut.cols).max(1), cut.ks);
    }
    if cut.ks < k || sums {
        // Partial sums of the dispatch must fit a binding too.
        cut.rows = cut.rows.min(down(binding / (4 * cut.cols).max(1), 8));
    }
    if cut.ks < k {
        cut.ks = down(cut.ks, 8);
    }
    let mut whole_units = true;
    for (part, of, unit) in [
        (&mut cut.rows, m, row_unit),
        (&mut cut.cols, n, col_unit),
        (&mut cut.ks, k, k_unit),
    ] {
        if *part < of {
            *part = *part / unit * unit;
            whole_units &= *part > 0;
        }
    }
    if !whole_units || !fits(&cut) {
        let widest = a_row.max(b_row).max(bytes(op.c.dtype, op.c.ld as u64));
        return Err(Error::Limit {
            op: OP,
            what: "bytes of the fewest rows of one operand",
            value: col_unit.max(row_unit).max(k_unit) * widest,
            limit: limits.max_storage_buffer_binding_size,
        });
    }
    Ok(cut)
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
        op.c.dtype.words(op.c.span(1, cut.rows, cut.cols)) * 4,
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
