//! Mutants of shaders/spmm/.

use super::Kind::{Carry, Edge, Index, LastK, Nan, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "spmm/common.wgsl",
        &[
            Padding.of(
                "vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count)",
                "vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(count)",
            ),
            LastK.of(
                "min(params.take, end - first)",
                "min(params.take, max(end, first + 1u) - first - 1u)",
            ),
            LastK.of("inside.x + min(params.skip, end - inside.x)", "inside.x"),
            Edge.of("row < params.b_count", "row + 1u < params.b_count"),
            Edge.of("row < params.b_count", "true"),
            Edge.of(
                "vec2<u32>(params.entry_count)",
                "vec2<u32>(params.entry_count + 1u)",
            ),
            Edge.of("if left > 4u", "if left > 5u"),
            Edge.of(
                "put_words(to + col + 4u, hi, left - 4u)",
                "put_words(to + col + 4u, hi, left)",
            ),
            Edge.of("(left + 1u) / 2u", "left / 2u"),
            Carry.of(
                "            if params.first == 0u {",
                "            if params.first == 1u {",
            ),
            Carry.of(
                "partials[at + j] = bitcast<u32>(v[j - col])",
                "partials[at + col] = bitcast<u32>(v[j - col])",
            ),
            Nan.of("ends.y - ends.x > params.most", "ends.y - ends.x >= params.most"),
            Nan.of("ends.y - ends.x > params.most", "false"),
            Stride.of(
                "params.partials_offset + row * n",
                "params.partials_offset + row * params.c_ld",
            ),
            Stride.of("row * params.b_ld", "row * params.n"),
            Stride.of("row * params.c_ld;", "row * params.n;"),
            Index.of("column - params.b_base", "column"),
            Index.of("src_words(at + col + 4u)", "src_words(at + col)"),
            Index.of("kept.xz | (kept.yw", "kept.xy | (kept.zw"),
            Rounding.of("bf16_round_nearest(bits.w)", "bf16_truncate(bits.w)"),
        ],
    ),
    shader(
        "spmm/lanes.wgsl",
        &[
            LastK.of("entry < range.y", "entry + 1u < range.y"),
            Edge.of("(params.n + 8u * ACROSS - 1u)", "params.n"),
            Edge.of("row >= params.rows ||", "row > params.rows ||"),
            Edge.of("|| col >= params.n", "|| col > params.n"),
            Stride.of("unit / tiles * (GROUP / ACROSS)", "unit / tiles * GROUP"),
            Index.of("csr_value(entry)", "csr_value(entry + 1u)"),
        ],
    ),
    shader(
        "spmm/cached.wgsl",
        &[
            LastK.of("i < count", "i + 1u < count"),
            LastK.of(
                "first < ends.y; first += ACROSS",
                "first + ACROSS <= ends.y; first += ACROSS",
            ),
            Stride.of(
                "first < ends.y; first += ACROSS",
                "first < ends.y; first += ACROSS - 1u",
            ),
            Edge.of("(params.n + 8u * ACROSS - 1u)", "params.n"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("min(ACROSS, ends.y - first)", "min(ACROSS - 1u, ends.y - first)"),
            Index.of(
                "factors[lane] = csr_value(first + lane)",
                "factors[lane] = csr_value(first)",
            ),
            Index.of("unit % tiles * ACROSS + lane", "unit % tiles + lane"),
        ],
    ),
];
