//! Mutants of shaders/squares/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Nan, Padding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "squares/squares.wgsl",
    &[
        Padding.of("if params.odd == 1u &&", "if params.odd == 2u &&"),
        Padding.of("col + 1u == params.words", "i + 1u == params.count"),
        Nan.of(
            "(bits & 0x7f800000u) == 0x7f800000u",
            "(bits & 0x7fffffffu) > 0x7f800000u",
        ),
        Nan.of(
            "(bits & 0x7f800000u) == 0x7f800000u",
            "bits == 0x7f800000u || bits == 0xff800000u",
        ),
        Nan.of("(bits & 0x7f800000u) == 0x7f800000u", "abs(value * value) > 1e30"),
        Formula.of("part.sum + value * value", "part.sum + abs(value)"),
        Edge.of("if i >= params.count {", "if i > params.count {"),
        LastK.of("i < params.count;", "i + 1u < params.count;"),
        LastK.of("i + 3u * stride", "i + 2u * stride"),
        LastK.of("i < params.parts;", "i + 1u < params.parts;"),
        LastK.of("half > 0u;", "half > 1u;"),
        Edge.of("lane < half", "lane + 1u < half"),
        Edge.of("&& at < params.parts", "&& at + 1u < params.parts"),
        Carry.of("params.accumulate == 1u", "params.accumulate == 2u"),
        Carry.of(
            "specials[lane] += specials[lane + half];",
            "specials[lane] = specials[lane + half];",
        ),
        Carry.of("part.special + partial[", "part.special | partial["),
        Stride.of(
            "i / params.words * params.x_ld",
            "i / params.words * params.words",
        ),
        Stride.of("i += 4u * stride", "i += 3u * stride"),
        Index.of("params.x_offset + i", "i"),
        Index.of("out[params.out_offset + 1u]", "out[params.out_offset + 2u]"),
        Index.of("out[params.out_offset] = ", "out[0] = "),
        Index.of("plus(part, word << 16u)", "plus(part, word & 0xffff0000u)"),
        Index.of(
            "partial[params.partial_offset] = bitcast<u32>(all.sum);",
            "partial[params.partial_offset] = 0u;",
        ),
    ],
)];
