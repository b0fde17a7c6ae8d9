//! Mutants of shaders/sgd/.

use super::Kind::{Carry, Edge, Formula, Index, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "sgd/step.wgsl",
        &[
            Formula.of("return gradient;", "return -gradient;"),
            Formula.of("return gradient;", "return abs(gradient);"),
            Formula.of("return gradient;", "return gradient * step.momentum;"),
        ],
    ),
    shader(
        "sgd/step_factor.wgsl",
        &[
            Formula.of("step.gradient_factor * gradient", "gradient"),
            Formula.of(
                "step.gradient_factor * gradient",
                "step.gradient_factor + gradient",
            ),
            Formula.of("step.gradient_factor * gradient", "step.momentum * gradient"),
        ],
    ),
    shader(
        "sgd/sgd.wgsl",
        &[
            Formula.of(
                "scaled(load_g(row, col)) + decay * before",
                "scaled(load_g(row, col)) - decay * before",
            ),
            Formula.of("scaled(load_g(row, col)) + decay", "load_g(row, col) + decay"),
            Formula.of("start - rate * velocity", "start - rate * (velocity + before)"),
            Formula.of("start = -load_c(row, col)", "start = load_c(row, col)"),
            Rounding.of("kahan_add(before, code)", "kahan_add(start, code)"),
            Padding.of("                c_word = 0u;\n", "                c_word = 1u;\n"),
            Index.of(
                "c[params.c_offset + row * params.c_ld + col / 2u] =",
                "c[row * params.c_ld + col / 2u] =",
            ),
            Stride.of(
                "half(c[params.c_offset + row * params.c_ld",
                "half(c[params.c_offset + row * params.w_ld",
            ),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Carry.of("params.base_lo + local", "local"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("col == first || (lo & 7u) == 0u", "(lo & 7u) == 0u"),
            Index.of("v_bits, v_block, lo & 7u)", "v_bits, w_block, lo & 7u)"),
            Index.of("w_bits, w_block, lo & 7u)", "w_bits, w_block, col & 7u)"),
            Index.of("params.v_stream", "params.w_stream"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("(params.cols + 7u) / 8u", "(params.cols + 6u) / 8u"),
            Edge.of("min(params.cols, first + 8u)", "first + 8u"),
            Padding.of("(col & 1u) == 1u || col + 1u == end", "(col & 1u) == 1u"),
            Padding.of("                v_word = 0u;\n", "                v_word = 1u;\n"),
            Padding.of(
                "                copy_word = 0u;\n",
                "                copy_word >>= 16u;\n",
            ),
            Rounding.of("bf16_round_nearest(w_bits)", "bf16_truncate(w_bits)"),
            Rounding.of("return bf16_round_nearest(bits);", "return bf16_truncate(bits);"),
            Stride.of(
                "params.g_offset + row * params.g_ld",
                "params.g_offset + row * params.w_ld",
            ),
            Stride.of(
                "params.v_offset + row * params.v_ld;",
                "params.v_offset + row * params.w_ld;",
            ),
            Stride.of(
                "params.copy_offset + row * params.copy_ld",
                "params.copy_offset + row * params.w_ld",
            ),
            Index.of("params.w_offset + row * params.w_ld;", "row * params.w_ld;"),
            Index.of("params.w_kept_offset + local", "local"),
        ],
    ),
];
