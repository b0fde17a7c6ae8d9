//! Matmul on a GPU: its variants, their kernels, and what every dispatch of a product has.

use std::ops::Range;
use std::sync::Arc;

use super::access::{Access, Source};
use super::cut::{cut, ranges, within};
use super::form::{Form, GROUP, Kind, along_k, is_thin};
use super::{Matmul, MatrixLayout, OP, bf16, decoded, split};
use crate::error::{Error, Result};
use crate::format::random::Generator;
use crate::gpu::{Dispatch, File, Gpu, Offsets, Permutation, Pipeline, Shader, Words};
use crate::kernels::shared::{coded, decoding};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

/// A file of matmul's folder below `shaders/`.
macro_rules! file {
    ($name:literal) => {
        File::new(
            concat!("matmul/", $name, ".wgsl"),
            include_str!(concat!("../../../shaders/matmul/", $name, ".wgsl")),
        )
    };
}

/// The files that matmul's kernels share, and those that fill their slots.
const FILES: &[File] = &[
    file!("common"),
    file!("load_vec4"),
    file!("load_word"),
    file!("vec_common"),
    file!("plain"),
    file!("coded"),
    file!("coop_slabs"),
    file!("coop_finish"),
    file!("unit8"),
    file!("unit16"),
];

/// A kernel of matmul's.
macro_rules! shader {
    ($name:literal) => {{
        let file = file!($name);
        Shader::new(file.path, file.text).files(FILES)
    }};
}

// Of all of them: `emit` goes through eight columns at most in steps of 1, of which its `v` has a place each; `pick` and
// `half_word` mask their indices; extents are below 2^31 (`Matmul::check`), and steps of loops over them are constants.

// SAFETY: loops go through `k` in steps of 8, and through eight rows, whose sums stand two by two in 16 places.
static DIRECT: Shader = unsafe { shader!("direct").trusted() };
// SAFETY: loops go through `k` block by block, each of which ends past its start (there are blocks: `Kind::serves`),
// in steps of 8, and through eight columns and four rows, of which `dots` and `sums` have a place each.
static BLOCKS: Shader = unsafe { shader!("blocks").trusted() };
// SAFETY: loops go through a part of `k` in steps of TILE_K, through TILE_K, and through eight rows, whose sums stand
// two by two in 16 places; `slot` is below 2 * SLAB: of two slabs, TILE_K times TILE / 4 vectors, two halves of ACROSS
// runs each. Lanes that load have a unit below UNITS: eight k, or four, that end with TILE_K, and four columns, or
// eight, that end with TILE.
static TILED: Shader = unsafe { shader!("tiled").trusted() };
// SAFETY: loops go through `k` in steps of 8 K_LANES, through VECTORS, eight at most, whose sums stand two by two in
// 16 places, and halve K_LANES; `place` is below LANES, and as far as `part + stride` is below K_LANES so is the one
// that is added.
static VEC: Shader = unsafe { shader!("vec").trusted() };
// SAFETY: loops go through `k` in steps of 8 LANES, through VECTORS, eight at most, whose sums stand two by two in 16
// places, and through the subgroups, of which a group of LANES lanes has no more than lanes: numbers below LANES.
static VEC_SUBGROUP: Shader = unsafe { shader!("vec_subgroup").trusted() };
// SAFETY: a loop goes through `splits` in steps of 1.
pub(super) static REDUCE: Shader = unsafe { shader!("reduce").trusted() };
// SAFETY: loops go through `k` in steps of TILE_K or 8, through units in steps of LANES, through runs in steps of
// SUBGROUP, and through the outliers: `list` writes those below CAPACITY, and where there were more `plain` starts
// again and reads none; an outlier's rank is below their number, since it is not before itself. Units are below UNITS,
// so that their runs lie in a slab: TILE_K rows of A_PITCH (B_PITCH) vectors, or TILE of them. There are SUBGROUPS
// subgroups, or `plain` runs, and `sums_out` has UNIT * UNIT sums for each. `plain` puts two slabs of TILE by 8 there.
// Components are those of loops over four, masked (`at & 3u`), or told apart (`t < 4u`).
pub(super) static COOP: Shader = unsafe { shader!("coop").trusted() };
/// Bindings and parameters of the kernel in SPIR-V, for the host alone.
pub(super) static BF16: Shader = shader!("bf16_interface");

