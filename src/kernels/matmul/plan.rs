//! Matmul on a GPU: its kernels, and how a product is cut into dispatches.

use std::ops::Range;

use super::coop::{self, Unit};
use super::cut::{cut, ranges, within};
use super::form::{Form, GROUP, TILED64};
use super::split::{
    part_depth, parts, reduction, reduction_step, split_parts, split_step, sums_then_reduction,
};
use super::{Matmul, OP, bf16};
use crate::error::Result;
use crate::format::random::Generator;
use crate::gpu::{Binding, Gpu, Kernel, Offsets, Permutation, Step, Window};
use crate::shaders;
use crate::tensor::DType;

const BETA: u32 = 1;
const BIAS_F32: u32 = 2;
const BIAS_BF16: u32 = 4;
const RELU: u32 = 8;
const C_BF16: u32 = 16;
pub(super) const FIRST: u32 = 32;
const LAST: u32 = 64;

pub(super) const FLAGS: usize = 11;
const A_OFFSET: usize = 17;
const B_OFFSET: usize = 18;
const C_OFFSET: usize = 19;
const BIAS_OFFSET: usize = 20;
pub(super) const PARTIAL_OFFSET: usize = 21;
pub(super) const SPLITS: usize = 22;
pub(super) const SPLIT_DEPTH: usize = 23;

const fn bindings(vec4: bool) -> [Binding; 7] {
    let (a, b) = (Binding::read("a"), Binding::read("b"));
    [
        Binding::params(24),
        Binding::step(),
        if vec4 { a.vec4() } else { a },
        if vec4 { b.vec4() } else { b },
        Binding::read("bias"),
        Binding::write("c"),
        Binding::write("partials"),
    ]
}

pub(super) static VEC4_BINDINGS: [Binding; 7] = bindings(true);
pub(super) static WORD_BINDINGS: [Binding; 7] = bindings(false);

/// The kernels of one shader file, with 16-byte loads and with single words.
macro_rules! kernels {
    ($vec4:ident, $word:ident, $name:literal, $($file:literal),+) => {
        static $vec4: Kernel = Kernel {
            name: concat!($name, "[vec4]"),
            sources: &[
                shaders::STEP,
                shaders::BF16,
                shaders::RANDOM,
                include_str!("../../../shaders/matmul/matmul_load_vec4.wgsl"),
                include_str!("../../../shaders/matmul/matmul_common.wgsl"),
                $(include_str!($file),)+
            ],
            bindings: &VEC4_BINDINGS,
        };
        static $word: Kernel = Kernel {
            name: concat!($name, "[word]"),
            sources: &[
                shaders::STEP,
                shaders::BF16,
                shaders::RANDOM,
                include_str!("../../../shaders/matmul/matmul_load_word.wgsl"),
                include_str!("../../../shaders/matmul/matmul_common.wgsl"),
                $(include_str!($file),)+
            ],
            bindings: &WORD_BINDINGS,
        };
    };
}

kernels!(
    DIRECT_VEC4,
    DIRECT_WORD,
    "matmul_direct",
    "../../../shaders/matmul/matmul_direct.wgsl"
);
kernels!(
    TILED_VEC4,
    TILED_WORD,
    "matmul_tiled",
    "../../../shaders/matmul/matmul_tiled.wgsl"
);
kernels!(
    VEC_VEC4,
    VEC_WORD,
    "matmul_vec",
    "../../../shaders/matmul/matmul_vec_common.wgsl",
    "../../../shaders/matmul/matmul_vec.wgsl"
);
kernels!(
    SUBGROUP_VEC4,
    SUBGROUP_WORD,
    "matmul_vec_subgroup",
    "../../../shaders/matmul/matmul_vec_common.wgsl",
    "../../../shaders/matmul/matmul_vec_subgroup.wgsl"
);

/// Whether kernels may ask for a subgroup's number: browsers have that behind an extension of their own.
fn has_subgroups(gpu: &Gpu) -> bool {
    gpu.features().contains(wgpu::Features::SUBGROUP) && cfg!(not(target_arch = "wasm32"))
}

