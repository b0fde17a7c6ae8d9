use super::Choose;
use crate::gpu::{Dispatch, Permutation, Shader, Words, looped};
use crate::op::{Variant, Variants};

const GROUP: u32 = 64;

// SAFETY: loops go through `pairs`, of which `sums` has two words each, in steps of GROUP, and halve GROUP; lanes and
// `lane + half` are below GROUP.
static CHOOSE: Shader = unsafe {
    Shader::new(
        "choose/choose.wgsl",
        include_str!("../../../shaders/choose/choose.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Choose> = Variants(&[Variant {
    name: "group",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| {
        let (pairs, first) = (op.pairs as u64, op.first());
        let sums = match pairs {
            0 => Words::absent(),
            _ => Words::of("sums", 0..2 * pairs),
        };
        let each = looped(pairs.div_ceil(GROUP.into()), 0);
        let tree = looped(GROUP.ilog2().into(), 0);
        Ok(vec![
            Dispatch::new(&gpu.pipeline(&permutation())?)
                .set("pairs", pairs)
                .set("place", op.place)
                .set("lower", Choose::steps(op.lower.get()) as u32)
                .bind("sums", sums)
                .bind("state", Words::of("state", first..first + Choose::STATE as u64))
                .linear_groups(gpu, 1)
                .work(4 * pairs.max(1))
                .turns(2 * (each + tree)),
        ])
    },
    permutations: || vec![permutation()],
}]);

fn permutation() -> Permutation {
    Permutation::new(&CHOOSE).constant("GROUP", GROUP)
}
