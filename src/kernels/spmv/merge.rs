//! The merge-path variants: shares of rows + entries, then their carries.

use super::Spmv;
use super::gpu::{constants, window_bytes};
use crate::error::Result;
use crate::gpu::{Dispatch, File, Gpu, Permutation, Shader, Words, looped};

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
        // merge_scalar.wgsl: the search, then an item a turn.
        return SEARCH + looped(share, 0);
    }
    // merge.wgsl: the search, the share's row ends and products (the two loops end with a turn each that others
    // of the workgroup need not make), the search among them, the items, the carries up to each invocation.
    let group = u64::from(STAGED_GROUP);
    let staging = looped((share + 1).div_ceil(group), 0) + 2;
    let search = u64::from(share.ilog2()) + 2;
    SEARCH + staging + search + looped(ITEMS.into(), 0) + looped(STAGED_GROUP.ilog2().into(), 0)
}

/// Turns of an invocation of carry.wgsl, where all of `shares` shares may lie in one row.
fn carry_turns(shares: u64, staged: bool) -> u64 {
    if !staged {
        return looped(shares, 0);
    }
    // Its workgroup's own carries, the search for the end of the run, a part of the rest, the tree.
    let group = u64::from(STAGED_GROUP);
    let rest = looped(shares.saturating_sub(1).div_ceil(group), 0);
    looped(shares.min(group), 0) + SEARCH + rest + looped(STAGED_GROUP.ilog2().into(), 0)
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

/// Whether a variant can run it: items are counted in 31 bits, each dispatch must fit its bindings, and stay under the
/// cap on turns.
pub(super) fn serves(op: &Spmv, gpu: &Gpu, staged: bool) -> bool {
    let longest = u64::from(STAGED_GROUP * ITEMS).max(share(gpu, op, false));
    if items(op) >= 1 << 31 || longest_run(gpu, op) < longest {
        return false;
    }
    let share = share(gpu, op, staged);
    let shares = items(op).div_ceil(share);
    // All carries lie in one binding: row and sum of each share.
    turns(share, staged).max(carry_turns(shares, staged)) <= gpu.turn_cap() && 8 * shares <= window_bytes(gpu)
}

pub(super) fn dispatches(op: &Spmv, gpu: &Gpu, staged: bool) -> Result<Vec<Dispatch>> {
    let mut all = Vec::new();
    if op.rows == 0 {
        return Ok(all);
    }
    let (rows, nnz, items) = (op.rows as u64, op.nnz as u64, items(op));
    let share = share(gpu, op, staged);
    let shares = items.div_ceil(share);
    let pipeline = gpu.pipeline(&permutation(op, staged))?;
    let per_dispatch = (gpu.work_cap() / (share + SEARCH))
        .min(longest_run(gpu, op) / share)
        .max(1);
    let even = |entry: u64| entry / 2 * 2;
    // Where x passes a binding, every run of its columns is a product of its own, added to those before. A run is
    // even, so that it begins on a whole word.
    let cols = op.cols as u64;
    let x_fit = window_bytes(gpu) / 4 * 4 * 8 / u64::from(op.x.bits());
    for x_base in (0..cols.max(1)).step_by(x_fit.max(2) as usize) {
        let x_count = x_fit.min(cols - x_base);
        for first in (0..shares).step_by(per_dispatch as usize) {
            let count = per_dispatch.min(shares - first);
            let (start, end) = (first * share, ((first + count) * share).min(items));
            let row_base = start.saturating_sub(nnz);
            let entry_base = even(start.saturating_sub(rows));
            let entries = entry_base..end.min(nnz).max(entry_base);
            let x = op.x().part(&(0..1), &(x_base..x_base + x_count));
            let groups = if staged { 1 } else { GROUP.into() };
            let dispatch = op
                .a()
                .bind(Dispatch::new(&pipeline), &entries)
                .set("items", end)
                .set("first_item", start)
                .set("share", share)
                .set("rows", rows)
                .set("nnz", nnz)
                .set("row_base", row_base)
                .set("entry_base", entry_base)
                .set("x_base", x_base)
                .set("x_count", x_count)
                .set("adds", x_base > 0)
                .bind("row_ptr", Words::of("row_ptr", row_base..(end + 1).min(rows) + 1))
                .bind("x", Words::of("x", x))
                .bind("y", Words::of("y", row_base..end.min(rows)))
                .bind("carry", Words::scratch(2 * first..2 * (first + count)))
                .linear_groups(gpu, count.div_ceil(groups))
                .work(count * (share + SEARCH))
                .turns(turns(share, staged));
            all.push(dispatch);
        }
        carries(op, gpu, shares, staged, &mut all)?;
    }
    Ok(all)
}

/// The dispatches that add the carries of `shares` shares.
fn carries(op: &Spmv, gpu: &Gpu, shares: u64, staged: bool, all: &mut Vec<Dispatch>) -> Result<()> {
    let pipeline = gpu.pipeline(&carry(staged))?;
    let group = u64::from(carry_group(staged));
    let per_dispatch = (gpu.work_cap() / group).max(1) * group;
    let rows_fit = (window_bytes(gpu) / 4).max(1);
    for first_row in (0..op.rows as u64).step_by(rows_fit as usize) {
        let rows = rows_fit.min(op.rows as u64 - first_row);
        for first in (0..shares).step_by(per_dispatch as usize) {
            let end = (first + per_dispatch).min(shares);
            let dispatch = Dispatch::new(&pipeline)
                .set("first", first)
                .set("end", end)
                .set("carries", shares)
                .set("first_row", first_row)
                .set("rows", rows)
                .bind("carry", Words::scratch(0..2 * shares))
                .bind("y", Words::of("y", first_row..first_row + rows))
                .linear_groups(gpu, (end - first).div_ceil(group))
                .work(end - first)
                .turns(carry_turns(shares, staged));
            all.push(dispatch);
        }
    }
    Ok(())
}

const PATH: &[File] = &[File::new(
    "spmv/merge_path.wgsl",
    include_str!("../../../shaders/spmv/merge_path.wgsl"),
)];

// SAFETY: the search halves an interval; items are fewer than 2^31 and counted in steps of 1; no array.
static EACH: Shader = unsafe {
    Shader::new(
        "spmv/merge_scalar.wgsl",
        include_str!("../../../shaders/spmv/merge_scalar.wgsl"),
    )
    .files(PATH)
    .trusted()
};

// SAFETY: searches halve intervals; loops go to `rows` and `entries` in steps of GROUP, to ITEMS items in steps of 1,
// and double up to GROUP. `rows + entries` are a share's items, GROUP * ITEMS at most, whatever row_ptr holds, and
// `staged` has one word more: rows' ends in its first `rows + 1`, of which the last is not passed, products in the
// others, of which an item inside its row's end is one.
static STAGED: Shader = unsafe {
    Shader::new(
        "spmv/merge.wgsl",
        include_str!("../../../shaders/spmv/merge.wgsl"),
    )
    .files(PATH)
    .trusted()
};

// SAFETY: runs go to `carries`, of which `carry` has two words each, in steps of 1 or GROUP; the search halves an
// interval, the tree GROUP; lanes and `lane + half` are below GROUP.
static CARRY: Shader = unsafe {
    Shader::new(
        "spmv/carry.wgsl",
        include_str!("../../../shaders/spmv/carry.wgsl"),
    )
    .trusted()
};

pub(super) fn permutation(op: &Spmv, staged: bool) -> Permutation {
    let permutation = match staged {
        true => Permutation::new(&STAGED)
            .constant("GROUP", STAGED_GROUP)
            .constant("ITEMS", ITEMS),
        false => Permutation::new(&EACH).constant("GROUP", GROUP),
    };
    constants(op, permutation)
}

fn carry_group(staged: bool) -> u32 {
    if staged { STAGED_GROUP } else { GROUP }
}

/// What adds the carries of a variant.
pub(super) fn carry(staged: bool) -> Permutation {
    Permutation::new(&CARRY)
        .entry(if staged { "shared_runs" } else { "serial" })
        .constant("GROUP", carry_group(staged))
}
