use super::Copy;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Offsets, Permutation, Shader, Words, split_rows};
use crate::op::{Variant, Variants};

const GROUP: u32 = 64;

// SAFETY: no loop, no array.
static WORD: Shader =
    unsafe { Shader::new("copy/word.wgsl", include_str!("../../../shaders/copy/word.wgsl")).trusted() };
// SAFETY: a loop of STRIDE turns; no array.
static VEC4: Shader =
    unsafe { Shader::new("copy/vec4.wgsl", include_str!("../../../shaders/copy/vec4.wgsl")).trusted() };

pub(in crate::kernels) static VARIANTS: Variants<Copy> = Variants(&[
    Variant {
        name: "vec4x4",
        serves: vectors,
        rank: |_, _| 0,
        dispatches: |op, gpu, _| dispatches(op, gpu, Some(4)),
        permutations: || vec![permutation(Some(4))],
    },
    Variant {
        name: "vec4",
        serves: vectors,
        rank: |_, _| 1,
        dispatches: |op, gpu, _| dispatches(op, gpu, Some(1)),
        permutations: || vec![permutation(Some(1))],
    },
    Variant {
        name: "word",
        serves: |_, _, _| true,
        rank: |_, _| 2,
        dispatches: |op, gpu, _| dispatches(op, gpu, None),
        permutations: || vec![permutation(None)],
    },
]);

fn vectors(op: &Copy, _gpu: &Gpu, offsets: Offsets) -> bool {
    op.words.is_multiple_of(4) && !offsets.any()
}

/// `stride`: the vectors of four words that an invocation copies; without one it copies a word.
fn permutation(stride: Option<u32>) -> Permutation {
    match stride {
        Some(stride) => Permutation::new(&VEC4).constant("STRIDE", stride),
        None => Permutation::new(&WORD),
    }
    .constant("GROUP", GROUP)
}

fn dispatches(op: &Copy, gpu: &Gpu, stride: Option<u32>) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation(stride))?;
    let (element, stride, turns) = match stride {
        Some(stride) => (4, u64::from(stride), u64::from(stride) + 1),
        None => (1, 1, 0),
    };
    let dispatch = |range: std::ops::Range<u64>| {
        let count = range.end - range.start;
        let words = range.start * element..range.end * element;
        Dispatch::new(&pipeline)
            .set("count", count)
            .bind("src", Words::of("src", words.clone()))
            .bind("dst", Words::of("dst", words))
            .linear_groups(gpu, count.div_ceil(u64::from(GROUP) * stride))
            .work(count * element)
            .turns(turns)
    };
    let ranges = split_rows(gpu, op.words / element, element, element * 4, u64::from(GROUP));
    Ok(ranges.into_iter().map(dispatch).collect())
}
