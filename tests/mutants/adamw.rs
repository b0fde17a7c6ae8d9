//! Mutants of shaders/adamw/.

use super::Kind::{Carry, Edge, Formula, Index, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "adamw/step.wgsl",
        &[
            Formula.of("return gradient;", "return -gradient;"),
            Formula.of("return gradient;", "return abs(gradient);"),
            Formula.of("return gradient;", "return gradient * step.beta1;"),
        ],
    ),
    shader(
        "adamw/step_factor.wgsl",
        &[
            Formula.of("step.gradient_factor * gradient", "gradient"),
            Formula.of(
                "step.gradient_factor * gradient",
                "step.gradient_factor + gradient",
            ),
            Formula.of("step.gradient_factor * gradient", "step.beta1 * gradient"),
        ],
    ),
    shader(
        "adamw/adamw.wgsl",
        &[
            Formula.of(
                "step.learning_rate * (moved + step.weight_decay * before)",
                "step.learning_rate * moved + step.weight_decay * before",
            ),
            Formula.of("scaled(load_g(row, col))", "load_g(row, col)"),
            Formula.of("(1.0 - step.beta1) * gradient", "(1.0 - step.beta2) * gradient"),
            Formula.of(
                "(1.0 - step.beta2) * gradient * gradient",
                "(1.0 - step.beta2) * gradient * mean",
            ),
            Formula.of("sqrt(square * step.correction2)", "sqrt(square)"),
            Formula.of("mean * step.correction1 /", "mean /"),
            Formula.of(
                "(sqrt(square * step.correction2) + step.epsilon)",
                "sqrt(square * step.correction2 + step.epsilon)",
            ),
            Formula.of("step.beta2 * v_before", "step.beta1 * v_before"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Carry.of("params.base_lo + local", "local"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("col == first || (lo & 7u) == 0u", "(lo & 7u) == 0u"),
            Index.of("params.v_drawn, v_block", "params.v_drawn, m_block"),
            Index.of("params.m_drawn, m_block", "params.w_drawn, m_block"),
            Index.of("w_block, lo & 7u", "w_block, col & 7u"),
            Index.of("draws(lo, hi, params.m_stream)", "draws(lo, hi, params.w_stream)"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("(params.cols + 7u) / 8u", "(params.cols + 6u) / 8u"),
            Edge.of("min(params.cols, first + 8u)", "first + 8u"),
            Padding.of("(col & 1u) == 1u || col + 1u == end", "(col & 1u) == 1u"),
            Padding.of("                m_word = 0u;\n", "                m_word = 1u;\n"),
            Padding.of("                v_word = 0u;\n", "                v_word = 1u;\n"),
            Padding.of(
                "            beside_word = 0u;\n",
                "            beside_word >>= 16u;\n",
            ),
            Formula.of("start = -load_c(row, col)", "start = load_c(row, col)"),
            Formula.of("bitcast<u32>(start -", "bitcast<u32>(before -"),
            Rounding.of("kahan_add(before, code)", "kahan_add(start, code)"),
            Rounding.of("kahan_add(v_before, code)", "kahan_add(square, code)"),
            Formula.of("change - load_lost(row, col)", "change + load_lost(row, col)"),
            Formula.of(
                "(gradient * gradient - v_before)",
                "(gradient * gradient + v_before)",
            ),
            Index.of("bf16_pack(sum.x, sum.y)", "bf16_pack(sum.y, sum.x)"),
            Index.of("bf16_low(v[at + col])", "bf16_low(v[at + col / 2u])"),
            Index.of("beside_word |= sum.y << shift", "beside_word |= sum.y"),
            Stride.of(
                "half(beside[params.beside_offset + row * params.beside_ld",
                "half(beside[params.beside_offset + row * params.w_ld",
            ),
            Rounding.of("STOCHASTIC && drawn == 1u", "STOCHASTIC"),
            Rounding.of("bf16_round_nearest(w_bits)", "bf16_truncate(w_bits)"),
            Rounding.of("return bf16_round_nearest(bits);", "return bf16_truncate(bits);"),
            Stride.of(
                "params.g_offset + row * params.g_ld",
                "params.g_offset + row * params.w_ld",
            ),
            Stride.of(
                "params.m_offset + row * params.m_ld;",
                "params.m_offset + row * params.w_ld;",
            ),
            Stride.of(
                "params.v_offset + row * params.v_ld;",
                "params.v_offset + row * params.m_ld;",
            ),
            Stride.of(
                "beside[params.beside_offset + row * params.beside_ld + col / 2u] =",
                "beside[params.beside_offset + row * params.w_ld + col / 2u] =",
            ),
            Index.of("params.w_offset + row * params.w_ld;", "row * params.w_ld;"),
            Index.of("params.m_kept_offset + local", "local"),
        ],
    ),
];
