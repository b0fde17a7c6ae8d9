//! Mutants of shaders/transpose/.

use super::Kind::{Edge, Index, Padding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "transpose/transpose.wgsl",
    &[
        Edge.of("row * BLOCK + 1u < params.rows", "row * BLOCK + 2u < params.rows"),
        Edge.of("row * BLOCK >= params.rows ||", "row * BLOCK > params.rows ||")
            .times(2),
        Edge.of("|| col * BLOCK >= params.cols", "|| col * BLOCK > params.cols")
            .times(2),
        Padding.of("var second = 0u;", "var second = first;"),
        Padding.of(
            "HALVES && col * BLOCK + 1u < params.cols",
            "HALVES && col * BLOCK < params.cols",
        ),
        Index.of(
            "bf16_pack(first >> 16u, second >> 16u)",
            "bf16_pack(second >> 16u, first >> 16u)",
        ),
        Index.of("bf16_pack(first, second),", "bf16_pack(second, first),"),
        Index.of("params.src_offset + row", "row"),
        Index.of("params.dst_offset + col", "col"),
        Index.of(
            "let at = lane.x * PITCH + line;",
            "let at = line * PITCH + lane.x;",
        ),
        Index.of("tile[PLANE + at] = words.y;", "tile[PLANE + at] = words.x;"),
        Index.of(
            "/ params.across * SIDE + lane.x",
            "/ params.across * SIDE + lane.y",
        ),
        Index.of("% params.across * TILE;", "/ params.across * TILE;"),
        Stride.of("src[at + params.src_ld]", "src[at + params.dst_ld]"),
        Stride.of("dst[at + params.dst_ld]", "dst[at + params.src_ld]"),
        Stride.of("col * BLOCK * params.dst_ld", "col * BLOCK * params.src_ld"),
        Stride.of("row * BLOCK * params.src_ld", "row * BLOCK * params.dst_ld"),
    ],
)];
