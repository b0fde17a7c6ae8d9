//! Mutants of shaders/column_sums/.

use super::Kind::{Carry, Edge, Index, LastK, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "column_sums/column_sums.wgsl",
    &[
        LastK.of(
            "row < params.rows; row += LANES",
            "row + 1u < params.rows; row += LANES",
        ),
        LastK.of(
            "var other = 1u; other < LANES",
            "var other = 1u; other + 1u < LANES",
        ),
        Stride.of(
            "row < params.rows; row += LANES",
            "row < params.rows; row += LANES + 1u",
        ),
        Stride.of("row * params.x_ld", "row * params.cols"),
        Stride.of("sums[other * PAIRS + index]", "sums[other * LANES + index]"),
        Edge.of("col < params.cols;\n    var", "col <= params.cols;\n    var"),
        Edge.of(
            "let two = col + 1u < params.cols;",
            "let two = col + 1u <= params.cols;",
        ),
        Edge.of(
            "let two = col + 1u < params.cols;",
            "let two = col + 2u < params.cols;",
        ),
        Edge.of(
            "min(col + 1u, params.cols - 1u)",
            "min(col + 2u, params.cols - 1u)",
        ),
        Carry.of("params.accumulate == 1u", "params.accumulate == 2u"),
        Carry.of(
            "sum.y += bitcast<f32>(partial[at + 1u])",
            "sum.y += bitcast<f32>(partial[at])",
        ),
        Index.of("encode(bits.x, col)", "encode(bits.x, col / 2u)"),
        Index.of("encode(bits.y, col + 1u)", "encode(bits.y, col)"),
        Index.of("params.base_lo + col", "col"),
        Carry.of("select(0u, 1u, lo < col)", "0u"),
        Carry.of("params.base_hi +", "0u +"),
        Index.of(
            "partial[params.partial_offset + col] = bits.x",
            "partial[col] = bits.x",
        ),
        Index.of("params.x_offset + row", "row"),
        Index.of("y[params.y_offset + col / 2u]", "y[col / 2u]"),
        Rounding.of("return bf16_round_nearest(bits);", "return bf16_truncate(bits);"),
        Index.of(
            "vec2<f32>(bf16_low(word), bf16_high(word))",
            "vec2<f32>(bf16_high(word), bf16_low(word))",
        ),
    ],
)];
