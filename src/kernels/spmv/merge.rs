//! The merge-path variants: shares of rows + entries, then their carries.

use super::{Spmv, with_types};
use crate::error::Result;
use crate::gpu::{Binding, Gpu, Kernel, Permutation, Step, Window, spread_groups};
use crate::shaders;
use crate::tensor::DType;

/// Invocations of every kernel here but [`STAGED`].
const GROUP: u32 = 64;
/// Invocations of a workgroup that stages its share, and items that each of them walks.
const STAGED_GROUP: u32 = 256;
const ITEMS: u32 = 8;
/// A share of the barrier-free variant is at least so long (its search costs as much as tens of items), and longer
/// where there would be more shares than this: their carries are summed by one invocation if a row has them all.
const SHORTEST_SHARE: u64 = 128;
const MOST_SHARES: u64 = 1 << 13;

/// Rows and entries in one row of numbers, as the kernels count them.
fn items(op: &Spmv) -> u64 {
    op.rows as u64 + op.nnz as u64
}

/// What the binary search of a share costs beside its items: at most 31 turns, for items are counted in 31 bits, and
/// one to leave it.
const SEARCH: u64 = 32;

fn share(gpu: &Gpu, op: &Spmv, staged: bool) -> u64 {
    if staged {
        return u64::from(STAGED_GROUP * ITEMS);
    }
    // Below the caps on work per dispatch and on turns, for devices that allow very little.
    let cap = (gpu.work_cap() / 2)
        .min(gpu.turn_cap().saturating_sub(SEARCH + 1))
        .max(1);
    items(op).div_ceil(MOST_SHARES).max(SHORTEST_SHARE).min(cap)
}

/// Turns of an invocation that walks its share of `share` items.
fn turns(share: u64, staged: bool) -> u64 {
    if !staged {
        // spmv_merge_scalar.wgsl: the search, then an item a turn.
        return SEARCH + share + 1;
    }
    // spmv_merge.wgsl: the search, the share's row ends and products (the two loops end with a turn each that others
    // of the workgroup need not make), the search among them, the items, the carries up to each invocation.
    let group = u64::from(STAGED_GROUP);
    let staging = (share + 1).div_ceil(group) + 1 + 2;
    let search = u64::from(share.ilog2()) + 2;
    SEARCH + staging + search + u64::from(ITEMS) + 1 + u64::from(STAGED_GROUP.ilog2()) + 1
}

/// Turns of an invocation of spmv_carry.wgsl, where all of `shares` shares may lie in one row.
fn carry_turns(shares: u64, staged: bool) -> u64 {
    if !staged {
        return shares + 1;
    }
    // Its workgroup's own carries, the search for the end of the run, a part of the rest, the tree.
    let group = u64::from(STAGED_GROUP);
    let rest = shares.saturating_sub(1).div_ceil(group) + 1;
    shares.min(group) + 1 + SEARCH + rest + u64::from(STAGED_GROUP.ilog2()) + 1
}

/// Whether both dispatches of a variant stay under the cap on turns.
pub(super) fn walks(gpu: &Gpu, op: &Spmv, staged: bool) -> bool {
    let share = share(gpu, op, staged);
    let shares = items(op).div_ceil(share);
    turns(share, staged).max(carry_turns(shares, staged)) <= gpu.turn_cap()
}

/// Bytes that one window may span: it may start up to one alignment before its first word.
fn window_bytes(gpu: &Gpu) -> u64 {
    gpu.limits().max_storage_buffer_binding_size.saturating_sub(512)
}

/// Whether column indices, values and x each fit one binding, which the row kernels need.
pub(super) fn fits_one_binding(gpu: &Gpu, op: &Spmv) -> bool {
    let nnz = op.nnz as u64;
    let words = op.index.words(nnz).max(op.values.words(nnz));
    words.max(op.x.words(op.cols as u64)) * 4 <= window_bytes(gpu)
}

/// The most consecutive items whose rows and whose entries fit one binding. By item d as many entries as d minus
/// the rows, at least, and d, at most, have been passed, and likewise for the rows: a run of items spans no more
/// entries than its own length and the number of rows. 0 where no run fits.
fn longest_run(gpu: &Gpu, op: &Spmv) -> u64 {
    let (rows, nnz, bytes) = (op.rows as u64, op.nnz as u64, window_bytes(gpu));
    let room = |own: u64, other: u64, fit: u64| match own <= fit {
        true => u64::MAX,
        false => fit.saturating_sub(other),
    };
    let bits = op.index.bits().max(op.values.bits());
    // One word less: a window starts on a whole word, and row_ptr has an end more than there are rows.
    let (rows_fit, entries_fit) = (
        (bytes / 4).saturating_sub(2),
        (bytes - bytes % 8) * 8 / u64::from(bits) - 2,
    );
    room(rows, nnz, rows_fit).min(room(nnz, rows, entries_fit))
}

/// Whether the merge-path variants can run it: items are counted in 31 bits, and each dispatch must fit its
/// bindings.
pub(super) fn serves(gpu: &Gpu, op: &Spmv) -> bool {
    items(op) < 1 << 31 && longest_run(gpu, op) >= u64::from(STAGED_GROUP * ITEMS).max(share(gpu, op, false))
}