/// The variants, the preferred one first.
pub(super) fn variants(op: &Matmul, gpu: &Gpu, offsets: Offsets) -> Vec<&'static str> {
    if op.c.dtype == DType::F64 {
        // WGSL has no f64.
        return Vec::new();
    }
    let tiles = op.m.div_ceil(128) as u64 * op.n.div_ceil(128) as u64;
    let mut names = Vec::new();
    if op.m <= 8 || op.n <= 8 {
        // Lanes side by side along K read side by side only where the thick operand lies along it.
        let along_k = if op.m > 8 {
            !op.a.transposed
        } else {
            op.b.transposed
        };
        let subgroups = along_k && has_subgroups(gpu);
        if gpu.is_software() {
            names.extend(["vec_serial", "vec"]);
            names.extend(subgroups.then_some("vec_subgroup"));
        } else {
            names.extend(subgroups.then_some("vec_subgroup"));
            names.extend(["vec", "vec_serial"]);
        }
    }
    // Few outputs of long sums leave most of a GPU idle unless groups share each sum.
    let few = parts(op, op.m as u64, op.n as u64, op.batch as u64) > 2;
    let tiled = match (tiles * op.batch as u64 >= 64, few) {
        (true, _) => ["tiled128", "tiled64", "split_k"],
        (false, true) => ["split_k", "tiled64", "tiled128"],
        (false, false) => ["tiled64", "tiled128", "split_k"],
    };
    if gpu.is_software() {
        names.push("direct");
        names.extend(tiled);
    } else {
        names.extend(tiled);
        names.push("direct");
    }
    for (name, serves) in [
        ("coop", coop::serves(op, gpu)),
        ("bf16", bf16::serves(op, gpu, offsets)),
    ] {
        // Emulated units lose to `direct`; matrix-vector products wait for memory, whatever multiplies.
        let last = gpu.is_software() || op.m <= 8 || op.n <= 8;
        if serves {
            names.insert(if last { names.len() } else { 0 }, name);
        }
    }
    // A cap on turns below what is usual leaves no room for some. Where it leaves none, planning says so.
    let runs = |name: &'static str| Form::of(op, name, gpu).turns().deepest(OP, gpu).is_ok();
    if names.iter().any(|name| runs(name)) {
        names.retain(|name| runs(name));
    }
    names
}

fn permutation(
    form: Form,
    vec4: bool,
    bf16: [bool; 2],
    transposed: [bool; 2],
    stochastic: Option<Generator>,
) -> Permutation {
    let base = match (form, vec4) {
        (Form::Bf16(unit), _) => return bf16::permutation(unit, transposed),
        (Form::Coop(unit), vec4) => unit.permutation(vec4),
        (Form::Direct, true) => Permutation::new(&DIRECT_VEC4),
        (Form::Direct, false) => Permutation::new(&DIRECT_WORD),
        (Form::Tiled { .. }, true) => Permutation::new(&TILED_VEC4),
        (Form::Tiled { .. }, false) => Permutation::new(&TILED_WORD),
        (Form::Vec { subgroups: 0, .. }, true) => Permutation::new(&VEC_VEC4),
        (Form::Vec { subgroups: 0, .. }, false) => Permutation::new(&VEC_WORD),
        (Form::Vec { .. }, vec4) => {
            Permutation::new(if vec4 { &SUBGROUP_VEC4 } else { &SUBGROUP_WORD }).enable("subgroups")
        }
    };
    let common = base
        .library(shaders::generator(stochastic.unwrap_or_default()))
        .constant("A_BF16", bf16[0])
        .constant("B_BF16", bf16[1])
        .constant("A_TRANSPOSED", transposed[0])
        .constant("B_TRANSPOSED", transposed[1])
        .constant("STOCHASTIC", stochastic.is_some());
    match form {
        Form::Direct => common.constant("GROUP", GROUP as u32),
        Form::Tiled { tile, depth, .. } => common
            .constant("TILE", tile)
            .constant("TILE_K", depth)
            // Two f32 slabs of each operand.
            .workgroup_memory(4 * tile * depth * 4),
        Form::Bf16(_) | Form::Coop(_) => common,
        Form::Vec {
            swap,
            vectors,
            out_lanes,
            k_lanes,
            subgroups,
        } => {
            let common = common.constant("SWAP", swap).constant("VECTORS", vectors);
            if subgroups > 0 {
                common.constant("LANES", k_lanes)
            } else {
                common
                    .constant("OUT_LANES", out_lanes)
                    .constant("K_LANES", k_lanes)
            }
        }
    }
}

