//! Mutants of shaders/relu/.

use super::Kind::{Edge, Index, Nan, Padding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[shader(
    "relu/relu.wgsl",
    &[
        Nan.of(
            "u < 0x80000000u || u > 0xff800000u",
            "u < 0x80000000u || u >= 0xff800000u",
        ),
        Nan.of("u < 0x80000000u || u > 0xff800000u", "u < 0x80000000u"),
        Nan.of(
            "low < 0x8000u || low > 0xff80u",
            "low < 0x8000u || low >= 0xff80u",
        ),
        Nan.of("high < 0x8000u || high > 0xff80u", "high < 0x8000u"),
        Nan.of("low > 0u && low <= 0x7f80u", "low > 0u && low < 0x7f80u"),
        Nan.of("high > 0u && high <= 0x7f80u", "high > 0u && high < 0x8000u"),
        Nan.of("u > 0u && u <= 0x7f800000u", "u > 0u && u < 0x80000000u")
            .times(2),
        Nan.of("u > 0u && u <= 0x7f800000u", "u > 0u && u < 0x7f800000u")
            .times(2),
        Edge.of("u > 0u && u <= 0x7f800000u", "u <= 0x7f800000u").times(2),
        Edge.of("low > 0u && low <= 0x7f80u", "low <= 0x7f80u"),
        Edge.of(
            "u < 0x80000000u || u > 0xff800000u",
            "u <= 0x80000000u || u > 0xff800000u",
        ),
        Edge.of(
            "high < 0x8000u || high > 0xff80u",
            "high <= 0x8000u || high > 0xff80u",
        ),
        Edge.of("row >= params.rows", "row > params.rows").times(2),
        Padding.of("col + 1u == params.words;", "col == params.words;"),
        Padding.of(
            "let half = params.odd == 1u && col",
            "let half = params.odd == 0u && col",
        ),
        Stride.of("row * params.mask_ld", "row * params.src_ld"),
        Index.of("mask[start + col / 2u]", "mask[start + col]"),
        Index.of(
            "word << 16u, word & 0xffff0000u",
            "word & 0xffff0000u, word << 16u",
        ),
        Index.of("above(mask[at + 1u])", "above(mask[at])"),
        Stride.of(
            "src[params.src_offset + row * params.src_ld",
            "src[params.src_offset + row * params.words",
        ),
        Stride.of(
            "dst[params.dst_offset + row * params.dst_ld + col] = ",
            "dst[params.dst_offset + row * params.words + col] = ",
        ),
        Index.of("params.mask_offset + row", "row"),
        Index.of("src[params.src_offset + row", "src[row"),
    ],
)];
