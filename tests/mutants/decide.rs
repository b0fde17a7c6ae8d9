//! Mutants of shaders/decide/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Nan, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "decide/decide.wgsl",
    &[
        Formula.of("params.clip / norm * inverse", "params.clip / norm"),
        Formula.of("sqrt(sum) * inverse", "sqrt(sum)"),
        Formula.of("power_of_two(-exponent)", "power_of_two(exponent)"),
        Formula.of("if norm > params.clip {", "if norm < params.clip {"),
        Formula.of("if params.clipped == 0u {", "if params.clipped == 2u {"),
        Formula.of("if taken > 0u {", "if taken > 1u {"),
        Formula.of("16777216.0 / f32(first >> 8u)", "16777216.0 / f32(first >> 9u)"),
        Formula.of("(127u + zeros) << 23u", "(127u) << 23u"),
        Nan.of("        return 0.0;", "        return inverse;"),
        Nan.of("bad |= squares[at + 1u];", "bad = squares[at + 1u];"),
        Nan.of("if broken[0] > 0u {", "if broken[0] == 1u {"),
        Edge.of("exponent <= LEAST", "exponent < LEAST"),
        Edge.of("exponent < MOST", "exponent <= MOST"),
        Edge.of("clean >= params.growth", "clean > params.growth"),
        Edge.of("params.scaled == 0u ||", "false ||"),
        Edge.of("if (power.x | power.y) == 0u {", "if power.y == 7u {"),
        Edge.of(
            "if parameter < params.parameters {",
            "if parameter <= params.parameters {",
        ),
        LastK.of("sums[lane] += sums[lane + half];", "sums[lane] = sums[lane];"),
        LastK.of("broken[lane] |= broken[lane + half];", "broken[lane] |= 0u;"),
        LastK.of("i < params.per_layer;", "i + 1u < params.per_layer;"),
        Carry.of("select(0u, 1u, mid < ll.x) +", "0u +"),
        Carry.of("select(0u, 1u, low < hh.y) +", "0u +"),
        Carry.of("(low >> (32u - zeros))", "0u"),
        Carry.of("any |= bad;", "any = bad;"),
        Stride.of("layer * params.per_layer + i", "layer * 2u + i"),
        Index.of("state[first] == 0u {", "state[first] < 100u {"),
        Index.of("alive && bad > 0u &&", "bad > 0u &&"),
        Index.of("state[own + CLEAN] = 0u;\n        }", "}"),
        Index.of("state[own + SKIPPED] += 1u;", ""),
        Index.of("state[own + TAKES] = 1u;", ""),
        Index.of("state[own + TAKEN] = taken + 1u;", ""),
        Index.of("corrected(at + 2u,", "corrected(at,"),
        Index.of(
            "values[params.values_offset + 1u] = power_of_two(exponent - 1);",
            "values[params.values_offset] = power_of_two(exponent - 1);",
        ),
    ],
)];
