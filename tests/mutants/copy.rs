//! Mutants of shaders/copy/.

use super::Kind::{Edge, Index, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "copy/word.wgsl",
        &[
            Edge.of("i < params.count", "i + 1u < params.count"),
            Edge.of("i < params.count", "i <= params.count"),
            Index.of("src[params.src_offset + i]", "src[i]"),
            Index.of("dst[params.dst_offset + i]", "dst[i]"),
            Stride.of("groups) * GROUP + lane", "groups) * (GROUP - 1u) + lane"),
        ],
    ),
    shader(
        "copy/vec4.wgsl",
        &[
            Stride.of("first + s * GROUP", "first + s"),
            Edge.of("i < params.count", "i <= params.count"),
            Edge.of("i < params.count", "i + 1u < params.count"),
            Edge.of("s < STRIDE", "s + 1u < STRIDE"),
            Index.of("src[params.src_offset + i]", "src[i]"),
            Index.of("dst[params.dst_offset + i]", "dst[i]"),
        ],
    ),
];