/// A row of the table.
macro_rules! variant {
    ($name:literal, $kind:expr) => {
        Variant {
            name: $name,
            serves: |op, gpu, offsets| $kind.serves(op, gpu, offsets),
            rank: |op, gpu| rank($kind, op, gpu),
            dispatches: |op, gpu, offsets| dispatches($kind, op, gpu, offsets),
            permutations: || permutations($kind),
        }
    };
}

pub(in crate::kernels) static VARIANTS: Variants<Matmul> = Variants(&[
    variant!("vec_subgroup", Kind::VecSubgroup),
    variant!("vec", Kind::Vec),
    variant!("vec_serial", Kind::VecSerial),
    variant!("direct", Kind::Direct),
    variant!("tiled128", Kind::Tiled128),
    variant!("tiled64", Kind::Tiled64),
    variant!("split_k", Kind::SplitK),
    variant!("blocks", Kind::Blocks),
    variant!("coop", Kind::Coop),
    variant!("bf16", Kind::Bf16),
    variant!("decoded", Kind::Decoded),
]);

/// Units first, then what is made for few rows or columns, then tiles; on software adapters, which emulate units and
/// pay for barriers, units last and lanes on their own before those that work together.
pub(super) fn rank(kind: Kind, op: &Matmul, gpu: &Gpu) -> u32 {
    let software = gpu.is_software();
    // Emulated units lose to `direct`; matrix-vector products wait for memory, whatever multiplies.
    let units_last = software || is_thin(op);
    let tiles = op.m.div_ceil(128) as u64 * op.n.div_ceil(128) as u64;
    let many = tiles * op.batch as u64 >= 64;
    // Few outputs of long sums leave most of a GPU idle unless groups share each sum.
    let few = split::parts(op, op.m as u64, op.n as u64, op.batch as u64) > 2;
    match kind {
        Kind::Bf16 => [0, 91][usize::from(units_last)],
        Kind::Coop => [1, 90][usize::from(units_last)],
        Kind::VecSubgroup => [10, 12][usize::from(software)],
        Kind::Vec => 11,
        Kind::VecSerial => [12, 10][usize::from(software)],
        Kind::Direct => [40, 20][usize::from(software)],
        Kind::Blocks => 50,
        Kind::Tiled128 if many => 30,
        Kind::Tiled64 if many => 31,
        Kind::SplitK if many => 32,
        Kind::SplitK if few => 30,
        Kind::Tiled64 if few => 31,
        Kind::Tiled128 if few => 32,
        Kind::Tiled64 => 30,
        Kind::Tiled128 => 31,
        Kind::SplitK => 32,
        Kind::Decoded => decoded::rank(op, gpu),
    }
}

fn permutation(form: Form, access: Access) -> Permutation {
    match form {
        Form::Direct => access
            .complete(Permutation::new(&DIRECT))
            .constant("GROUP", GROUP as u32),
        Form::Blocks => access
            .complete(Permutation::new(&BLOCKS))
            .constant("GROUP", GROUP as u32),
        Form::Tiled { tile, depth } => access
            .complete(Permutation::new(&TILED))
            .constant("TILE", tile)
            .constant("TILE_K", depth)
            // Two f32 slabs of each operand.
            .workgroup_memory(4 * tile * depth * 4),
        Form::Coop(unit) => access.complete(unit.permutation()),
        Form::Bf16(unit) => bf16::permutation(unit, access.transposed),
        Form::Vec {
            swap,
            vectors,
            out_lanes,
            k_lanes,
            subgroups,
        } => {
            let shader = if subgroups > 0 { &VEC_SUBGROUP } else { &VEC };
            let common = access
                .complete(Permutation::new(shader))
                .constant("SWAP", swap)
                .constant("VECTORS", vectors);
            if subgroups > 0 {
                common.enable("subgroups").constant("LANES", k_lanes)
            } else {
                common
                    .constant("OUT_LANES", out_lanes)
                    .constant("K_LANES", k_lanes)
            }
        }
    }
}

