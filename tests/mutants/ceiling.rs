//! Mutants of shaders/ceiling/.

use super::Kind::{Edge, Formula, Index, LastK, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "ceiling/ceiling.wgsl",
    &[
        Formula.of("d = (d ^ c) + m", "d = (d + c) ^ m"),
        Formula.of("b = b * m + c", "b = b + m + c"),
        LastK.of("s < params.steps", "s + 1u < params.steps").times(2),
        LastK.of("v < vectors", "v + 1u < vectors"),
        Edge.of("i >= params.count", "i > params.count").times(3),
        Edge.of("i >= params.count", "i + 1u >= params.count").times(3),
        Edge.of("params.src_words / 4u", "params.src_words / 4u - 1u"),
        Stride.of("v += params.count", "v += params.count + 1u"),
        Index.of("f32(i & 255u)", "f32(i & 127u)"),
        Index.of("src[params.src_offset + v]", "src[v]"),
        Index.of("var e = a + 12u", "var e = a + 11u"),
    ],
)];
