//! Mutants of shaders/improvement/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Nan, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "improvement/improvement.wgsl",
    &[
        Formula.of("max(c, f) - min(c, f)", "f - min(c, f)"),
        Formula.of("kept += sum_of(c);", "kept += sum_of(f);"),
        Formula.of("coarse_byte, coarse) << shift", "fine_byte, coarse) << shift"),
        Formula.of("let place = fine_byte +", "let place = coarse_byte +"),
        Formula.of(
            "coarse_byte + 23u - coarse.fraction - place",
            "fine.fraction - coarse.fraction",
        ),
        Formula.of("bits, bits - 2u, 0u", "bits, bits - 1u, 0u"),
        Formula.of("(1u << (bits - 1u)) - 1u", "(1u << (bits - 1u))"),
        Rounding.of(
            "element_encode(u.y, byte, e, ROUND_NEAREST",
            "element_encode(u.y, byte, e, ROUND_TOWARD_ZERO",
        ),
        Rounding.of("largest, params.fine_rule", "largest, params.coarse_rule"),
        Rounding.of(
            "params.fine_exponent, params.fine_significand",
            "params.fine_exponent, params.coarse_significand",
        ),
        Nan.of(
            "if coarse_byte == NAN_SCALE {",
            "if coarse_byte == NAN_SCALE + 1u {",
        ),
        Nan.of("specials[index] |= specials[index + half];", ""),
        Nan.of(
            "special = 1u;\n        } else {",
            "special = 0u;\n        } else {",
        ),
        Nan.of(
            "vec2<u32>(NAN), special == 1u",
            "vec2<u32>(NAN + 1u), special == 1u",
        ),
        LastK.of(
            "block < blocks; block += LANES",
            "block + 1u < blocks; block += LANES",
        ),
        LastK.of("var half = LANES / 2u;", "var half = LANES / 4u;"),
        Stride.of(
            "block < blocks; block += LANES",
            "block < blocks; block += LANES + 1u",
        ),
        Stride.of("row * params.x_ld", "row * params.cols"),
        Stride.of("params.sums_offset + 2u * row", "params.sums_offset + row"),
        Stride.of("* (GROUP / LANES) +", "* GROUP +"),
        Edge.of("select(u, vec4<u32>(), cols > last)", "u"),
        Edge.of(
            "let inside = row < params.rows;",
            "let inside = row <= params.rows;",
        ),
        Edge.of(
            "(params.cols + params.block - 1u) / params.block",
            "params.cols / params.block",
        ),
        Carry.of("params.accumulate == 1u", "params.accumulate == 2u"),
        Carry.of("sums[at], sums[at + 1u]", "sums[at], sums[at]"),
        Index.of("(col & 1u) == 1u", "(col & 1u) == 0u"),
        Index.of(
            "word, (col & 1u) == 1u) & 0x7fff0000u",
            "word, (col & 1u) == 1u) & 0x7fffffffu",
        ),
        Index.of("params.x_offset + row", "row"),
        Index.of("params.sums_offset + 2u", "2u"),
        Index.of(
            "max(max(largest, max(u.x, u.y)), max(u.z, u.w))",
            "max(max(largest, max(u.x, u.y)), u.z)",
        ),
    ],
)];
