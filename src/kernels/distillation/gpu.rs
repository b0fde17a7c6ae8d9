//! The dispatches of one variant: whole rows, or, where rows have more classes than one dispatch may walk or one
//! binding holds, parts of the classes in order.

use std::ops::Range;
use std::sync::Arc;

use super::Distillation;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, File, Gpu, Permutation, Pipeline, Shader, Words, generator, looped, split_rows};
use crate::op::{Variant, Variants, rows};
use crate::tensor::DType;

const GROUP: u32 = 64;

/// Elementary operations per logit: six exponentials, divisions, a series, roundings.
const WORK: u64 = 24;

/// Words of scratch memory per row: see `parts.wgsl`.
const PARTIAL: u64 = 7;

/// What both shaders share.
const FILES: &[File] = &[File::new(
    "distillation/common.wgsl",
    include_str!("../../../shaders/distillation/common.wgsl"),
)];

static ROW: Shader = Shader::new(
    "distillation/row.wgsl",
    include_str!("../../../shaders/distillation/row.wgsl"),
)
.files(FILES);

static PARTS: Shader = Shader::new(
    "distillation/parts.wgsl",
    include_str!("../../../shaders/distillation/parts.wgsl"),
)
.files(FILES);

/// The passes over the parts, in order.
const PASSES: [&str; 3] = ["maximum", "total", "gradient"];

pub(in crate::kernels) static VARIANTS: Variants<Distillation> = Variants(&[Variant {
    name: "row",
    serves: |op, _, _| op.logits != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

/// Bytes that a row spans in the operand that is widest.
fn row_bytes(op: &Distillation) -> u64 {
    op.logits_ld.max(op.teacher_ld).max(op.grad_ld) as u64 * 4
}

/// Turns of the three loops over a whole row.
fn row_turns(classes: u64) -> u64 {
    3 * looped(classes, 0)
}

/// The most classes of one part, a multiple of eight; `None` where one dispatch may walk whole rows.
fn part(op: &Distillation, gpu: &Gpu) -> Option<u64> {
    let cap = gpu.turn_cap();
    let binding = gpu.limits().max_storage_buffer_binding_size.saturating_sub(512);
    let fits = row_bytes(op) <= binding;
    if row_turns(op.classes as u64) <= cap && fits {
        return None;
    }
    let by_turns = cap.saturating_sub(looped(0, 0)) / 8;
    let by_binding = match fits {
        true => u64::MAX,
        // Such rows stand alone in their dispatches.
        false => binding / 32,
    };
    Some(by_turns.min(by_binding).max(1).saturating_mul(8))
}

fn dispatches(op: &Distillation, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let classes = op.classes as u64;
    let mut dispatches = Vec::new();
    let rows = |row_bytes| split_rows(gpu, op.rows as u64, classes * WORK, row_bytes, 1);
    let Some(part) = part(op, gpu) else {
        let pipeline = gpu.pipeline(&permutation(op, &ROW))?;
        for rows in rows(row_bytes(op)) {
            let whole = dispatch(op, gpu, &pipeline, [&rows, &(0..classes)]);
            dispatches.push(whole.set("partial_offset", 0u32).turns(row_turns(classes)));
        }
        return Ok(dispatches);
    };
    let mut pipelines = Vec::with_capacity(PASSES.len());
    for pass in PASSES {
        pipelines.push(gpu.pipeline(&permutation(op, &PARTS).entry(pass))?);
    }
    for rows in rows(row_bytes(op).max(PARTIAL * 4)) {
        for pipeline in &pipelines {
            for cols in rows::cut(0..classes, part) {
                let scratch = Words::scratch(0..PARTIAL * (rows.end - rows.start));
                let one = dispatch(op, gpu, pipeline, [&rows, &cols]).bind("partial", scratch);
                dispatches.push(one.turns(looped(cols.end - cols.start, 0)));
            }
        }
    }
    Ok(dispatches)
}

/// Classes `cols` of `rows`, but for the turns and what only one of the shaders has.
fn dispatch(
    op: &Distillation,
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    [rows, cols]: [&Range<u64>; 2],
) -> Dispatch {
    let (logits, teacher, grad) = (op.logits(), op.teacher(), op.grad());
    let (count, classes) = (rows.end - rows.start, op.classes as u64);
    let kept = op
        .kept()
        .map_or(Words::absent(), |kept| Words::of("kept", kept.part(rows, cols)));
    Dispatch::new(pipeline)
        .set("rows", count)
        .set("classes", classes)
        .set("logits_ld", logits.row_words())
        .set("teacher_ld", teacher.row_words())
        .set("grad_ld", grad.row_words())
        .set_wide(["base_lo", "base_hi"], op.draw.index(rows.start * classes))
        .set("stream", op.draw.stream)
        .set("temperature", op.temperature.get())
        .set("alpha", op.alpha.get())
        .set("pull", op.pull() as f32)
        .set("soft", op.soft() as f32)
        .set("scale", op.scale.get())
        .set("first", cols.start)
        .set("end", cols.end)
        .bind("logits", Words::of("logits", logits.part(rows, cols)))
        .bind("teacher", Words::of("teacher", teacher.part(rows, cols)))
        .bind("labels", Words::of("labels", rows.clone()))
        .bind("loss", Words::of("loss", rows.clone()))
        .bind("grad", Words::of("grad", grad.part(rows, cols)))
        .bind("kept", kept)
        .linear_groups(gpu, count.div_ceil(GROUP.into()))
        .work(count * (cols.end - cols.start) * WORK)
}

fn permutation(op: &Distillation, shader: &'static Shader) -> Permutation {
    let half = op.grad == DType::Bf16;
    Permutation::new(shader)
        .fill("generator", generator(op.draw.generator))
        .constant("GROUP", GROUP)
        .constant("LOGITS_HALF", op.logits == DType::Bf16)
        .constant("TEACHER_HALF", op.teacher == DType::Bf16)
        .constant("GRAD_HALF", half)
        .constant("STOCHASTIC", half && op.rounding == Rounding::Stochastic)
        .constant("KEEP", op.keep_f32)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let mut add = |op: &Distillation| {
        all.push(permutation(op, &ROW));
        all.extend(PASSES.map(|pass| permutation(op, &PARTS).entry(pass)));
    };
    let types = [DType::F32, DType::Bf16];
    for (logits, teacher) in types
        .into_iter()
        .flat_map(|logits| types.map(|teacher| (logits, teacher)))
    {
        for keep_f32 in [false, true] {
            let of = |grad| Distillation {
                keep_f32,
                teacher,
                ..Distillation::new(1, 1, logits, grad)
            };
            types.iter().for_each(|&grad| add(&of(grad)));
            for generator in [Generator::Threefry, Generator::Philox] {
                add(&Distillation {
                    rounding: Rounding::Stochastic,
                    draw: Draw {
                        generator,
                        ..Draw::default()
                    },
                    ..of(DType::Bf16)
                });
            }
        }
    }
    all
}
