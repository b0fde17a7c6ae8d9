//! Mutants of shaders/patches/.

use super::Kind::{Edge, Index, LastK, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "patches/patches.wgsl",
    &[
        Edge.of(
            "any(pixel >= vec2<u32>(params.width, params.height))",
            "any(pixel > vec2<u32>(params.width, params.height))",
        ),
        Edge.of(
            "        return 0u;\n    }\n    return element(",
            "        return 1u;\n    }\n    return element(",
        ),
        Edge.of("image >= params.images", "image > params.images")
            .times(2),
        Edge.of("if at < window {", "if at + 1u < window {"),
        Edge.of("/ stride + 1u", "/ stride"),
        Edge.of("params.out_height) - 1u", "params.out_height)"),
        LastK.of("y <= last.y", "y < last.y"),
        LastK.of("x <= last.x", "x < last.x"),
        Padding.of("2u * word + 1u < cols", "2u * word < cols"),
        Padding.of("2u * word + 1u < params.channels", "2u * word < params.channels"),
        Padding.of(
            "- vec2<u32>(params.pad_width, params.pad_height)",
            "- vec2<u32>(params.pad_height, params.pad_width)",
        ),
        Padding.of(
            "pixel + vec2<u32>(params.pad_width, params.pad_height)",
            "pixel + vec2<u32>(params.pad_height, params.pad_width)",
        ),
        Rounding.of(
            "bits = bf16_round_nearest(sums.x)",
            "bits = bf16_truncate(sums.x)",
        ),
        Rounding.of("bf16_round_nearest(sums.y)", "bf16_truncate(sums.y)"),
        Stride.of(
            "place * vec2<u32>(params.stride_width, params.stride_height)",
            "place * vec2<u32>(params.stride_height, params.stride_width)",
        ),
        Stride.of(
            "at / vec2<u32>(params.stride_width, params.stride_height)",
            "at / vec2<u32>(params.stride_height, params.stride_width)",
        ),
        Stride.of("y * params.stride_height)", "y * params.stride_width)"),
        Stride.of("x * params.stride_width)", "x * params.stride_height)"),
        Stride.of(
            "pixel.y * params.width + pixel.x",
            "pixel.y * params.height + pixel.x",
        ),
        Stride.of(
            "pixel.x) * params.pixel_ld + col",
            "pixel.x) * params.channels + col",
        ),
        Stride.of("row * params.src_ld", "row * params.dst_ld"),
        Stride
            .of("row * params.dst_ld + word", "row * words + word")
            .times(2),
        Index.of("params.src_offset + row", "row"),
        Index.of(
            "inside % params.window_width, inside / params.window_width",
            "inside % params.window_height, inside / params.window_height",
        ),
        Index.of(
            "bf16_half(src[first + at / 2u], at)",
            "bf16_half(src[first + at / 2u], 0u)",
        ),
        Index.of("image * params.out_height + y", "image * params.out_width + y"),
        Index.of("sum.y += value(row, col + 1u)", "sum.y += value(row, col)"),
        Index.of(
            "(row, col + 1u);\n            }",
            "(row, col + 2u);\n            }",
        ),
        Index.of(
            "at % params.out_width, params.first_line + at / params.out_width",
            "at / params.out_width, params.first_line + at % params.out_width",
        ),
        Index.of(
            "at % params.width, params.first_line + at / params.width",
            "at / params.width, params.first_line + at % params.width",
        ),
        Index.of(
            "params.first_line + at / params.out_width",
            "at / params.out_width",
        ),
        Index.of("params.first_line + at / params.width", "at / params.width"),
        Index.of(" - params.first_read", ""),
        Edge.of(
            "row % (params.lines * params.width)",
            "row % (params.lines * params.height)",
        ),
    ],
)];
