//! Mutants of shaders/max_pool/.

use super::Kind::{Edge, Index, Nan, Padding, Stride, Tie};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "max_pool/max_pool.wgsl",
    &[
        Index.of("if X_HALVES {", "if HALVES {"),
        Tie.of("key > best", "key >= best"),
        Tie.of("if magnitude == 0u {", "if magnitude == 1u {"),
        Nan.of("magnitude > 0x7f800000u", "magnitude >= 0x7f800000u"),
        Nan.of("return 0xffffffffu;", "return 0xfffffffeu - u;"),
        Nan.of("magnitude > 0x7f800000u", "u > 0x7f800000u && u < 0x80000000u"),
        Edge.of("select(u | 0x80000000u, ~u,", "select(u | 0x80000000u, u,"),
        Edge.of("i < params.window_height", "i + 1u < params.window_height"),
        Edge.of("j < params.window_width", "j + 1u < params.window_width"),
        Edge.of("image >= params.images", "image > params.images"),
        Edge.of(
            "any(window >= vec2<u32>(params.out_width, params.out_height))",
            "any(window > vec2<u32>(params.out_width, params.out_height))",
        ),
        Edge.of(".row != row", ".row > row"),
        Padding.of("2u * word + 1u < outputs", "2u * word < outputs"),
        Padding.of("2u * word + 1u < params.channels", "2u * word < params.channels"),
        Stride.of(
            "window.y * params.stride_height",
            "window.y * params.window_height",
        ),
        Stride.of("window.x * params.stride_width", "window.x * params.window_width"),
        Stride.of("(top + i) * params.width", "(top + i) * params.height"),
        Stride.of(
            "place / vec2<u32>(params.stride_width, params.stride_height)",
            "place / vec2<u32>(params.stride_height, params.stride_width)",
        ),
        Stride.of("+ image * params.y_ld + word", "+ image * words + word"),
        Stride.of("+ row * params.dx_ld + word", "+ row * params.x_ld + word"),
        Stride.of(
            "row * params.x_ld + channel / 2u",
            "row * params.dx_ld + channel / 2u",
        ),
        Index.of("channel % 2u == 1u", "channel % 2u == 0u"),
        Index.of("element % 2u == 1u", "channel % 2u == 1u"),
        Index.of(
            "window % params.out_width, window / params.out_width",
            "window / params.out_width, window % params.out_width",
        ),
        Index.of(
            "window.y * params.out_width + window.x",
            "window.y * params.out_height + window.x",
        ),
        Index.of(
            "x[params.x_offset + row * params.x_ld + channel];",
            "x[row * params.x_ld + channel];",
        ),
        Index.of(
            "src[params.src_offset + image * params.y_ld + element / 2u]",
            "src[image * params.y_ld + element / 2u]",
        ),
    ],
)];
