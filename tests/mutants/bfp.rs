//! Mutants of shaders/bfp/, and of the library files that these shaders alone use.

use super::Kind::{Carry, Edge, Formula, Index, Nan, Padding, Rounding, Stride, Tie};
use super::{HUGE, Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "lib/rounding.wgsl",
        &[
            Tie.of("- 1u + ((m >> s) & 1u)", ""),
            Tie.of("- 1u + ((m >> s) & 1u)", "- 1u"),
            Rounding.of("(1u << (s - 1u))", "(1u << s)"),
            Rounding.of("+ (r & 0xffffu)) >> 16u", "+ (r & 0x7fffu)) >> 16u"),
            Edge.of("clamp(sh, 1u, 25u)", "clamp(sh, 1u, 24u)"),
            Edge.of("max((u >> 23u) & 0xffu, 1u)", "(u >> 23u) & 0xffu"),
            Edge.of("select(0x00800000u, 0u, (u & 0x7f800000u) == 0u)", "0x00800000u"),
            Edge.of("m >> min(sh, 31u)", "m >> (sh & 15u)"),
            Index.of("if rounding == ROUND_STOCHASTIC {", "if rounding == ROUND_TOWARD_ZERO {"),
        ],
    ),
    shader(
        "lib/block.wgsl",
        &[
            Formula.of("exponent_byte + 25u - m", "exponent_byte + 24u - m"),
            Edge.of("(1u << (m - 1u)) - 1u);\n    return select(", "(1u << (m - 1u)));\n    return select("),
            Edge.of("if exponent_byte + k >= m - 1u {", "if exponent_byte + k >= m {"),
            Nan.of("0u, exponent_byte == 255u)", "0u, exponent_byte == 254u)"),
            Nan.of("return 0x7fc00000u;", "return 0x7f800000u;"),
            Index.of("((u >> 31u) << (m - 1u)) | magnitude", "magnitude"),
            Carry.of("offset + m > 32u)", "offset + m >= 32u)"),
            Padding.of("& ((1u << m) - 1u);", "& ((1u << m) * 2u - 1u);"),
        ],
    ),
    shader(
        "bfp/decode.wgsl",
        &[
            Carry.of("offset + 4u * m > 32u && ", "offset + 4u * m > 36u && "),
            Edge.of("(params.cols + WIDTH - 1u) / WIDTH", "(params.cols + WIDTH - 2u) / WIDTH"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Padding.of("vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count)", "vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(count)"),
            Index.of("(8u * (block & 3u))", "(8u * (block & 1u))"),
            Stride.of("(col / 32u) * m + bit / 32u", "(col / 32u) * 4u + bit / 32u"),
            Rounding.of("bf16_round_nearest(bits.z)", "bf16_truncate(bits.z)"),
        ],
    ),
    shader(
        "bfp/encode_shared.wgsl",
        &[
            Carry.of("select(0u, 1u, lo < local)", "0u").unreached(HUGE),
            Carry.of("packed.y |= code >> (32u - bit);", ""),
            Edge.of("four < vec4<u32>(params.cols)", "four <= vec4<u32>(params.cols)"),
            Edge.of("exponent < params.exponents_ld", "exponent <= params.exponents_ld"),
            Edge.of("to < params.codes_ld", "to + 1u < params.codes_ld"),
            Index.of("bytes[at + 3u * across]", "bytes[at + 2u * across]"),
            Index.of("largest[first + i]", "largest[lane]"),
            Stride.of("chunk * 16u * m + i", "chunk * 8u * m + i"),
        ],
    ),
    shader(
        "bfp/encode_runs.wgsl",
        &[
            Carry.of("code >> (params.bits - offset), 0u", "0u, 0u"),
            Carry.of("select(0u, 1u, lo < local)", "0u").unreached(HUGE),
            Edge.of("min(first + params.block, params.cols)", "first + params.block"),
            Edge.of("col < end; col++) {\n            largest", "col + 1u < end; col++) {\n            largest"),
            Padding.of("    if offset > 0u {", "    if offset > 8u {"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("<< (8u * b)", "<< (8u * (3u - b))"),
            Stride.of("row * params.exponents_ld + word", "row * params.codes_ld + word"),
        ],
    ),
    shader(
        "bfp/product.wgsl",
        &[
            Carry.of("let lo = params.base_lo + local;\n        let hi = params.base_hi + select(0u, 1u, lo < local)", "let lo = params.base_lo + local;\n        let hi = params.base_hi"),
            Edge.of("min(row, params.n - 1u)", "min(row, params.n)"),
            Nan.of("(marks(bytes.w, b_bytes) << 12u)", "(marks(bytes.w, b_bytes) << 8u)"),
            Padding.of("select(0u, bits[j + 1u], col + j + 1u < params.n)", "bits[j + 1u]"),
            Formula.of("- 254 - 2 *", "- 253 - 2 *"),
            Index.of("a_value(a_row(row + 3u), at, offset)", "a_value(a_row(row + 2u), at, offset)"),
            Stride.of("(k / 32u) * params.bits + bit / 32u", "(k / 32u) * 4u + bit / 32u"),
        ],
    ),
];
