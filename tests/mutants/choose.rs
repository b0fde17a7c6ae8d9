//! Mutants of shaders/choose/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Nan, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "choose/choose.wgsl",
    &[
        Formula.of("(a << 16u) > right.y", "(a << 16u) >= right.y"),
        Formula.of("(threshold < 0 || above)", "above"),
        Formula.of("- params.lower;", "+ params.lower;"),
        Formula.of("(bits & 0x7f800000u) > 0u", "true"),
        Rounding.of("round(clamp(", "floor(clamp("),
        Rounding.of(
            "let down = top - exponent(bits);",
            "let down = 255u - exponent(bits);",
        ),
        Rounding.of(
            "let b = cut(total.zw, down);",
            "let b = cut(total.zw, down + 1u);",
        ),
        Edge.of("0u, down > 31u)", "0u, down > 15u)"),
        Edge.of("0u, down > 31u)", "0u, false)"),
        Edge.of("8192.0) * 65536.0", "81.0) * 65536.0"),
        Nan.of("top < 255u &&", "top < 256u &&"),
        Nan.of("(a | b) > 0u &&", "true &&"),
        Carry.of("vec2<u32>(1u), low < a.xz", "vec2<u32>(0u), low < a.xz"),
        Carry.of("(sum.y << (32u - down))", "0u"),
        Carry.of("(a >> 16u) > right.x ||", "false ||"),
        LastK.of(
            "top = max(top, max(exponent(sums[at]), exponent(sums[at + 1u])));",
            "top = max(top, exponent(sums[at]));",
        ),
        LastK.of(
            "tops[lane] = max(tops[lane], tops[lane + half]);",
            "tops[lane] = tops[lane];",
        ),
        LastK.of(
            "totals[lane] = plus(totals[lane], totals[lane + half]);",
            "totals[lane] = plus(totals[lane], totals[lane]);",
        ),
        Stride.of(
            "let at = params.sums_offset + 2u * i;\n        total",
            "let at = params.sums_offset + i;\n        total",
        ),
        Index.of("let at = params.state_offset;", "let at = 0u;"),
        Index.of("state[at + 2u + (flags & 7u)]", "state[at + 2u + (flags & 3u)]"),
        Index.of("+= step.number - state[at + 1u]", "+= step.number"),
        Index.of("state[at + 1u] = step.number;", ""),
        Index.of("flags & ~(1u << params.place)", "flags"),
        Index.of("select(0u, 1u, fine) << params.place", "select(0u, 1u, fine)"),
    ],
)];