/// Every kernel with every decoding, and with every generator.
pub(crate) fn permutations() -> Vec<Permutation> {
    let deep = |tile, depth| Form::Tiled {
        tile,
        depth,
        split: false,
    };
    let mut forms = vec![Form::Direct, TILED64, deep(128, 8), deep(128, 16)];
    for swap in [false, true] {
        for (vectors, out_lanes, k_lanes) in [
            (1, 4, 64),
            (2, 16, 1),
            (4, 4, 64),
            (8, 16, 1),
            (8, 4, 64),
            (1, 1, 64),
            (8, 1, 64),
        ] {
            forms.push(Form::Vec {
                swap,
                vectors,
                out_lanes,
                k_lanes,
                subgroups: u32::from(out_lanes == 1),
            });
        }
    }
    let both = [false, true];
    let mut all = [None, Some(Generator::Threefry), Some(Generator::Philox)]
        .map(reduction)
        .to_vec();
    for form in forms {
        for vec4 in both {
            for (a, b) in both.into_iter().flat_map(|a| both.map(|b| (a, b))) {
                for (ta, tb) in both.into_iter().flat_map(|ta| both.map(|tb| (ta, tb))) {
                    all.push(permutation(form, vec4, [a, b], [ta, tb], None));
                }
            }
            for generator in [Generator::Threefry, Generator::Philox] {
                all.push(permutation(form, vec4, [true; 2], [false; 2], Some(generator)));
            }
        }
    }
    for form in Unit::ALL.map(Form::Coop) {
        for vec4 in both {
            for (ta, tb) in both.into_iter().flat_map(|ta| both.map(|tb| (ta, tb))) {
                all.push(permutation(form, vec4, [true; 2], [ta, tb], None));
            }
            for generator in [Generator::Threefry, Generator::Philox] {
                all.push(permutation(form, vec4, [true; 2], [false; 2], Some(generator)));
            }
        }
    }
    all
}

pub(super) fn steps(op: &Matmul, gpu: &Gpu, variant: &'static str, offsets: Offsets) -> Result<Vec<Step>> {
    if op.is_empty() {
        return Ok(Vec::new());
    }
    let form = Form::of(op, variant, gpu);
    let vec4 = !offsets.any() && op.a.suits_vec4() && op.b.suits_vec4();
    let permutation = permutation(
        form,
        vec4,
        [op.a.dtype == DType::Bf16, op.b.dtype == DType::Bf16],
        [op.a.transposed, op.b.transposed],
        op.is_stochastic().then_some(op.draw.generator),
    );
    let pipeline = gpu.pipeline(&permutation)?;
    if matches!(form, Form::Bf16(_)) {
        return sums_then_reduction(op, gpu, &pipeline, form);
    }
    let deepest = form.turns().deepest(OP, gpu)?;
    let cut_to = |deepest| cut(op, gpu, form.tile(), false, deepest);
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let split = matches!(form, Form::Tiled { split: true, .. });
    let cut = cut_to(deepest)?;
    // Groups that share a sum go as deep as their part of it only.
    let shared = if split { cut_to(u64::MAX)? } else { cut };
    let mut steps = Vec::new();
    for outer in ranges(op.batch as u64, shared.batches) {
        if split && (shared.rows, shared.cols, shared.ks) == (m, n, k) {
            let batch_count = outer.end - outer.start;
            let parts = split_parts(op, gpu, batch_count);
            if parts > 1 && part_depth(k, parts) <= deepest {
                let whole = [&outer, &(0..m), &(0..n), &(0..k)];
                let mut partial = step(op, &pipeline, form, whole)?;
                split_step(&mut partial, form, [m, n, k], batch_count, parts);
                let end = reduction_step(op, gpu, whole, &partial)?;
                steps.extend([partial, end]);
                continue;
            }
        }
        for batches in within(&outer, cut.batches) {
            for cols in ranges(n, cut.cols) {
                for rows in ranges(m, cut.rows) {
                    // K = 0 still has an epilogue.
                    for ks in ranges(k.max(1), cut.ks) {
                        let ks = ks.start..ks.end.min(k);
                        steps.push(step(op, &pipeline, form, [&batches, &rows, &cols, &ks])?);
                    }
                }
            }
        }
    }
    Ok(steps)
}

