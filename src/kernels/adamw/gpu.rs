use super::AdamW;
use crate::error::Result;
use crate::format::Rounding;
use crate::format::random::Generator;
use crate::gpu::{Dispatch, File, Gpu, Permutation, Piece, Shader, Words, generator, pieces};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

/// The step values, without and with a factor of the gradient, in turn.
const STEPS: &[File] = &[
    File::new(
        "adamw/step.wgsl",
        include_str!("../../../shaders/adamw/step.wgsl"),
    ),
    File::new(
        "adamw/step_factor.wgsl",
        include_str!("../../../shaders/adamw/step_factor.wgsl"),
    ),
];

// SAFETY: a loop over eight columns at most; `half_word` masks its index.
static ADAMW: Shader = unsafe {
    Shader::new(
        "adamw/adamw.wgsl",
        include_str!("../../../shaders/adamw/adamw.wgsl"),
    )
    .files(STEPS)
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<AdamW> = Variants(&[Variant {
    name: "eights",
    serves: |op, _, _| op.w != DType::F64,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations,
}]);

fn dispatches(op: &AdamW, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let pipeline = gpu.pipeline(&permutation(op))?;
    let (g, w, m, v) = (op.g(), op.w(), op.m(), op.v());
    let dispatch = |piece: &Piece| {
        let optional = |name, view: Option<_>| view.map_or(Words::absent(), |view| piece.of(name, &view));
        // Never both: the one is of f32 weights, the other of bf16 weights.
        let beside = match op.compensation() {
            Some(view) => ("c", Some(view)),
            None => ("copy", op.copy()),
        };
        let [w_drawn, m_drawn, v_drawn] = op.drawn().map(u32::from);
        Dispatch::new(&pipeline)
            .set("rows", piece.rows)
            .set("cols", piece.cols)
            .set("g_ld", g.row_words())
            .set("w_ld", w.row_words())
            .set("m_ld", m.row_words())
            .set("v_ld", v.row_words())
            .set("beside_ld", beside.1.map_or(0, |view| view.row_words()))
            .set_wide(["base_lo", "base_hi"], op.draws(&op.step).w.index(piece.base))
            .set("w_stream", op.w_stream)
            .set("m_stream", op.m_stream)
            .set("v_stream", op.v_stream)
            .set("w_drawn", w_drawn)
            .set("m_drawn", m_drawn)
            .set("v_drawn", v_drawn)
            .set("v_paired", u32::from(op.v_compensated))
            .bind("g", piece.of("g", &g))
            .bind("w", piece.of("w", &w))
            .bind("m", piece.of("m", &m))
            .bind("v", piece.of("v", &v))
            .bind("beside", optional(beside.0, beside.1))
            .bind("w_kept", optional("w_kept", op.kept()))
            .bind("m_kept", optional("m_kept", op.kept()))
            .bind("v_kept", optional("v_kept", op.kept()))
            .linear_groups(gpu, piece.eights().div_ceil(GROUP.into()))
            .work(piece.eights() * 64)
            .turns(8 + 1)
    };
    Ok(pieces(gpu, &op.views()).iter().map(dispatch).collect())
}

fn permutation(op: &AdamW) -> Permutation {
    Permutation::new(&ADAMW)
        .fill("step", STEPS[usize::from(op.gradient_factor)].path)
        .fill("generator", generator(op.generator))
        .constant("GROUP", GROUP)
        .constant("G_HALF", op.g == DType::Bf16)
        .constant("W_HALF", op.w == DType::Bf16)
        .constant("M_HALF", op.m == DType::Bf16)
        .constant("V_HALF", op.v == DType::Bf16)
        .constant("STOCHASTIC", op.drawn().contains(&true))
        .constant("COPY", op.copy_ld.is_some())
        .constant("COMPENSATED", op.compensation_ld.is_some())
        .constant("KEEP", op.keep_f32)
}

fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    let types = [DType::F32, DType::Bf16];
    for bits in 0..64 {
        let [g, w, m, v] = [0, 1, 2, 3].map(|bit| types[(bits >> bit) & 1]);
        let op = AdamW {
            gradient_factor: bits >= 32,
            keep_f32: bits & 16 != 0,
            v_rounding: Rounding::Nearest,
            ..AdamW::new(1, 1, [g, w, m, v])
        };
        let beside = match w {
            DType::F32 => [(None, None), (Some(2), None)],
            _ => [(None, None), (None, Some(2))],
        };
        for (copy_ld, compensation_ld) in beside {
            let op = AdamW {
                copy_ld,
                compensation_ld,
                ..op.clone()
            };
            all.push(permutation(&op));
            if [w, m, v].contains(&DType::Bf16) {
                let rounding = Rounding::Stochastic;
                for generator in [Generator::Threefry, Generator::Philox] {
                    all.push(permutation(&AdamW {
                        generator,
                        w_rounding: rounding,
                        m_rounding: rounding,
                        v_rounding: rounding,
                        ..op.clone()
                    }));
                }
            }
        }
    }
    all
}