pub(super) fn steps(gpu: &Gpu, op: &Spmv, staged: bool) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if op.rows == 0 {
        return Ok(steps);
    }
    let (rows, nnz, items) = (op.rows as u64, op.nnz as u64, items(op));
    let share = share(gpu, op, staged);
    let shares = items.div_ceil(share);
    let pipeline = gpu.pipeline(&permutation(staged, op.index, op.values, op.x))?;
    let per_step = (gpu.work_cap() / (share + SEARCH))
        .min(longest_run(gpu, op) / share)
        .max(1);
    let even = |entry: u64| entry / 2 * 2;
    // Where x passes a binding, every run of its columns is a product of its own, added to those before. A run is
    // even, so that it begins on a whole word.
    let cols = op.cols as u64;
    let x_fit = window_bytes(gpu) / 4 * 4 * 8 / u64::from(op.x.bits());
    for x_base in (0..cols.max(1)).step_by(x_fit.max(2) as usize) {
        let x_count = x_fit.min(cols - x_base);
        for first in (0..shares).step_by(per_step as usize) {
            let count = per_step.min(shares - first);
            let (start, end) = (first * share, ((first + count) * share).min(items));
            let row_base = start.saturating_sub(nnz);
            let entry_base = even(start.saturating_sub(rows));
            let entries = end.min(nnz).saturating_sub(entry_base);
            let part = |operand: usize, dtype: DType, param: usize| match entries {
                0 => Window::empty(),
                _ => Window::of(operand, dtype.words(entry_base), dtype.words(entries), param),
            };
            let row_end = end.min(rows);
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: [
                    &[end, start, share, rows, nnz, row_base, entry_base].map(|value| value as u32)[..],
                    &[0; 6],
                    &[x_base, x_count, u64::from(x_base > 0)].map(|value| value as u32)[..],
                ]
                .concat(),
                windows: vec![
                    Window::of(0, row_base, (end + 1).min(rows) + 1 - row_base, 7),
                    part(1, op.index, 8),
                    part(2, op.values, 9),
                    Window::of(3, op.x.words(x_base), op.x.words(x_count), 10),
                    Window::of(4, row_base, row_end - row_base, 11),
                    Window::scratch(2 * first, 2 * count, 12),
                ],
                groups: spread_groups(
                    gpu,
                    if staged {
                        count
                    } else {
                        count.div_ceil(GROUP.into())
                    },
                ),
                work: count * (share + SEARCH),
                turns: turns(share, staged),
            });
        }
        carries(gpu, op, shares, staged, &mut steps)?;
    }
    Ok(steps)
}

/// The dispatches that add the carries of `shares` shares.
fn carries(gpu: &Gpu, op: &Spmv, shares: u64, staged: bool, steps: &mut Vec<Step>) -> Result<()> {
    let pipeline = gpu.pipeline(&carry_permutation(staged))?;
    let group = u64::from(carry_group(staged));
    let per_step = (gpu.work_cap() / group).max(1) * group;
    let rows_fit = (window_bytes(gpu) / 4).max(1);
    for first_row in (0..op.rows as u64).step_by(rows_fit as usize) {
        let rows = rows_fit.min(op.rows as u64 - first_row);
        for first in (0..shares).step_by(per_step as usize) {
            let end = (first + per_step).min(shares);
            steps.push(Step {
                pipeline: pipeline.clone(),
                params: [first, end, shares, first_row, rows, 0, 0, 0]
                    .map(|value| value as u32)
                    .to_vec(),
                windows: vec![
                    Window::scratch(0, 2 * shares, 5),
                    Window::of(4, first_row, rows, 6),
                ],
                groups: spread_groups(gpu, (end - first).div_ceil(group)),
                work: end - first,
                turns: carry_turns(shares, staged),
            });
        }
    }
    Ok(())
}

const BINDINGS: &[Binding] = &[
    Binding::params(16),
    Binding::read("row_ptr"),
    Binding::read("col_idx"),
    Binding::read("values"),
    Binding::read("x"),
    Binding::write("y"),
    Binding::write("carry"),
];

static EACH: Kernel = Kernel {
    name: "spmv_merge_scalar",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::CSR,
        shaders::VECTOR,
        include_str!("../../../shaders/spmv/spmv_merge_path.wgsl"),
        include_str!("../../../shaders/spmv/spmv_merge_scalar.wgsl"),
    ],
    bindings: BINDINGS,
};

static STAGED: Kernel = Kernel {
    name: "spmv_merge",
    sources: &[
        shaders::INDEX,
        shaders::BF16,
        shaders::CSR,
        shaders::VECTOR,
        include_str!("../../../shaders/spmv/spmv_merge_path.wgsl"),
        include_str!("../../../shaders/spmv/spmv_merge.wgsl"),
    ],
    bindings: BINDINGS,
};

static CARRY: Kernel = Kernel {
    name: "spmv_carry",
    sources: &[
        shaders::INDEX,
        include_str!("../../../shaders/spmv/spmv_carry.wgsl"),
    ],
    bindings: &[Binding::params(8), Binding::read("carry"), Binding::write("y")],
};

pub(super) fn permutation(staged: bool, index: DType, values: DType, x: DType) -> Permutation {
    let permutation = match staged {
        true => Permutation::new(&STAGED)
            .constant("GROUP", STAGED_GROUP)
            .constant("ITEMS", ITEMS),
        false => Permutation::new(&EACH).constant("GROUP", GROUP),
    };
    with_types(permutation, index, values, x)
}

fn carry_group(staged: bool) -> u32 {
    if staged { STAGED_GROUP } else { GROUP }
}

pub(super) fn carry_permutation(staged: bool) -> Permutation {
    Permutation::new(&CARRY)
        .entry(if staged { "shared_runs" } else { "serial" })
        .constant("GROUP", carry_group(staged))
}
