use super::{Spmv, merge};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::kernels::shared::csr::Sparse;
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;
/// Invocations that share a row.
const LANES: u32 = 32;

// SAFETY: a loop over entries that `csr_ends` keeps to the matrix's, in steps of 1; no array.
static SCALAR: Shader = unsafe {
    Shader::new(
        "spmv/scalar.wgsl",
        include_str!("../../../shaders/spmv/scalar.wgsl"),
    )
    .trusted()
};
// SAFETY: loops over entries that `csr_ends` keeps to the matrix's, which lie in one binding, in steps of LANES, and
// halving LANES; `partial` has a place for each invocation, and one `half` on is of the same row.
static VECTOR: Shader = unsafe {
    Shader::new(
        "spmv/vector.wgsl",
        include_str!("../../../shaders/spmv/vector.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Spmv> = Variants(&[
    Variant {
        name: "vector",
        serves: |op, gpu, _| serves(op, gpu, true),
        rank: |op, gpu| rank(op, gpu, true),
        dispatches: |op, gpu, _| dispatches(op, gpu, true),
        permutations: || every(&|op| permutation(op, true)),
    },
    Variant {
        name: "scalar",
        serves: |op, gpu, _| serves(op, gpu, false),
        rank: |op, gpu| rank(op, gpu, false),
        dispatches: |op, gpu, _| dispatches(op, gpu, false),
        permutations: || every(&|op| permutation(op, false)),
    },
    Variant {
        name: "merge",
        serves: |op, gpu, _| merge::serves(op, gpu, true),
        rank: |op, gpu| merge_rank(op, gpu, true),
        dispatches: |op, gpu, _| merge::dispatches(op, gpu, true),
        permutations: || {
            [
                every(&|op| merge::permutation(op, true)),
                vec![merge::carry(true)],
            ]
            .concat()
        },
    },
    Variant {
        name: "merge_scalar",
        serves: |op, gpu, _| merge::serves(op, gpu, false),
        rank: |op, gpu| merge_rank(op, gpu, false),
        dispatches: |op, gpu, _| merge::dispatches(op, gpu, false),
        permutations: || {
            [
                every(&|op| merge::permutation(op, false)),
                vec![merge::carry(false)],
            ]
            .concat()
        },
    },
]);

/// Bytes that one window may span: it may start up to one alignment before its first word.
pub(super) fn window_bytes(gpu: &Gpu) -> u64 {
    gpu.limits().max_storage_buffer_binding_size.saturating_sub(512)
}

/// Whether column indices, values and x each fit one binding, which the row kernels need.
fn fits_one_binding(op: &Spmv, gpu: &Gpu) -> bool {
    let views = [op.a().col_idx(), op.a().values(), op.x()];
    views.iter().all(|view| view.bytes() <= window_bytes(gpu))
}

/// The row kernels where their bindings and the turns that a row takes allow it; where nothing else would serve, they
/// stand for the limit that planning reports.
fn serves(op: &Spmv, gpu: &Gpu, vector: bool) -> bool {
    let merges = [false, true].iter().any(|staged| merge::serves(op, gpu, *staged));
    match merges {
        true => fits_one_binding(op, gpu) && walks(op, gpu, vector),
        false => walks(op, gpu, vector) || !walks(op, gpu, !vector),
    }
}

/// Whether it is said that no row takes more turns than the device allows.
fn walks(op: &Spmv, gpu: &Gpu, vector: bool) -> bool {
    turns(op.a().longest(), vector) <= gpu.turn_cap()
}

/// The row kernel that suits rows of this length.
fn prefers_vector(op: &Spmv, gpu: &Gpu) -> bool {
    !gpu.is_software() && op.nnz >= 8 * op.rows
}

fn rank(op: &Spmv, gpu: &Gpu, vector: bool) -> u32 {
    2 + u32::from(vector != prefers_vector(op, gpu))
}

/// Before the row kernels where a single row would keep the others waiting, or the better of them may not walk it.
fn merge_rank(op: &Spmv, gpu: &Gpu, staged: bool) -> u32 {
    let first = op.is_skewed() || !walks(op, gpu, prefers_vector(op, gpu));
    u32::from(staged == gpu.is_software()) + if first { 0 } else { 4 }
}

/// Turns of one invocation: the row's entries (scalar.wgsl), or a share of them and the tree (vector.wgsl).
fn turns(entries: u64, vector: bool) -> u64 {
    match vector {
        true => looped(entries.div_ceil(LANES.into()), 0) + TREE,
        false => looped(entries, 0),
    }
}

const TREE: u64 = looped(LANES.ilog2() as u64, 0);

/// The most entries of a row that stay under a cap on turns.
fn most(cap: u64, vector: bool) -> u64 {
    match vector {
        true => cap.saturating_sub(1 + TREE).saturating_mul(LANES.into()),
        false => cap.saturating_sub(1),
    }
    .min(u32::MAX.into())
}

fn dispatches(op: &Spmv, gpu: &Gpu, vector: bool) -> Result<Vec<Dispatch>> {
    let rows_per_group = u64::from(if vector { GROUP / LANES } else { GROUP });
    let pipeline = gpu.pipeline(&permutation(op, vector))?;
    let (a, x) = (op.a(), op.x());
    let most = most(gpu.turn_cap(), vector);
    // What is said of the longest row may be wrong: the kernels stop at `most`. A matrix that says more is refused.
    let walked = most.min(op.nnz as u64).max(a.longest());
    let dispatch = |range: std::ops::Range<u64>| {
        let rows = range.end - range.start;
        a.bind(Dispatch::new(&pipeline), &(0..op.nnz as u64))
            .set("rows", rows)
            .set("nnz", if op.cols > 0 { op.nnz } else { 0 })
            .set("last_column", op.cols.saturating_sub(1))
            .set("most", most)
            .bind("row_ptr", Words::of("row_ptr", range.start..range.end + 1))
            .bind("x", Words::of("x", 0..x.words()))
            .bind("y", Words::of("y", range))
            .linear_groups(gpu, rows.div_ceil(rows_per_group))
            .work(rows * (a.mean() + 1))
            .turns(turns(walked, vector))
    };
    let ranges = split_rows(gpu, op.rows as u64, a.mean() + 1, 4, rows_per_group);
    Ok(ranges.into_iter().map(dispatch).collect())
}

fn permutation(op: &Spmv, vector: bool) -> Permutation {
    let permutation = match vector {
        true => Permutation::new(&VECTOR).constant("LANES", LANES),
        false => Permutation::new(&SCALAR),
    };
    constants(op, permutation.constant("GROUP", GROUP))
}

/// The constants that tell the operands' types.
pub(super) fn constants(op: &Spmv, permutation: Permutation) -> Permutation {
    op.a()
        .constants(permutation)
        .constant("X_BF16", op.x == DType::Bf16)
}

/// A permutation for every mixture of types.
fn every(permutation: &dyn Fn(&Spmv) -> Permutation) -> Vec<Permutation> {
    let floats = [DType::F32, DType::Bf16];
    let mut all = Vec::new();
    for index in [DType::U32, DType::U16] {
        for (values, x) in floats.into_iter().flat_map(|values| floats.map(|x| (values, x))) {
            all.push(permutation(&Spmv::of(Sparse::of_types(index, values), x)));
        }
    }
    all
}