/// Every permutation of a variant, those of the dispatches that end it included.
fn permutations(kind: Kind) -> Vec<Permutation> {
    let serves = |form: Form, access: &Access| match (kind, form) {
        (Kind::VecSubgroup, Form::Vec { swap, .. }) => along_k(swap, access.transposed),
        (Kind::Coop, _) => access.sources == [Source::Bf16; 2],
        (Kind::Blocks, _) => access
            .sources
            .iter()
            .all(|source| source.kind().is_some_and(coded::is_even)),
        // It makes sums of bf16, with 16-byte loads, and leaves the rest to the reduction.
        (Kind::Bf16, _) => access.vec4 && access.sources == [Source::Bf16; 2] && access.draws.is_none(),
        (Kind::VecSubgroup | Kind::Vec | Kind::VecSerial | Kind::Tiled64 | Kind::SplitK, _) => true,
        (Kind::Decoded, Form::Coop(_)) => access.sources == [Source::Bf16; 2],
        (Kind::Direct | Kind::Tiled128 | Kind::Decoded, _) => {
            access.sources.iter().all(|source| source.kind().is_none())
        }
    };
    let mut all = Vec::new();
    for form in kind.forms() {
        let accesses = Access::all().into_iter().filter(|access| serves(form, access));
        all.extend(accesses.map(|access| permutation(form, access)));
    }
    if matches!(kind, Kind::SplitK | Kind::Bf16) {
        let draws = [None, Some(Generator::Threefry), Some(Generator::Philox)];
        all.extend(draws.map(split::reduction));
    }
    if kind == Kind::Decoded {
        all.extend(decoding::permutations());
    }
    all
}

pub(super) fn dispatches(kind: Kind, op: &Matmul, gpu: &Gpu, offsets: Offsets) -> Result<Vec<Dispatch>> {
    if op.is_empty() {
        return Ok(Vec::new());
    }
    let form = kind.form(op, gpu).ok_or_else(|| Error::Unsupported {
        op: OP,
        what: format!("variant {kind:?}"),
        device: "a GPU without matrix units that its kernel is written for",
    })?;
    let pipeline = || gpu.pipeline(&permutation(form, Access::of(op, offsets)));
    match kind {
        Kind::Decoded => decoded::dispatches(op, gpu, offsets),
        Kind::Bf16 => split::sums_then_reduction(op, gpu, &pipeline()?, form),
        Kind::SplitK => split::shared_sums(op, gpu, &pipeline()?, form),
        Kind::VecSubgroup
        | Kind::Vec
        | Kind::VecSerial
        | Kind::Direct
        | Kind::Tiled128
        | Kind::Tiled64
        | Kind::Blocks
        | Kind::Coop => {
            let pipeline = pipeline()?;
            let cut = cut(op, gpu, form.tile(), false, form.turns().deepest(OP, gpu)?)?;
            let mut dispatches = Vec::new();
            for batches in ranges(op.batch as u64, cut.batches) {
                dispatches.extend(cut_products(op, &pipeline, form, &cut, &batches));
            }
            Ok(dispatches)
        }
    }
}

/// The dispatches of a range of batches, cut.
pub(super) fn cut_products(
    op: &Matmul,
    pipeline: &Arc<Pipeline>,
    form: Form,
    cut: &super::cut::Cut,
    outer: &Range<u64>,
) -> Vec<Dispatch> {
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let mut dispatches = Vec::new();
    for batches in within(outer, cut.batches) {
        for cols in ranges(n, cut.cols) {
            for rows in ranges(m, cut.rows) {
                // K = 0 still has an epilogue.
                for ks in ranges(k.max(1), cut.ks) {
                    let part = Part {
                        batches: batches.clone(),
                        rows: rows.clone(),
                        cols: cols.clone(),
                        ks: ks.start..ks.end.min(k),
                    };
                    dispatches.push(product(op, pipeline, form, &part));
                }
            }
        }
    }
    dispatches
}

