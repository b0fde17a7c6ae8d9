use super::Sgd;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::Generator;
use crate::gpu::{Dispatch, File, Gpu, Permutation, Shader, Words, generator, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

/// The step values, without and with a factor of the gradient, in turn.
const STEPS: &[File] = &[
    File::new("sgd/step.wgsl", include_str!("../../../shaders/sgd/step.wgsl")),
    File::new(
        "sgd/step_factor.wgsl",
        include_str!("../../../shaders/sgd/step_factor.wgsl"),
    ),
];

// SAFETY: a loop over eight columns at most; `half_word` masks its index.
static SGD: Shader = unsafe {
    Shader::new("sgd/sgd.wgsl", include_str!("../../../shaders/sgd/sgd.wgsl"))
        .files(STEPS)
        .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<Sgd> = Variants(&[Variant {
    name: "eights",
    serves: |op, _, _| op.w != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

fn dispatches(op: &Sgd, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation(op))?;
    let (g, w, v) = (op.g(), op.w(), op.v());
    let dispatch = |piece: &crate::gpu::Piece| {
        let optional = |name, view: Option<_>| view.map_or(Words::absent(), |view| piece.of(name, &view));
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("cols", piece.cols)
            .set("g_ld", g.row_words())
            .set("w_ld", w.row_words())
            .set("v_ld", v.row_words())
            .set("copy_ld", op.copy().map_or(0, |copy| copy.row_words()))
            .set("c_ld", op.compensation().map_or(0, |c| c.row_words()))
            .set_wide(["base_lo", "base_hi"], op.draws(&op.step).0.index(piece.base))
            .set("w_stream", op.w_stream)
            .set("v_stream", op.v_stream)
            .bind("g", piece.of("g", &g))
            .bind("w", piece.of("w", &w))
            .bind("v", piece.of("v", &v))
            .bind("copy", optional("copy", op.copy()))
            .bind("c", optional("c", op.compensation()))
            .bind("w_kept", optional("w_kept", op.kept()))
            .bind("v_kept", optional("v_kept", op.kept()))
            .linear_groups(gpu, piece.eights().div_ceil(GROUP.into()))
            .work(piece.eights() * 32)
            .turns(8 + 1)
    };
    Ok(pieces(gpu, &op.views()).iter().map(dispatch).collect())
}

fn permutation(op: &Sgd) -> Permutation {
    let [w_drawn, v_drawn] = op.drawn();
    Permutation::new(&SGD)
        .fill("step", STEPS[usize::from(op.gradient_factor)].path)
        .fill("generator", generator(op.generator))
        .constant("GROUP", GROUP)
        .constant("G_HALF", op.g == DType::Bf16)
        .constant("W_HALF", op.w == DType::Bf16)
        .constant("V_HALF", op.v == DType::Bf16)
        .constant("W_STOCHASTIC", w_drawn)
        .constant("V_STOCHASTIC", v_drawn)
        .constant("COPY", op.copy_ld.is_some())
        .constant("COMPENSATED", op.compensation_ld.is_some())
        .constant("KEEP", op.keep_f32)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for bits in 0..16 {
        let [g, w, v] = [bits & 1, (bits >> 1) & 1, (bits >> 2) & 1].map(|i| types[i]);
        let op = Sgd {
            keep_f32: bits >= 8,
            ..Sgd::new(1, 1, [g, w, v])
        };
        let beside = match w {
            DType::F32 => [(None, None), (Some(2), None)],
            _ => [(None, None), (None, Some(2))],
        };
        for (copy_ld, compensation_ld) in beside {
            let op = Sgd {
                copy_ld,
                compensation_ld,
                ..op.clone()
            };
            let mut all_roundings = vec![(Rounding::Nearest, Rounding::Nearest)];
            if w == DType::Bf16 || v == DType::Bf16 {
                all_roundings.push((Rounding::Stochastic, Rounding::Stochastic));
            }
            if compensation_ld.is_some() {
                all_roundings.push((Rounding::Nearest, Rounding::Stochastic));
            }
            if compensation_ld.is_some() && v == DType::Bf16 {
                all_roundings.push((Rounding::Stochastic, Rounding::Nearest));
            }
            for (rounding, y_rounding) in all_roundings {
                let op = Sgd {
                    rounding,
                    y_rounding,
                    ..op.clone()
                };
                let generators = match op.drawn() {
                    [false, false] => &[Generator::Threefry][..],
                    _ => &[Generator::Threefry, Generator::Philox],
                };
                for (&generator, gradient_factor) in generators
                    .iter()
                    .flat_map(|generator| [(generator, false), (generator, true)])
                {
                    all.push(permutation(&Sgd {
                        generator,
                        gradient_factor,
                        ..op.clone()
                    }));
                }
            }
        }
    }
    all
}
