//! Mutants of shaders/lib/.

use super::Kind::{Carry, Edge, Formula, Index, Nan, Padding, Rounding, Stride, Tie};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "lib/bf16.wgsl",
        &[
            Tie.of("u + 0x7fffu + ((u >> 16u) & 1u)", "u + 0x8000u"),
            Tie.of("u + 0x7fffu + ((u >> 16u) & 1u)", "u + 0x7fffu"),
            Rounding.of("u + 0x7fffu + ((u >> 16u) & 1u)", "u + 0x7fffu + ((u >> 15u) & 1u)"),
            Rounding.of("(u + (r & 0xffffu)) >> 16u", "(u + (r & 0x7fffu)) >> 16u"),
            Rounding.of("(u + (r & 0xffffu)) >> 16u", "(u + 1u + (r & 0xffffu)) >> 16u"),
            Nan.of(
                "& 1u)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u)",
                "& 1u)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) >= 0x7f800000u)",
            ),
            Nan.of(
                "& 1u)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u)",
                "& 1u)) >> 16u;\n    return select(rounded, bf16_nan(u), u > 0x7f800000u)",
            ),
            Nan.of(
                "0xffffu)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u)",
                "0xffffu)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) >= 0x7f800000u)",
            ),
            Nan.of(
                "0xffffu)) >> 16u;\n    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u)",
                "0xffffu)) >> 16u;\n    return rounded",
            ),
            Nan.of("((u >> 16u) & 0x8000u) | 0x7fc0u", "0x7fc0u"),
            Nan.of("((u >> 16u) & 0x8000u) | 0x7fc0u", "(u >> 16u) | 0x7f80u"),
            Edge.of("(source & 0x7fffffffu) < 0x7f800000u", "(source & 0x7fffffffu) <= 0x7f800000u"),
            Edge.of("(bits & 0x7fffu) == 0x7f80u", "bits == 0x7f80u"),
            Index.of("(word >> (16u * (which & 1u)))", "(word >> (16u - 16u * (which & 1u)))"),
            Index.of("bitcast<f32>(word & 0xffff0000u)", "bitcast<f32>(word)"),
        ],
    ),
    shader(
        "lib/csr.wgsl",
        &[
            Index.of("+ entry / 2u], entry);", "+ entry / 2u], entry + 1u);"),
            Index.of("col_idx[params.col_idx_offset + entry / 2u]", "col_idx[entry / 2u]"),
            Index.of("col_idx[params.col_idx_offset + entry]", "col_idx[entry]"),
            Index.of("values[params.values_offset + entry / 2u], entry)", "values[params.values_offset + entry / 2u], 0u)"),
            Index.of("values[params.values_offset + entry]", "values[entry]"),
            Stride.of("values[params.values_offset + entry / 2u]", "values[params.values_offset + (entry + 1u) / 2u]"),
        ],
    ),
    shader(
        "lib/kahan.wgsl",
        &[
            Formula.of("bf16_low(moved) - y", "bf16_low(moved) + y"),
            Formula.of("bf16_low(sum) - w", "bf16_low(sum) - y"),
            // Without the rounding in between nothing is lost.
            Rounding.of("bitcast<u32>(bf16_low(sum) - w)", "bitcast<u32>((w + y) - w)"),
            Rounding.of("bf16_round_nearest(bitcast<u32>(w + y))", "bf16_truncate(bitcast<u32>(w + y))"),
            Rounding.of(
                "bf16_round_nearest(bitcast<u32>(bf16_low(sum) - w))",
                "bf16_truncate(bitcast<u32>(bf16_low(sum) - w))",
            ),
        ],
    ),
    shader(
        "lib/dst_vec4.wgsl",
        &[
            Index.of("dst[params.dst_offset + at / 4u]", "dst[params.dst_offset + at / 4u + 1u]"),
            Index.of("dst[params.dst_offset + at / 4u]", "dst[at / 4u]"),
            Stride.of("at / 4u", "at / 8u"),
            Index.of("= words;", "= words.yxzw;"),
        ],
    ),
    shader(
        "lib/dst_word.wgsl",
        &[
            Padding.of("if count > 2u {", "if count > 1u {"),
            Padding.of("if count > 3u {", "if count > 2u {"),
            Edge.of("if count > 1u {", "if count > 2u {"),
            Edge.of("if count > 3u {", "if count > 4u {"),
            Index.of("params.dst_offset + at", "at"),
            Index.of("dst[i + 3u] = words.w", "dst[i + 3u] = words.z"),
        ],
    ),
    shader(
        "lib/src_vec4.wgsl",
        &[
            Index.of("src[params.src_offset + at / 4u]", "src[params.src_offset + at / 4u + 1u]"),
            Index.of("src[params.src_offset + at / 4u]", "src[at / 4u]"),
            Stride.of("at / 4u", "at / 8u"),
        ],
    ),
    shader(
        "lib/src_word.wgsl",
        &[
            Index.of("src[i + 3u]", "src[i + 2u]"),
            Index.of("params.src_offset + at", "at"),
            Index.of("src[i + 1u], src[i + 2u]", "src[i + 2u], src[i + 1u]"),
        ],
    ),
    shader(
        "lib/index.wgsl",
        &[
            Index.of("group.y * groups.x + group.x", "group.x * groups.x + group.y"),
            Stride.of("group.y * groups.x + group.x", "group.x"),
            Stride.of("group.y * groups.x + group.x", "group.y * groups.y + group.x"),
            Edge.of("group.y * groups.x + group.x", "group.y * (groups.x - 1u) + group.x"),
        ],
    ),
    shader(
        "lib/vector.wgsl",
        &[
            Index.of("+ column / 2u], column)", "+ column / 2u], column + 1u)"),
            Index.of("x[params.x_offset + column / 2u]", "x[column / 2u]"),
            Index.of("x[params.x_offset + column]", "x[column]"),
            Stride.of("column / 2u", "column"),
        ],
    ),
    shader(
        "lib/step.wgsl",
        &[
            Index.of("    seed: vec2<u32>,\n    number: u32,\n", "    number: u32,\n    seed: vec2<u32>,\n"),
            Padding.of("    seed: vec2<u32>,\n", "    @size(12)\n    seed: vec2<u32>,\n"),
        ],
    ),
    shader(
        "lib/set_step.wgsl",
        &[
            Edge.of("lane < arrayLength(&values)", "lane + 1u < arrayLength(&values)"),
            Edge.of("@workgroup_size(32)", "@workgroup_size(16)"),
            Index.of("= values[lane]", "= values[lane ^ 1u]"),
            Index.of("step[lane] =", "step[lane + 1u] ="),
        ],
    ),
    shader(
        "lib/gate.wgsl",
        &[
            Formula.of("& table[at + 1u]) ==", "& 0xffffffffu) =="),
            Formula.of("== table[at + 2u]", ">= table[at + 2u]"),
            Edge.of("if i >= params.count {", "if i + 1u >= params.count {"),
            Stride.of("let at = 6u * i;", "let at = 6u * (i / 2u);"),
            Index.of("params.flags_offset + table[at]", "params.flags_offset"),
            Index.of(
                "open[3u * i + 1u] = select(0u, table[at + 4u], runs)",
                "open[3u * i + 1u] = select(0u, table[at + 3u], runs)",
            ),
        ],
    ),
    shader(
        "lib/random.wgsl",
        &[
            Index.of("block[(j >> 1u) & 3u]", "block[(j >> 2u) & 3u]"),
            Index.of("(16u * (j & 1u))", "(16u - 16u * (j & 1u))"),
            Index.of("select(block, next, j > 6u)", "select(block, next, j > 7u)"),
            Index.of("select(block, next, j > 4u), j + 3u", "select(block, next, j > 5u), j + 3u"),
            Index.of("select(block, next, j > 3u), next", "select(block, next, j > 4u), next"),
            Carry.of("index_hi << 29u", "index_hi << 28u"),
            Carry.of("index_hi >> 3u, stream, step", "index_hi, stream, step"),
            Carry.of("select(0u, 1u, end < index_lo)", "0u"),
            Carry.of("index_hi << 29u", "index_hi << 30u"),
            Index.of("index_lo & 7u);\n}\n\n// The counter", "index_lo & 3u);\n}\n\n// The counter"),
            Edge.of("if j != 0u {", "if j > 1u {"),
            Index.of("step << 8u", "step << 7u"),
            Index.of("stream, k >> 3u", "stream, k >> 4u"),
            Index.of("index_hi >> 3u, stream, step);", "index_hi >> 3u, step, stream);"),
            Carry.of("element_hi | (step << 8u)", "step << 8u"),
        ],
    ),
    shader(
        "lib/threefry.wgsl",
        &[
            Formula.of("vec2<u32>(18u, 20u)", "vec2<u32>(18u, 21u)"),
            Formula.of("vec2<u32>(23u, 5u)", "vec2<u32>(23u, 4u)"),
            Formula.of("k.w + 5u", "k.w + 4u"),
            Formula.of("0x1bd11bdau", "0x1bd11bdbu"),
            Index.of("k4, k.x + 2u", "k.x, k4 + 2u"),
            Edge.of("vec2<u32>(32u, 32u)", "vec2<u32>(31u, 32u)"),
            Index.of("vec4<u32>(seed.x, seed.y, 0u, 0u)", "vec4<u32>(seed.x, 0u, 0u, 0u)"),
        ],
    ),
    shader(
        "lib/philox.wgsl",
        &[
            Formula.of("    x = philox_round(x);\n    return", "    return"),
            Formula.of("0xbb67ae85u", "0xbb67ae84u"),
            Index.of("p0.x ^ x.c.w ^ x.k.y, p0.y", "p0.x ^ x.c.w ^ x.k.x, p0.y"),
        ],
    ),
    shader(
        "lib/wide.wgsl",
        &[
            Carry.of(" + (mid2 >> 16u), a * b", ", a * b"),
            Carry.of(" + (mid & 0xffffu)", ""),
            Carry.of("(mid >> 16u) + (mid2", "(mid2"),
        ],
    ),
];