/// The part of a product that one dispatch makes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) batches: Range<u64>,
    pub(super) rows: Range<u64>,
    pub(super) cols: Range<u64>,
    pub(super) ks: Range<u64>,
}

const fn len(range: &Range<u64>) -> u64 {
    range.end - range.start
}

impl Part {
    /// Batches, rows, columns and k.
    pub(super) const fn extents(&self) -> [u64; 4] {
        [
            len(&self.batches),
            len(&self.rows),
            len(&self.cols),
            len(&self.ks),
        ]
    }
}

// The flags of shaders/matmul/common.wgsl.
const BETA: u32 = 1;
const BIAS_F32: u32 = 2;
const BIAS_BF16: u32 = 4;
const RELU: u32 = 8;
const C_BF16: u32 = 16;
pub(super) const FIRST: u32 = 32;
const LAST: u32 = 64;

/// What is to be done beside adding up products, for parts of K that begin and end it or do not.
pub(super) fn flags(op: &Matmul, first: bool, last: bool) -> u32 {
    let all = [
        (BETA, op.reads_c()),
        (BIAS_F32, op.bias == Some(DType::F32)),
        (BIAS_BF16, op.bias == Some(DType::Bf16)),
        (RELU, op.relu),
        (C_BF16, op.c.dtype() == DType::Bf16),
        (FIRST, first),
        (LAST, last),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).sum()
}

/// A dispatch of a part with what does not depend on who makes it and where its sums go.
pub(super) fn base(op: &Matmul, pipeline: &Arc<Pipeline>, part: &Part) -> Dispatch {
    let (m, n) = (op.m as u64, op.n as u64);
    let [batches, rows, cols, ks] = part.extents();
    // A distance that the dispatch does not go may pass 32 bits.
    let apart = |count: u64, words: u64| if count > 1 { words } else { 0 };
    let ld = |matrix: &MatrixLayout, rows| apart(rows, matrix.row_words());
    let stride = |matrix: &MatrixLayout| apart(batches, matrix.batch_words());
    let dispatch = Dispatch::new(pipeline)
        .set("m", rows)
        .set("n", cols)
        .set("k", ks)
        .set("a_ld", ld(&op.a, if op.a.transposed { ks } else { rows }))
        .set("b_ld", ld(&op.b, if op.b.transposed { cols } else { ks }))
        .set("c_ld", ld(&op.c, rows))
        .set("a_batch", stride(&op.a))
        .set("b_batch", stride(&op.b))
        .set("c_batch", stride(&op.c))
        .set("alpha", op.alpha.get())
        .set("beta", op.beta.get())
        .set_wide(
            ["base_lo", "base_hi"],
            op.draw
                .index((part.batches.start * m + part.rows.start) * n + part.cols.start),
        )
        .set("index_row", n)
        .set("index_batch", apart(batches, m * n))
        .set("stream", op.draw.stream);
    let names = [A_PARAMS, B_PARAMS];
    let matrices = [(&op.a, rows), (&op.b, cols)];
    let coded = matrices
        .into_iter()
        .zip(names)
        .fold(dispatch, |dispatch, ((matrix, rows), names)| {
            let words = matrix
                .format()
                .map(|format| coded::ElementWords::of(format.element()));
            let block = match matrix.format() {
                Some(format) if coded::tensor_scaled(format) => WHOLE_TENSOR,
                Some(format) => format.block_size().unwrap_or(0),
                None => 0,
            };
            let values = [
                block,
                words.map_or(0, |words| words.bits),
                words.map_or(0, |words| words.fraction),
                words.map_or(0, |words| words.bias),
                words.map_or(0, |words| words.max_code),
                words.map_or(0, |words| words.infinity),
            ];
            let dispatch = values
                .into_iter()
                .zip(names)
                .fold(dispatch, |dispatch, (value, name)| dispatch.set(name, value));
            let scales = matrix.scale_row_words();
            dispatch
                .set(names[6], apart(rows, scales))
                .set(names[7], apart(batches, matrix.batch_rows() as u64 * scales))
        });
    coded.set("k_first", if op.is_coded() { part.ks.start } else { 0 })
}

