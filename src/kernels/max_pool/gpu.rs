use super::{MaxPool, MaxPoolGrad};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::op::{Variant, Variants};
use crate::tensor::{DType, View};

const GROUP: u32 = 64;

// SAFETY: loops go through the window's rows and columns in steps of 1; no array.
static MAX_POOL: Shader = unsafe {
    Shader::new(
        "max_pool/max_pool.wgsl",
        include_str!("../../../shaders/max_pool/max_pool.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static FORWARD: Variants<MaxPool> = Variants(&[Variant {
    name: "word",
    serves: |op, gpu, _| serves(op, op.dtype, gpu),
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(gpu, "forward", op, None, ("y", op.y())),
    permutations: || permutations("forward"),
}]);

pub(in crate::kernels) static BACKWARD: Variants<MaxPoolGrad> = Variants(&[Variant {
    name: "word",
    serves: |op, gpu, _| serves(&op.pool, op.dtype, gpu),
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(gpu, "backward", &op.pool, Some(op.dy()), ("dx", op.dx())),
    permutations: || permutations("backward"),
}]);

/// With results of a type.
fn serves(op: &MaxPool, dtype: DType, gpu: &Gpu) -> bool {
    dtype != DType::F64 && turns(op, dtype) <= gpu.turn_cap()
}

/// Of the loops over a window, for each number of a word.
fn turns(op: &MaxPool, dtype: DType) -> u64 {
    let [rows, cols] = op.window.map(|len| len as u64);
    let each = looped(rows, looped(cols, 0));
    each.saturating_mul(if dtype == DType::Bf16 { 2 } else { 1 })
}

/// Images at a time; `dy` is what the gradient reads.
fn dispatches(
    gpu: &Gpu,
    entry: &'static str,
    op: &MaxPool,
    dy: Option<View>,
    (name, dst): (&'static str, View),
) -> Result<Vec<Dispatch>> {
    if op.is_empty() {
        return Ok(Vec::new());
    }
    let pipeline = gpu.pipeline(&permutation(entry, [op.dtype, dst.dtype]))?;
    let (x, y) = (op.x(), dy.unwrap_or(op.y()));
    let pixels = op.pixels() as u64;
    let area = (op.window[0] * op.window[1]) as u64;
    let rows = dst.rows as u64 / op.batch as u64;
    let words = rows * dst.dtype.words(dst.cols as u64);
    let widest = [pixels * x.row_words(), y.row_words(), rows * dst.row_words()];
    let widest = widest.into_iter().max().unwrap_or(1);
    let work = words * (area + 1);
    let [out_height, out_width] = op.pooled();
    let part = |view: &View, images: &std::ops::Range<u64>| {
        let rows = view.rows as u64 / op.batch as u64;
        view.part(&(images.start * rows..images.end * rows), &(0..view.cols as u64))
    };
    let dispatch = |images: std::ops::Range<u64>| {
        let count = images.end - images.start;
        let src = match dy {
            Some(_) => Words::of("dy", part(&y, &images)),
            None => Words::absent(),
        };
        Dispatch::new(&pipeline)
            .set("images", count)
            .set("channels", op.channels as u64)
            .set("height", op.height as u64)
            .set("width", op.width as u64)
            .set("out_height", out_height as u64)
            .set("out_width", out_width as u64)
            .set("window_height", op.window[0] as u64)
            .set("window_width", op.window[1] as u64)
            .set("stride_height", op.stride[0] as u64)
            .set("stride_width", op.stride[1] as u64)
            .set("x_ld", x.row_words())
            .set("dx_ld", dst.row_words())
            .set("y_ld", y.row_words())
            .bind("x", Words::of("x", part(&x, &images)))
            .bind("src", src)
            .bind("dst", Words::of(name, part(&dst, &images)))
            .linear_groups(gpu, (count * words).div_ceil(GROUP.into()))
            .work(count * work)
            .turns(turns(op, dst.dtype))
    };
    let images = split_rows(gpu, op.batch as u64, work, widest * 4, 1);
    Ok(images.into_iter().map(dispatch).collect())
}

/// Of images of a type and of results of one.
fn permutation(entry: &'static str, [from, to]: [DType; 2]) -> Permutation {
    Permutation::new(&MAX_POOL)
        .entry(entry)
        .constant("GROUP", GROUP)
        .constant("X_HALVES", from == DType::Bf16)
        .constant("HALVES", to == DType::Bf16)
}

fn permutations(entry: &'static str) -> Vec<Permutation> {
    let (f32, bf16) = (DType::F32, DType::Bf16);
    let mut types = vec![[f32, f32], [bf16, bf16]];
    if entry == "backward" {
        types.extend([[f32, bf16], [bf16, f32]]);
    }
    types.into_iter().map(|types| permutation(entry, types)).collect()
}
