//! Mutants of shaders/dropout/.

use super::Kind::{Carry, Edge, Formula, Index, Nan, Padding, Rounding, Stride, Tie};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "dropout/dropout.wgsl",
    &[
        Edge.of(">= params.threshold", "> params.threshold"),
        Tie.of("rest == 0x80000000u && (q & 1u) == 1u", "rest == 0x80000000u"),
        Tie.of("rest > 0x80000000u ||", "rest >= 0x80000000u ||"),
        Rounding.of("rest > 0x80000000u ||", "rest > 0xc0000000u ||"),
        Rounding.of("let rest = product.y << shift", "let rest = product.y"),
        Formula.of("shift > 0u", "shift > 1u"),
        Formula.of(
            "countLeadingZeros(product.x) - 8u, p - 1u",
            "countLeadingZeros(product.x) - 8u, p",
        ),
        Formula.of(
            "exponent(u) + params.scale_exponent",
            "((u >> 23u) & 0xffu) + params.scale_exponent",
        ),
        Nan.of(
            "+ select(0u, 1u, up), 0x7f800000u)",
            "+ select(0u, 1u, up), 0x7f7fffffu)",
        ),
        Nan.of("magnitude > 0x7f800000u", "magnitude > 0x7fc00000u"),
        Nan.of("draws && !nan", "draws"),
        Edge.of("step.training != 0.0 && params", "params"),
        Edge.of("row >= params.rows", "row > params.rows"),
        Carry.of("select(0u, 1u, lo < local)", "0u"),
        Carry.of("params.base_hi +", "0u +"),
        Index.of("col == first || (lo & 7u) == 0u", "col == first"),
        Index.of("col == first || (lo & 7u) == 0u", "(lo & 7u) == 0u"),
        Index.of("half_word(block, lo & 7u)", "half_word(block, col & 7u)"),
        Index.of("row * params.cols + col", "row * params.src_ld + col"),
        Index.of("src[params.src_offset + row", "src[row"),
        Index.of("(source >> shift) << 16u", "source << 16u"),
        Padding.of("|| col + 1u == end", "|| col + 2u == end"),
        Padding.of("result = 0u;\n        }", "}"),
        Stride.of(
            "src_offset + row * params.src_ld",
            "src_offset + row * params.dst_ld",
        ),
        Stride.of(
            "let to = params.dst_offset + row * params.dst_ld",
            "let to = params.dst_offset + row * params.src_ld",
        ),
    ],
)];