/// The parameters of an operand of codes, in the order of `base`.
const A_PARAMS: [&str; 8] = [
    "a_block",
    "a_bits",
    "a_fraction",
    "a_bias",
    "a_max_code",
    "a_infinity",
    "a_scale_ld",
    "a_scale_batch",
];
const B_PARAMS: [&str; 8] = [
    "b_block",
    "b_bits",
    "b_fraction",
    "b_bias",
    "b_max_code",
    "b_infinity",
    "b_scale_ld",
    "b_scale_batch",
];
/// `a_block` and `b_block` of codes of which the whole tensor shares a scale.
const WHOLE_TENSOR: u32 = u32::MAX;

/// Of a kernel that reads no codes.
pub(super) fn without_scales(dispatch: Dispatch) -> Dispatch {
    dispatch.set("a_scales_offset", 0u32).set("b_scales_offset", 0u32)
}

/// Binds A and B, and the scales of codes.
pub(super) fn operands(dispatch: Dispatch, op: &Matmul, part: &Part) -> Dispatch {
    let Part {
        batches,
        rows,
        cols,
        ks,
    } = part;
    let read = |name, matrix: &MatrixLayout, row: &Range<u64>, col: &Range<u64>| {
        if ks.is_empty() {
            return Words::absent();
        }
        let first = matrix.word(batches.start, row.start, col.start);
        let words = matrix.words_read(len(batches), len(row), len(col));
        Words::of(name, first..first + words)
    };
    let a = if op.a.transposed { [ks, rows] } else { [rows, ks] };
    let b = if op.b.transposed { [cols, ks] } else { [ks, cols] };
    let dispatch = dispatch
        .bind("a", read("a", &op.a, a[0], a[1]))
        .bind("b", read("b", &op.b, b[0], b[1]));
    if !op.is_coded() {
        return without_scales(dispatch);
    }
    let scales = |name, matrix: &MatrixLayout, rows: &Range<u64>| match matrix.scaled() {
        Some(_) if ks.is_empty() => Words::absent(),
        None => Words::absent(),
        Some(format) => {
            let head = format.head_words() as u64;
            if head > 0 {
                return Words::of(name, 0..head);
            }
            let per_row = matrix.scale_row_words();
            let first = (batches.start * matrix.batch_rows() as u64 + rows.start) * per_row;
            let words = matrix.scales_words(len(batches), len(rows), 1);
            Words::of(name, first..first + words)
        }
    };
    dispatch
        .bind("a_scales", scales(super::A[1], &op.a, rows))
        .bind("b_scales", scales(super::B[1], &op.b, cols))
}

/// Binds the bias and C.
pub(super) fn results(dispatch: Dispatch, op: &Matmul, part: &Part) -> Dispatch {
    let bias = op.bias.map_or(Words::absent(), |dtype| {
        let first = dtype.words(part.cols.start);
        Words::of("bias", first..first + dtype.words(len(&part.cols)))
    });
    let first = op.c.word(part.batches.start, part.rows.start, part.cols.start);
    let [batches, rows, cols, _] = part.extents();
    let words = op.c.words(batches, rows, cols);
    dispatch
        .bind("bias", bias)
        .bind("c", Words::of("c", first..first + words))
}

/// The dispatch of a part whose groups go through all of its k: it writes C if that is all of K, and else passes sums
/// on from one part to the next.
pub(super) fn product(op: &Matmul, pipeline: &Arc<Pipeline>, form: Form, part: &Part) -> Dispatch {
    let (k, [batches, rows, cols, ks]) = (op.terms() as u64, part.extents());
    let sums = batches * rows * cols;
    let partials = if ks < k {
        Words::scratch(0..sums)
    } else {
        Words::absent()
    };
    results(operands(base(op, pipeline, part), op, part), op, part)
        .set("flags", flags(op, part.ks.start == 0, part.ks.end == k))
        .set("splits", 1u32)
        .set("split_k", ks)
        .bind("partials", partials)
        .groups(form.groups(rows, cols, batches))
        .work(sums * ks.max(1))
        .turns(form.turns().of(ks))
}
