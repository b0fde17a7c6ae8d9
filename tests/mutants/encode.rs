//! Mutants of shaders/encode/, and of the library files of elements and their rounding.

use super::Kind::{Carry, Edge, Formula, Index, Nan, Padding, Rounding, Stride, Tie};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "lib/rounding.wgsl",
        &[
            Tie.of("- 1u + ((m >> s) & 1u)", ""),
            Tie.of("- 1u + ((m >> s) & 1u)", "- 1u"),
            Rounding.of("(1u << (s - 1u))", "(1u << s)"),
            Rounding.of("(t + (r & 0xffffu)) >> 16u", "(t + (r & 0x7fffu)) >> 16u"),
            Edge.of("min(16u - min(sh, 16u), 7u)", "0u"),
            Edge.of("max((u >> 23u) & 0xffu, 1u)", "(u >> 23u) & 0xffu"),
            Edge.of("select(0x00800000u, 0u, (u & 0x7f800000u) == 0u)", "0x00800000u"),
            Edge.of("m >> min(sh, 31u)", "m >> (sh & 15u)"),
            Index.of(
                "if rounding == ROUND_STOCHASTIC {",
                "if rounding == ROUND_TOWARD_ZERO {",
            ),
            Edge.of("if p + k > 277u {", "if p + k > 278u {"),
            // At p + k = 24 both forms give the same bits.
            Edge.of("if p + k > 23u {", "if p + k > 25u {"),
            Edge.of("if p + k > 23u {", "if p + k > 22u {"),
            Formula.of("(p + k - 23u) << 23u", "(p + k - 22u) << 23u"),
            Edge.of("clamp(sh, 1u, 25u)", "clamp(sh, 1u, 24u)"),
            Edge.of("min(p - 1u, 31u)", "min(p, 31u)"),
            Edge.of("max(sh, 16u) - 16u, 31u)", "max(sh, 16u) - 16u, 7u)"),
            Edge.of("if p + k > 277u {", "if p + k > 276u {"),
            Formula.of("- 1u + ((m >> s) & 1u)", "- 1u + ((m >> (s - 1u)) & 1u)"),
        ],
    ),
    shader(
        "lib/element.wgsl",
        &[
            Formula.of("min(magnitude, e.max_code)", "min(magnitude, e.max_code + 1u)"),
            Edge.of(
                "rule == SCALE_UP && m > significand",
                "rule == SCALE_UP && m >= significand",
            ),
            Nan.of("if a > 0x7f800000u {", "if a >= 0x7f800000u {"),
            Nan.of(
                "select(0x7fc00000u, 0x7f800000u, rest == e.infinity)",
                "0x7fc00000u",
            ),
            Nan.of("0u, a > 0x7f800000u);", "0u, a >= 0x7f800000u);"),
            Edge.of("sh < 9);", "sh < 1);"),
            Edge.of(
                "min(code, select(e.limit, e.max_code, cut))",
                "min(code, e.limit)",
            ),
            Edge.of("select(e.max_code, e.limit, negative == 1u)", "e.max_code"),
            Index.of("select(1u << e.fraction, 0u, field == 0u)", "1u << e.fraction"),
            Index.of("max(field, 1u) + byte", "field + byte"),
            // Of a code that ends on the word's end the next word has only bits past its own.
            Carry.of("offset + m > 32u)", "offset + m > 33u)"),
            Padding.of("& ((1u << e.bits) - 1u);", ";"),
            Edge.of("more - min(more, exponent)", "more - exponent"),
            Edge.of("m > significand), 254u)", "m > significand), 253u)"),
            Edge.of("u32(max(-above, 0))", "u32(max(-above, 1))"),
            Formula.of(
                "q = (1u << (e.bits - 1u)) - rest;",
                "q = (1u << (e.bits - 1u)) - rest - 1u;",
            ),
            Formula.of(
                "return rest - i32(top << (e.bits - 1u));",
                "return rest - i32(top << e.bits);",
            ),
            Carry.of("hi << ((32u - offset) & 31u)", "hi << ((31u - offset) & 31u)"),
            Nan.of(
                "rest > e.max_code {\n            return",
                "rest >= e.max_code {\n            return",
            ),
            Edge.of("field == 0u);\n    let more", "field <= 1u);\n    let more"),
            Nan.of("NAN_SCALE, field == 255u)", "254u, field == 255u)"),
            Edge.of(
                "rounding == ROUND_TOWARD_ZERO && a < 0x7f800000u",
                "rounding == ROUND_TOWARD_ZERO",
            ),
        ],
    ),
    shader(
        "encode/params.wgsl",
        &[
            Index.of(
                "params.max_code, params.infinity, params.nan_code",
                "params.max_code, params.infinity, params.max_code",
            ),
            Formula.of(
                "(head[params.head_offset] >> 23u)",
                "(head[params.head_offset] >> 22u)",
            ),
            Index.of(
                "params.rule, params.largest_exponent",
                "1u - params.rule, params.largest_exponent",
            ),
            Formula.of("return UNIT_SCALE;", "return UNIT_SCALE + 1u;"),
        ],
    ),
    shader(
        "encode/shared.wgsl",
        &[
            Carry.of("packed[bit / 32u + 1u] |= code >> (32u - (bit & 31u));", ""),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Edge.of("four < vec4<u32>(params.cols)", "four <= vec4<u32>(params.cols)"),
            Edge.of("scale < params.scales_ld", "scale <= params.scales_ld"),
            Edge.of("to < params.codes_ld", "to + 1u < params.codes_ld"),
            Index.of("bytes[at + 3u * across]", "bytes[at + 2u * across]"),
            Index.of("largest[first + i]", "largest[lane]"),
            Stride.of("chunk * 16u * m + i", "chunk * 8u * m + i"),
            Index.of("octets[4u * lane + 3u] = packed[3];", ""),
            Edge.of("(params.cols + 511u) / 512u", "(params.cols + 510u) / 512u"),
            Index.of("lane & ~(across - 1u)", "lane & ~across"),
            Carry.of("code >> (32u - (bit & 31u))", "code >> (31u - (bit & 31u))"),
            Carry.of("(bit & 31u) + m > 32u", "(bit & 31u) + m > 33u"),
            Edge.of(
                "if lane < 128u / params.block &&",
                "if lane + 1u < 128u / params.block &&",
            ),
            Index.of("(8u * (byte & 3u))", "(8u * (byte & 1u))"),
            Index.of("octets[4u * octet + byte / 4u]", "octets[4u * octet]"),
        ],
    ),
    shader(
        "encode/runs.wgsl",
        &[
            Carry.of("code >> (params.bits - offset), 0u", "0u, 0u"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Edge.of("min(first + params.block, params.cols)", "first + params.block"),
            Edge.of(
                "col < end; col++) {\n            largest",
                "col + 1u < end; col++) {\n            largest",
            ),
            Padding.of("    if offset > 0u {", "    if offset > 8u {"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("<< (8u * b)", "<< (8u * (3u - b))"),
            Stride.of("row * params.scales_ld + word", "row * params.codes_ld + word"),
            Index.of(
                "(4u * word + b) * params.block",
                "(4u * word + b / 2u) * params.block",
            ),
            Edge.of("if offset >= 32u {", "if offset > 32u {"),
            Index.of("(8u * (block & 3u))", "(8u * (block & 1u))"),
            Index.of("half_word(draws, lo & 7u)", "half_word(draws, col & 7u)"),
            Stride.of("run * params.bits", "run * 4u"),
            Edge.of("(params.cols + 31u) / 32u", "(params.cols + 30u) / 32u"),
        ],
    ),
    shader(
        "encode/tensor.wgsl",
        &[
            Edge.of("min(first + 32u, params.cols)", "min(first + 31u, params.cols)"),
            Edge.of("min(first + 32u, params.count)", "min(first + 31u, params.count)"),
            Index.of("params.maxima_offset + unit] = most;", "unit] = most;"),
            Index.of("params.to + unit] = largest_from", "unit] = largest_from"),
            Index.of("maxima[params.maxima_offset + i]", "maxima[i]"),
            Nan.of("0x7fc00000u, byte == NAN_SCALE", "0x7fc00000u, byte > NAN_SCALE"),
            Formula.of("0x00400000u, byte == 0u", "0u, byte == 0u"),
            Stride.of("row * params.src_ld", "row * params.cols"),
            Edge.of("largest_from(0u, params.count)", "largest_from(1u, params.count)"),
            Nan.of("most = max(most, u & 0x7fffffffu);", "most = max(most, u);"),
            Index.of("(col & 1u) == 1u", "(col & 1u) == 0u"),
            Edge.of("(params.cols + 31u) / 32u", "(params.cols + 30u) / 32u"),
        ],
    ),
];
