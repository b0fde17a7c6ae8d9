//! Mutants of shaders/convert/.

use super::Kind::{Carry, Edge, Index, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "convert/word.wgsl",
        &[
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("col == first || (lo & 7u) == 0u", "(lo & 7u) == 0u"),
            Index.of("half_word(block, lo & 7u)", "half_word(block, col & 7u)"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Edge.of("row >= params.rows", "row > params.rows").times(2),
            Edge.of("(params.cols + 7u) / 8u", "(params.cols + 6u) / 8u"),
            Edge.of("min(params.cols, first + 8u)", "first + 8u"),
            Padding.of("if col + 1u == end {", "if col + 2u == end {"),
            Padding.of(
                "                dst[to + col / 2u] = word;",
                "                dst[to + col / 2u] = word | 0x10000u;",
            ),
            Padding.of("2u * pair + 1u < params.cols", "2u * pair < params.cols"),
            Edge.of("(params.cols + 1u) / 2u", "params.cols / 2u"),
            Stride.of(
                "params.src_offset + row * params.src_ld;",
                "params.src_offset + row * params.dst_ld;",
            ),
            Stride.of(
                "params.dst_offset + row * params.dst_ld + 2u * pair",
                "params.dst_offset + row * params.cols + 2u * pair",
            ),
            Index.of("row * params.cols + col", "row * params.src_ld + col"),
            Rounding.of("bf16_round_nearest(bits)", "bf16_truncate(bits)"),
            Rounding.of("if SATURATE {", "if !SATURATE {"),
        ],
    ),
    shader(
        "convert/vec4.wgsl",
        &[
            Index.of("round_one(b.y, block, 5u)", "round_one(b.y, block, 4u)"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Edge.of("unit >= params.units", "unit > params.units").times(2),
            Edge.of("unit >= params.units", "unit + 1u >= params.units")
                .times(2),
            Stride.of(
                "params.src_offset + 2u * unit + 1u",
                "params.src_offset + 2u * unit",
            ),
            Index.of("let local = 8u * unit;", "let local = unit;"),
            Index.of("params.dst_offset + unit", "unit"),
            Index.of("params.dst_offset + 2u * unit", "2u * unit"),
            Rounding.of("bf16_round_nearest(bits)", "bf16_truncate(bits)"),
            Rounding.of("if SATURATE {", "if !SATURATE {"),
            Index.of("w.w << 16u, w.w & 0xffff0000u", "w.w & 0xffff0000u, w.w << 16u"),
        ],
    ),
];
