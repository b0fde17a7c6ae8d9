//! Mutants of shaders/accumulate/.

use super::Kind::{Carry, Edge, Formula, Index, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "accumulate/accumulate.wgsl",
    &[
        Formula.of("load_sum(row, col) + total", "load_sum(row, col)"),
        Formula.of("if step.keep != 0.0 {", "if true {"),
        Formula.of("step.keep != 0.0", "step.keep == 0.0"),
        Carry.of("select(0u, 1u, lo < local)", "0u"),
        Carry.of("params.base_lo + local", "local"),
        Index.of("col == first || (lo & 7u) == 0u", "col == first"),
        Index.of("half_word(block, lo & 7u)", "half_word(block, col & 7u)"),
        Edge.of("row >= params.rows", "row > params.rows"),
        Edge.of("(params.cols + 7u) / 8u", "(params.cols + 6u) / 8u"),
        Padding.of("(col & 1u) == 1u || col + 1u == end", "(col & 1u) == 1u"),
        Padding.of("                word = 0u;\n", "                word = 1u;\n"),
        Rounding.of("bf16_round_nearest(bits)", "bf16_truncate(bits)"),
        Stride.of(
            "params.x_offset + row * params.x_ld",
            "params.x_offset + row * params.sum_ld",
        ),
        Stride.of(
            "params.sum_offset + row * params.sum_ld;",
            "params.sum_offset + row * params.x_ld;",
        ),
    ],
)];
