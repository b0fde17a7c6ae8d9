//! Mutants of shaders/fmac/, and of the library file that these shaders alone use.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Nan, Padding, Rounding, Stride, Tie};
use super::{Shader, shader};

/// The software adapter's f32 unit keeps subnormals, so that more operands are ordinary on it than elsewhere.
const IEEE: &str = "the f32 unit of the software adapter is right for these operands too";

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "lib/fmac.wgsl",
        &[
            Tie.of(
                "(placed + three + ((placed >> three) & one)) >> three",
                "(placed + three + one) >> three",
            ),
            Tie.of(
                "(placed + three + ((placed >> three) & one)) >> three",
                "(placed + three) >> three",
            ),
            Tie.of("(msmall >> align) | min(lost, one)", "(msmall >> align)"),
            Tie.of("half - one + ((significand >> drop) & one)", "half"),
            Carry.of("(sum >> carry) | (sum & carry)", "(sum >> carry)"),
            Carry.of(
                "let carry = sum >> vec4<u32>(27u)",
                "let carry = sum >> vec4<u32>(28u)",
            ),
            Edge.of(
                "vec4<i32>(1) - exponent, vec4<i32>(0), vec4<i32>(25)",
                "vec4<i32>(1) - exponent, vec4<i32>(0), vec4<i32>(23)",
            ),
            Edge.of("vec4<u32>(27u));\n    let lost", "vec4<u32>(25u));\n    let lost"),
            Edge.of(
                "select(zero, normal, asmall >= normal)",
                "select(zero, normal, asmall > normal)",
            ),
            Edge.of("vec4<i32>(0), vec4<i32>(25)", "vec4<i32>(0), vec4<i32>(24)"),
            Edge.of(
                "select(zero, normal, abig >= normal)",
                "select(zero, normal, abig > normal)",
            ),
            Edge.of("vec4<u32>(0x80u), ax >= normal", "vec4<u32>(0x80u), ax > normal"),
            Edge.of("vec4<u32>(0x80u), ay >= normal", "vec4<u32>(0x80u), ay > normal"),
            Edge.of(
                "let ey = max(ay >> vec4<u32>(23u), one)",
                "let ey = ay >> vec4<u32>(23u)",
            ),
            Edge.of(
                "ebig + carry - one);\n    let placed",
                "ebig + carry);\n    let placed",
            ),
            Nan.of(
                "(largest == inf) & (min(ax, ay) == zero)",
                "(largest == inf) & (min(ax, ay) < zero)",
            ),
            Nan.of("(largest > inf) |", "(largest >= inf) |"),
            Nan.of("(abig > inf) | ((asmall == inf) & opposite)", "(abig > inf)"),
            Nan.of("bits = select(bits, big, abig == inf);", ""),
            Padding.of("(u & vec4<u32>(0x7fff0000u)) == vec4<u32>()", "u == vec4<u32>()"),
            Rounding.of(
                "return (u + vec4<u32>(0x7fffu) + odd)",
                "return (u + vec4<u32>(0x8000u))",
            ),
            Rounding.of("return (u + r)", "return (u + (r & vec4<u32>(0x7fffu)))"),
            Edge.of("vec4<u32>(0x5d800000u)", "vec4<u32>(0x7f800000u)"),
            Edge.of("let low = vec4<u32>(0x26000000u);", "let low = vec4<u32>(1u);")
                .unreached(IEEE),
            Edge.of("vec4<u32>(0x7e800000u)", "vec4<u32>(0x80000000u)"),
            Index.of(
                "first & 0xffff0000u, second << 16u",
                "second << 16u, first & 0xffff0000u",
            ),
            Formula.of(
                "vec4<i32>(ex + ey) - vec4<i32>(118)",
                "vec4<i32>(ex + ey) - vec4<i32>(117)",
            ),
        ],
    ),
    shader(
        "fmac/fmac.wgsl",
        &[
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Edge.of(
                "fmac_ordinary_sums(acc) && fmac_ordinary_factors(factor) && ",
                "fmac_ordinary_factors(factor) && ",
            ),
            Edge.of(" && fmac_ordinary_factors(other) {", " {"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("(params.cols + 7u) / 8u", "(params.cols + 6u) / 8u"),
            Edge.of("(cols - 1u) / 2u", "cols / 2u"),
            Padding.of("if (cols & 1u) == 1u {", "if (cols & 1u) == 2u {"),
            Padding.of("== vec4<u32>(last)", "<= vec4<u32>(last)"),
            Index.of("row * params.cols + first", "row * params.cols + at"),
            Index.of("rounded(high, draws.high)", "rounded(high, draws.low)"),
            Stride.of("row * params.x_ld", "row * params.y_ld"),
            Stride.of("row * params.y_ld", "row * params.a_ld"),
            Rounding.of("fmac_pack(fmac_round_nearest(total))", "fmac_pack(total)"),
        ],
    ),
    shader(
        "fmac/load_word.wgsl",
        &[
            Padding.of("if last > 1u {", "if last > 0u {"),
            Padding.of("if last > 2u {", "if last > 1u {"),
            Edge.of("if last > 0u {", "if last > 1u {"),
            Edge.of(
                "min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last))",
                "min(vec4<u32>(0u, 1u, 2u, 2u), vec4<u32>(last))",
            ),
            Index.of("four(params.x_offset + at, last)", "four(at, last)"),
            Index.of("four(params.y_offset + at, last)", "four(at, last)"),
            Index.of("let i = params.a_offset + at;", "let i = at;"),
            Index.of("a[i + 3u] = words.w", "a[i + 3u] = words.z"),
        ],
    ),
    shader(
        "fmac/load_vec4.wgsl",
        &[
            Index.of(
                "x[params.x_offset + at / 4u]",
                "x[params.x_offset + at / 4u + 1u]",
            ),
            Index.of("y[params.y_offset + at / 4u]", "y[at / 4u]"),
            Index.of("return a[params.a_offset + at / 4u]", "return a[at / 4u]"),
            Index.of(
                "a[params.a_offset + at / 4u] = words",
                "a[params.a_offset + at / 4u] = words.yxzw",
            ),
            Stride.of("x[params.x_offset + at / 4u]", "x[params.x_offset + at / 8u]"),
        ],
    ),
    shader(
        "fmac/product.wgsl",
        &[
            Rounding.of("select(total, rounded, ends != 0u)", "rounded"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("select(0u, 1u, n3 < lo)", "0u"),
            Carry.of("select(0u, 1u, n2 < lo)", "select(0u, 1u, n1 < lo)"),
            Carry.of("select(0u, 1u, n1 < lo)", "0u"),
            Carry.of("select(0u, 1u, n0 < lo)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Carry.of("params.chunk - params.first_k % params.chunk", "params.chunk"),
            Carry.of("(params.flags & FIRST) == 0u", "(params.flags & FIRST) == 2u"),
            LastK.of("(last && k + i + 1u == params.k)", "(last && k + i == params.k)"),
            LastK.of("max(left, 4u) - 4u", "left - min(left, 3u)"),
            LastK.of(
                "a_across(word + 3u * ld, rows, left > 3u)",
                "a_across(word + 3u * ld, rows, left > 2u)",
            ),
            LastK.of(
                "b_across(word + ld, cols, left > 1u)",
                "b_across(word + ld, cols, left > 0u)",
            ),
            LastK.of(
                "< vec4<u32>(left));\n}\n\n// Four elements",
                "<= vec4<u32>(left));\n}\n\n// Four elements",
            ),
            Edge.of("min(3u, rows - 1u)", "min(2u, rows - 1u)"),
            Edge.of("(params.n + 3u) / 4u", "(params.n + 2u) / 4u"),
            Edge.of("batch >= params.batch", "batch > params.batch"),
            Edge.of("min(params.rows - row0, 4u)", "4u"),
            Padding.of("fmac_pack(keep(value, cols))", "fmac_pack(value)"),
            Padding.of("    if cols > 2u {\n        c[", "    if cols > 1u {\n        c["),
            Index.of("(place.k >> 1u) & 3u", "(place.k >> 2u) & 3u"),
            Index.of("(place.k & 1u) == 1u", "(place.k & 1u) == 0u"),
            Index.of("params.first_k + k, ends)", "k, ends)"),
            Index.of("params.first_k + params.k, 1u)", "params.k, 1u)"),
            Index.of("row * params.n, place.k", "row * params.c_ld * 2u, place.k"),
            Index.of("y.s6, low(w.w3), ends & 64u", "y.s6, low(w.w2), ends & 64u"),
            Stride.of(
                "params.sums_offset + tile * 16u",
                "params.sums_offset + tile * 12u",
            ),
            Stride.of("batch * params.c_batch + row0", "batch * params.a_batch + row0"),
            Formula.of("vec4<u32>(ONE)", "vec4<u32>(HIGH)"),
            Edge.of("(ends >> i) & 1u", "(ends >> (i + 1u)) & 1u"),
            Edge.of("ordinary4(xa) && ordinary4(xb)", "ordinary4(xa)"),
            Edge.of("ordinary4(ya) && ordinary4(yb)", "ordinary4(ya)"),
        ],
    ),
];
