use super::{Ceiling, CeilingKind};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped};
use crate::op::{Variant, Variants};

const GROUP: u32 = 64;

// SAFETY: loops go to `steps` in steps of 1, and through at most 2^27 vectors in steps of `count`, of which `dst` has
// a word each; no array.
static CEILING: Shader = unsafe {
    Shader::new(
        "ceiling/ceiling.wgsl",
        include_str!("../../../shaders/ceiling/ceiling.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Ceiling> = Variants(&[
    Variant {
        name: "chains",
        serves: |op, _, _| Form::of(op.kind).is_some_and(|form| form != Form::Read),
        rank: |_, _| 0,
        dispatches: |op, gpu, _| dispatches(op, gpu),
        permutations: || [Form::MultiplyAdd, Form::Integer].map(Form::permutation).into(),
    },
    Variant {
        name: "strided",
        serves: |op, _, offsets| Form::of(op.kind) == Some(Form::Read) && !offsets.any(),
        rank: |_, _| 0,
        dispatches: |op, gpu, _| dispatches(op, gpu),
        permutations: || vec![Form::Read.permutation()],
    },
]);

/// What a GPU can be asked for: each is an entry point of the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    MultiplyAdd,
    Integer,
    Read,
}

impl Form {
    fn of(kind: CeilingKind) -> Option<Self> {
        match kind {
            CeilingKind::MultiplyAdd => Some(Self::MultiplyAdd),
            CeilingKind::Integer => Some(Self::Integer),
            CeilingKind::Read => Some(Self::Read),
            // Shaders have no bf16.
            CeilingKind::Bf16Dot => None,
        }
    }

    fn permutation(self) -> Permutation {
        let entry = match self {
            Self::MultiplyAdd => "multiply_add",
            Self::Integer => "integer",
            Self::Read => "read_all",
        };
        Permutation::new(&CEILING).entry(entry).constant("GROUP", GROUP)
    }
}

/// One dispatch with one loop, over the steps or over every `count`-th vector. Chains are what is measured and reads
/// are as many as keep an adapter busy: what passes the cap on turns is refused.
fn dispatches(op: &Ceiling, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let count = u64::from(op.count);
    let Some(form) = Form::of(op.kind).filter(|_| count > 0) else {
        return Ok(Vec::new());
    };
    let dispatch = Dispatch::new(&gpu.pipeline(&form.permutation())?);
    let dispatch = match form {
        Form::MultiplyAdd => dispatch
            .set("factor", Ceiling::FACTOR)
            .set("summand", Ceiling::SUMMAND),
        Form::Integer | Form::Read => dispatch.set("factor", Ceiling::ODD).set("summand", Ceiling::MASK),
    };
    let (src, times) = match form {
        Form::MultiplyAdd | Form::Integer => (Words::absent(), u64::from(op.steps)),
        Form::Read => {
            let vectors = op.src_words / 4;
            (Words::of("src", 0..op.src_words), vectors.div_ceil(count))
        }
    };
    let dispatch = dispatch
        .set("count", count)
        .set("steps", op.steps)
        .set("src_words", op.src_words)
        .bind("src", src)
        .bind("dst", Words::of("dst", 0..count))
        .linear_groups(gpu, count.div_ceil(GROUP.into()))
        .work(count * u64::from(op.steps) * 16 + op.src_words)
        .turns(looped(times, 0));
    Ok(vec![dispatch])
}
