use super::Decide;
use crate::gpu::{Dispatch, Permutation, Shader, Words, looped};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

// SAFETY: loops go through `layers`, of which `state` has a word each, in steps of GROUP, through `per_layer` in steps
// of 1, and halve GROUP; lanes and `lane + half` are below GROUP.
static DECIDE: Shader = unsafe {
    Shader::new(
        "decide/decide.wgsl",
        include_str!("../../../shaders/decide/decide.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Decide> = Variants(&[Variant {
    name: "group",
    serves: |op, _, _| op.sums != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let (parameters, layers) = (op.parameters as u64, op.layers() as u64);
        let squares = match parameters {
            0 => Words::absent(),
            _ => Words::of("squares", 0..2 * parameters),
        };
        let [one, two] = op.betas.unwrap_or([0.0.into(); 2]).map(Decide::fixed);
        let each = looped(layers.div_ceil(GROUP.into()), looped(op.per_layer as u64, 0));
        Ok(vec![
            Dispatch::new(&gpu.pipeline(&permutation())?)
                .set("parameters", parameters)
                .set("per_layer", op.per_layer)
                .set("layers", layers)
                .set("clipped", op.clip.is_some())
                .set("clip", op.clip.map_or(0.0, f32::from))
                .set("scaled", op.growth.is_some())
                .set("growth", op.growth.unwrap_or(0))
                .set("corrected", op.betas.is_some())
                .set_wide(["beta1_lo", "beta1_hi"], one)
                .set_wide(["beta2_lo", "beta2_hi"], two)
                .bind("squares", squares)
                .bind("state", Words::of("state", 0..Decide::STATE as u64 + layers))
                .bind("values", Words::of("values", 0..op.values()))
                .linear_groups(gpu, 1)
                .work(parameters.max(1))
                .turns(each + looped(GROUP.ilog2().into(), 0)),
        ])
    },
    permutations: || vec![permutation()],
}]);

fn permutation() -> Permutation {
    Permutation::new(&DECIDE).constant("GROUP", GROUP)
}
