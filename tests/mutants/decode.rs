//! Mutants of shaders/decode/.

use super::Kind::{Carry, Edge, Index, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "decode/decode.wgsl",
    &[
        Carry.of("offset + 4u * m > 32u && ", "offset + 4u * m > 36u && "),
        Carry.of("offset + 4u * m > 64u && ", "offset + 4u * m > 68u && "),
        Edge.of(
            "(params.cols + WIDTH - 1u) / WIDTH",
            "(params.cols + WIDTH - 2u) / WIDTH",
        ),
        Edge.of("row >= params.rows", "row > params.rows"),
        Padding.of(
            "vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count)",
            "vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(count)",
        ),
        Index.of("(8u * (block & 3u))", "(8u * (block & 1u))"),
        Index.of("offset + i * m;", "offset + i;"),
        Index.of(
            "(head[params.head_offset] >> 23u)",
            "(head[params.head_offset] >> 24u)",
        ),
        Stride.of("(col / 32u) * m + bit / 32u", "(col / 32u) * 4u + bit / 32u"),
        Rounding.of("bf16_round_nearest(bits.z)", "bf16_truncate(bits.z)"),
        Edge.of("in_row + 1u < params.codes_ld", "in_row + 2u < params.codes_ld"),
        Edge.of("in_row + 2u < params.codes_ld", "in_row + 3u < params.codes_ld"),
        Index.of(
            "words[min(bit_of / 32u + 1u, 2u)]",
            "words[min(bit_of / 32u + 1u, 1u)]",
        ),
        Padding.of("(left + 1u) / 2u);", "left / 2u);"),
        Edge.of("if left > 4u {", "if left > 5u {"),
        Stride.of(
            "row * params.scales_ld + block / 4u",
            "row * params.codes_ld + block / 4u",
        ),
    ],
)];
