//! The dispatches of one variant: whole rows, or parts of the classes in order.

use std::ops::Range;
use std::sync::Arc;

use super::SoftmaxCrossEntropy;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::{Draw, Generator};
use crate::gpu::{Dispatch, File, Gpu, Permutation, Pipeline, Shader, Words, generator};
use crate::kernels::shared::class_rows::{ClassRows, PASSES};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

/// Elementary operations per logit: two exponentials, a division, roundings.
const WORK: u64 = 8;

/// Words of scratch memory per row: see `parts.wgsl`.
const PARTIAL: u64 = 3;

/// What both shaders share.
const FILES: &[File] = &[File::new(
    "softmax_cross_entropy/common.wgsl",
    include_str!("../../../shaders/softmax_cross_entropy/common.wgsl"),
)];

// SAFETY: loops go through `classes` in steps of 1; `half_word` masks its index.
static ROW: Shader = unsafe {
    Shader::new(
        "softmax_cross_entropy/row.wgsl",
        include_str!("../../../shaders/softmax_cross_entropy/row.wgsl"),
    )
    .files(FILES)
    .trusted()
};

// SAFETY: loops go from `first` to `end` in steps of 1; `half_word` masks its index.
static PARTS: Shader = unsafe {
    Shader::new(
        "softmax_cross_entropy/parts.wgsl",
        include_str!("../../../shaders/softmax_cross_entropy/parts.wgsl"),
    )
    .files(FILES)
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<SoftmaxCrossEntropy> = Variants(&[Variant {
    name: "row",
    serves: |op, _, _| op.logits != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

fn dispatches(op: &SoftmaxCrossEntropy, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let walk = ClassRows {
        rows: op.rows as u64,
        classes: op.classes as u64,
        row_bytes: op.logits_ld.max(op.grad_ld) as u64 * 4,
        work: WORK,
        partial: PARTIAL,
    };
    walk.dispatches(
        gpu,
        [&ROW, &PARTS],
        |shader| permutation(op, shader),
        |pipeline, range| dispatch(op, gpu, pipeline, range),
    )
}

/// Classes `cols` of `rows`, but for the turns and what only one of the shaders has.
fn dispatch(
    op: &SoftmaxCrossEntropy,
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    [rows, cols]: [&Range<u64>; 2],
) -> Dispatch {
    let (logits, grad) = (op.logits(), op.grad());
    let (count, classes) = (rows.end - rows.start, op.classes as u64);
    let kept = op
        .kept()
        .map_or(Words::absent(), |kept| Words::of("kept", kept.part(rows, cols)));
    Dispatch::new(pipeline)
        .set("rows", count)
        .set("classes", classes)
        .set("logits_ld", logits.row_words())
        .set("grad_ld", grad.row_words())
        .set_wide(["base_lo", "base_hi"], op.draw.index(rows.start * classes))
        .set("stream", op.draw.stream)
        .set("scale", op.scale.get())
        .set("first", cols.start)
        .set("end", cols.end)
        .bind("logits", Words::of("logits", logits.part(rows, cols)))
        .bind("labels", Words::of("labels", rows.clone()))
        .bind("loss", Words::of("loss", rows.clone()))
        .bind("grad", Words::of("grad", grad.part(rows, cols)))
        .bind("kept", kept)
        .linear_groups(gpu, count.div_ceil(GROUP.into()))
        .work(count * (cols.end - cols.start) * WORK)
}

fn permutation(op: &SoftmaxCrossEntropy, shader: &'static Shader) -> Permutation {
    let half = op.grad == DType::Bf16;
    Permutation::new(shader)
        .fill("generator", generator(op.draw.generator))
        .constant("GROUP", GROUP)
        .constant("LOGITS_HALF", op.logits == DType::Bf16)
        .constant("GRAD_HALF", half)
        .constant("STOCHASTIC", half && op.rounding == Rounding::Stochastic)
        .constant("KEEP", op.keep_f32)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let mut add = |op: &SoftmaxCrossEntropy| {
        all.push(permutation(op, &ROW));
        all.extend(PASSES.map(|pass| permutation(op, &PARTS).entry(pass)));
    };
    for logits in [DType::F32, DType::Bf16] {
        for keep_f32 in [false, true] {
            for grad in [DType::F32, DType::Bf16] {
                add(&SoftmaxCrossEntropy {
                    keep_f32,
                    ..SoftmaxCrossEntropy::new(1, 1, logits, grad)
                });
            }
            for generator in [Generator::Threefry, Generator::Philox] {
                add(&SoftmaxCrossEntropy {
                    keep_f32,
                    rounding: Rounding::Stochastic,
                    draw: Draw {
                        generator,
                        ..Draw::default()
                    },
                    ..SoftmaxCrossEntropy::new(1, 1, logits, DType::Bf16)
                });
            }
        }
    }
    all
}