/// Windows beside those of A and B.
pub(super) const BIAS: usize = 2;
pub(super) const C: usize = 3;
pub(super) const PARTIALS: usize = 4;

pub(super) fn step(
    op: &Matmul,
    pipeline: &std::sync::Arc<crate::gpu::Pipeline>,
    form: Form,
    [batches, rows, cols, ks]: [&Range<u64>; 4],
) -> Result<Step> {
    let len = |range: &Range<u64>| range.end - range.start;
    let (m, n, k) = (op.m as u64, op.n as u64, op.terms() as u64);
    let mut flags = 0;
    for (flag, on) in [
        (BETA, op.beta != 0.0),
        (BIAS_F32, op.bias == Some(DType::F32)),
        (BIAS_BF16, op.bias == Some(DType::Bf16)),
        (RELU, op.relu),
        (C_BF16, op.c.dtype == DType::Bf16),
        (FIRST, ks.start == 0),
        (LAST, ks.end == k),
    ] {
        flags |= if on { flag } else { 0 };
    }
    let read =
        |operand: usize, matrix: &super::MatrixLayout, row: &Range<u64>, col: &Range<u64>, param: usize| {
            if len(ks) == 0 {
                return Window::empty();
            }
            let first = matrix.span(batches.start + 1, row.start + 1, col.start + 1) - 1;
            let words = matrix.words_read(len(batches), len(row), len(col));
            Window::of(operand, matrix.dtype.words(first), words, param)
        };
    let a = if op.a.transposed { [ks, rows] } else { [rows, ks] };
    let b = if op.b.transposed { [cols, ks] } else { [ks, cols] };
    let c_first = op.c.span(batches.start + 1, rows.start + 1, cols.start + 1) - 1;
    let c_words = op.c.dtype.words(op.c.span(len(batches), len(rows), len(cols)));
    let split = len(ks) < k;
    let partials = len(batches) * len(rows) * len(cols);
    let index = (batches.start * m + rows.start) * n + cols.start;
    // Offsets of elements are even for 16-bit types, so their words are exact.
    let words = |dtype: DType, elements: usize| dtype.words(elements as u64) as u32;
    Ok(Step {
        pipeline: pipeline.clone(),
        params: vec![
            len(rows) as u32,
            len(cols) as u32,
            len(ks) as u32,
            words(op.a.dtype, op.a.ld),
            words(op.b.dtype, op.b.ld),
            words(op.c.dtype, op.c.ld),
            words(op.a.dtype, op.a.batch_stride),
            words(op.b.dtype, op.b.batch_stride),
            words(op.c.dtype, op.c.batch_stride),
            op.alpha.to_bits(),
            op.beta.to_bits(),
            flags,
            index as u32,
            (index >> 32) as u32,
            n as u32,
            (m * n) as u32,
            op.draw.stream,
            0,
            0,
            0,
            0,
            0,
            1,
            len(ks) as u32,
        ],
        windows: vec![
            read(0, &op.a, a[0], a[1], A_OFFSET),
            read(1, &op.b, b[0], b[1], B_OFFSET),
            match op.bias {
                Some(dtype) => Window::of(3, dtype.words(cols.start), dtype.words(len(cols)), BIAS_OFFSET),
                None => Window::empty(),
            },
            Window::of(2, op.c.dtype.words(c_first), c_words, C_OFFSET),
            if split {
                Window::scratch(0, partials, PARTIAL_OFFSET)
            } else {
                Window::empty()
            },
        ],
        groups: form.groups(len(rows), len(cols), len(batches)),
        work: partials * len(ks).max(1),
        turns: form.turns().of(len(ks)),
    })
}
