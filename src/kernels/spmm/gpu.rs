use super::{OP, Spmm};
use crate::error::Result;
use crate::gpu::{Dispatch, File, Gpu, Offsets, Permutation, Shader, Words, looped, split_rows};
use crate::kernels::shared::csr::Sparse;
use crate::op::{Variant, Variants, check_limit};
use crate::tensor::DType;
use std::ops::Range;

/// Lanes of a workgroup of the `lanes` variant.
const GROUP: u32 = 64;
/// Turns of the loop over a lane's columns in `emit`.
const EMIT: u64 = looped(8, 0);

const LOAD: [&str; 2] = ["lib/src_word.wgsl", "lib/src_vec4.wgsl"];
const STORE: [&str; 2] = ["lib/dst_word.wgsl", "lib/dst_vec4.wgsl"];

const COMMON_TEXT: &str = include_str!("../../../shaders/spmm/common.wgsl");
const LANES_TEXT: &str = include_str!("../../../shaders/spmm/lanes.wgsl");
const CACHED_TEXT: &str = include_str!("../../../shaders/spmm/cached.wgsl");

const FILES: &[File] = &[File::new("spmm/common.wgsl", COMMON_TEXT)];
// SAFETY: a loop over entries that `entries_of` keeps to the window's, in steps of 1, and one over eight columns at
// most, which `v` has.
static LANES: Shader = unsafe { Shader::new("spmm/lanes.wgsl", LANES_TEXT).files(FILES).trusted() };
// SAFETY: loops over entries that `entries_of` keeps to the window's, in steps of ACROSS, and over ACROSS of them at
// most, which is what `columns` and `factors` have; over eight columns at most, which `v` has.
static CACHED: Shader = unsafe {
    Shader::new("spmm/cached.wgsl", CACHED_TEXT)
        .files(FILES)
        .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Spmm> = Variants(&[
    Variant {
        name: "cached",
        serves: |_, _, _| true,
        rank: |op, gpu| u32::from(gpu.is_software() || op.n <= 64) * 2,
        dispatches: |op, gpu, offsets| dispatches(op, gpu, Form::new(op, offsets, true)),
        permutations: || permutations(true),
    },
    Variant {
        name: "lanes",
        serves: |_, _, _| true,
        rank: |_, _| 1,
        dispatches: |op, gpu, offsets| dispatches(op, gpu, Form::new(op, offsets, false)),
        permutations: || permutations(false),
    },
]);

#[derive(Clone, Copy, Debug)]
struct Form {
    cached: bool,
    /// Lanes side by side along N, eight columns each: a power of two, at most a workgroup.
    across: u32,
    b_vec4: bool,
    c_vec4: bool,
}

impl Form {
    fn new(op: &Spmm, offsets: Offsets, cached: bool) -> Self {
        let vectors = |row_words: u64| !offsets.any() && row_words.is_multiple_of(4);
        Self {
            cached,
            across: op.n.div_ceil(8).clamp(1, GROUP as usize).next_power_of_two() as u32,
            b_vec4: vectors(op.b().row_words()),
            // A row's last vector must end where the row does: padding is not written.
            c_vec4: vectors(op.c().row_words()) && op.n.is_multiple_of(8),
        }
    }

    /// Turns of an invocation that takes so many of its row's entries: they, in cached.wgsl in runs of ACROSS, and the
    /// eight columns that `emit` adds to those before.
    fn turns(self, entries: u64) -> u64 {
        let runs = entries.div_ceil(self.across.into());
        match self.cached {
            true => looped(runs, 1) + entries + EMIT,
            false => looped(entries, 0) + EMIT,
        }
    }

    /// The most entries of a row that stay under a cap on turns; at least one, at most what a parameter holds.
    fn most_entries(self, cap: u64) -> u64 {
        let left = cap.saturating_sub(1 + EMIT);
        let across = u64::from(self.across);
        let entries = match self.cached {
            true => left / (across + 2) * across + (left % (across + 2)).saturating_sub(2),
            false => left,
        };
        entries.clamp(1, u32::MAX.into())
    }

    fn permutation(self, op: &Spmm) -> Permutation {
        let permutation = match self.cached {
            true => Permutation::new(&CACHED),
            false => Permutation::new(&LANES).constant("GROUP", GROUP),
        };
        op.a()
            .constants(permutation)
            .fill("load", LOAD[usize::from(self.b_vec4)])
            .fill("store", STORE[usize::from(self.c_vec4)])
            .constant("B_BF16", op.b == DType::Bf16)
            .constant("C_BF16", op.c == DType::Bf16)
            .constant("ACROSS", self.across)
    }
}

/// `0..of` in runs of at most `part`; one empty run of nothing.
fn ranges(of: u64, part: u64) -> impl Iterator<Item = Range<u64>> + Clone {
    (0..of.div_ceil(part).max(1)).map(move |i| i * part..(i * part).saturating_add(part).min(of))
}

fn dispatches(op: &Spmm, gpu: &Gpu, form: Form) -> Result<Vec<Dispatch>> {
    let (a, b, c) = (op.a(), op.b(), op.c());
    if c.is_empty() {
        return Ok(Vec::new());
    }
    let pipeline = gpu.pipeline(&form.permutation(op))?;
    let (b_ld, c_ld, n) = (b.row_words(), c.row_words(), op.n as u64);
    // A window may start up to one alignment before its first word, and vectors reach past its last.
    let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
    check_limit(OP, "bytes of a row of B", 4 * b_ld, binding)?;
    // Even, so that windows of 16-bit entries begin on whole words.
    let entries_fit = (binding / 4 / 2 * 2).max(2);
    let (longest, part) = (a.longest(), form.most_entries(gpu.turn_cap()));
    let mut windows = Vec::new();
    for entries in ranges(op.nnz as u64, entries_fit) {
        let longest = longest.min(entries.end - entries.start);
        for b_rows in ranges(op.cols as u64, binding / (4 * b_ld.max(1))) {
            let skips = ranges(longest, part).map(|of_row| of_row.start);
            windows.extend(skips.map(|skip| (entries.clone(), b_rows.clone(), skip)));
        }
    }
    // What is said of the longest row may be wrong: the parts together walk so many entries of a row.
    let most = (longest.div_ceil(part).max(1) * part).min(u32::MAX.into());
    let widest = 4 * if windows.len() > 1 { c_ld.max(n) } else { c_ld };
    check_limit(OP, "bytes of a row of C", widest, binding)?;
    let work = (a.mean() + 1) * n;
    let rows_per_group = u64::from(if form.cached { 1 } else { GROUP / form.across });
    let tiles = n.div_ceil(8 * u64::from(form.across));
    let mut all = Vec::new();
    for range in split_rows(gpu, op.rows as u64, work, widest, rows_per_group) {
        let rows = range.end - range.start;
        for (i, (entries, b_rows, skip)) in windows.iter().enumerate() {
            let (first, last) = (i == 0, i + 1 == windows.len());
            let count = entries.end - entries.start;
            let partials = match first && last {
                true => Words::absent(),
                false => Words::scratch(0..rows * n),
            };
            let dispatch = a
                .bind(Dispatch::new(&pipeline), entries)
                .set("rows", rows)
                .set("n", n)
                .set("b_ld", b_ld)
                .set("c_ld", c_ld)
                .set("entry_base", entries.start)
                .set("entry_count", count)
                .set("b_base", b_rows.start)
                .set("b_count", b_rows.end - b_rows.start)
                .set("first", first)
                .set("last", last)
                .set("skip", *skip)
                .set("take", part)
                .set("most", most)
                .bind("row_ptr", Words::of("row_ptr", range.start..range.end + 1))
                .bind("src", Words::of("b", b.part(b_rows, &(0..n))))
                .bind("dst", Words::of("c", c.part(&range, &(0..n))))
                .bind("partials", partials)
                .linear_groups(gpu, rows.div_ceil(rows_per_group) * tiles)
                .work(rows * work)
                .turns(form.turns(part.min(count)));
            all.push(dispatch);
        }
    }
    Ok(all)
}

fn permutations(cached: bool) -> Vec<Permutation> {
    let mut all = Vec::new();
    for (bits, n) in (0..64).flat_map(|bits| [8, 16, 32, 64, 128, 256, 512].map(|n| (bits, n))) {
        let [b_vec4, c_vec4, b, c, packed, v] = [0, 1, 2, 3, 4, 5].map(|bit| bits >> bit & 1 == 1);
        let float = |half| if half { DType::Bf16 } else { DType::F32 };
        let index = if packed { DType::U16 } else { DType::U32 };
        let a = Sparse::of_types(index, float(v));
        let op = Spmm::of(a, n, (float(b), n), (float(c), n));
        let mut form = Form::new(&op, Offsets::Any, cached);
        (form.b_vec4, form.c_vec4) = (b_vec4, c_vec4);
        all.push(form.permutation(&op));
    }
    all
}
