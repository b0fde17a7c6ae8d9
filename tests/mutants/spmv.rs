//! Mutants of shaders/spmv/.

use super::Kind::{Carry, Edge, Index, LastK, Nan, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "spmv/scalar.wgsl",
        &[
            LastK.of("entry < end", "entry + 1u < end"),
            Edge.of("row >= params.rows", "row > params.rows"),
            Nan.of("count > params.most", "count >= params.most"),
            Nan.of("count > params.most", "false"),
            Index.of("csr_value(entry)", "csr_value(first)"),
            Index.of("row_ptr[at + 1u]", "row_ptr[row + 1u]"),
            Index.of("y[params.y_offset + row]", "y[row]"),
            Stride.of("groups) * GROUP + lane", "groups) * GROUP / 2u + lane"),
        ],
    ),
    shader(
        "spmv/vector.wgsl",
        &[
            Stride.of("entry += LANES", "entry += LANES + 1u"),
            LastK.of("entry < end", "entry + 1u < end"),
            Edge.of("lane < half", "lane + 1u < half"),
            Edge.of(
                "row < params.rows {\n        let",
                "row + 1u < params.rows {\n        let",
            ),
            Edge.of(
                "lane == 0u && row < params.rows",
                "lane == 0u && row <= params.rows",
            ),
            Nan.of("count > params.most", "count >= params.most"),
            Nan.of("count > params.most", "false"),
            Carry.of("half > 0u; half /= 2u", "half > 1u; half /= 2u"),
            Index.of("partial[invocation + half]", "partial[lane + half]"),
            Index.of("y[params.y_offset + row]", "y[row]"),
        ],
    ),
    shader(
        "spmv/merge_path.wgsl",
        &[
            Carry.of("params.adds == 1u", "params.adds == 2u"),
            Carry.of(
                "carry[params.carry_offset + 2u * share] = row",
                "carry[params.carry_offset + 2u * share] = row + 1u",
            ),
            Edge.of("column >= params.x_count", "column > params.x_count"),
            Edge.of(
                "row_end(middle) + middle < item",
                "row_end(middle) + middle <= item",
            ),
            Index.of("entry - params.entry_base", "entry"),
            Index.of("row - params.row_base + 1u", "row + 1u"),
            Index.of("params.y_offset + row - params.row_base", "params.y_offset + row"),
            Index.of("csr_column(at) - params.x_base", "csr_column(at)"),
            Stride.of(
                "carry[params.carry_offset + 2u * share + 1u]",
                "carry[params.carry_offset + share + 1u]",
            ),
        ],
    ),
    shader(
        "spmv/merge.wgsl",
        &[
            Carry.of("waiting += carry_sums[lane - 1u]", "waiting += carry_sums[lane]"),
            Carry.of("carry_rows[lane - back] == row", "true"),
            Carry.of("back < GROUP; back *= 2u", "back < GROUP / 2u; back *= 2u"),
            Carry.of("if row == begun {", "if row == begun + 1u {"),
            Edge.of("lane >= back &&", "lane > back &&"),
            Edge.of("i <= rows; i += GROUP", "i < rows; i += GROUP"),
            Edge.of("i < entries; i += GROUP", "i + 1u < entries; i += GROUP"),
            Edge.of("min(start + params.share, params.items)", "start + params.share"),
            Edge.of("+ middle < item", "+ middle <= item"),
            // Clamps against rows past the last one guard values that nobody uses, and groups past the last share write
            // carries that others overwrite: without them results are the same.
            Index.of("staged[rows + 1u + entry]", "staged[rows + entry]"),
            Index.of("product(first_entry + i)", "product(i)"),
            Stride.of("lane * ITEMS", "lane * (ITEMS - 1u)"),
            Edge.of("i <= rows; i += GROUP", "i <= rows; i += GROUP + 1u"),
            Carry.of("waiting = sum;", "waiting += 0.0;"),
            Carry.of(
                "if lane > 0u {\n            // The lane",
                "if lane > 1u {\n            // The lane",
            ),
            Carry.of("carry_rows[lane - back] == row", "carry_rows[lane - back] <= row"),
            Carry.of(
                "store_carry(share, first_row + row, sum)",
                "store_carry(share, first_row + row, waiting)",
            ),
            Index.of("max(item, entries) - entries", "max(item, rows) - rows"),
        ],
    ),
    shader(
        "spmv/merge_scalar.wgsl",
        &[
            LastK.of("item < last", "item + 1u < last"),
            Edge.of("min(first + params.share, params.items)", "first + params.share"),
            Edge.of("- params.first_item + params.share - 1u)", "- params.first_item)"),
            Carry.of("            sum = 0.0;\n", ""),
            Carry.of("store_carry(share, row, sum)", "store_carry(share, row, 0.0)"),
            Index.of("store_row(row, sum)", "store_row(row + 1u, sum)"),
            Stride.of("params.first_item + share * params.share", "share * params.share"),
        ],
    ),
    shader(
        "spmv/carry.wgsl",
        &[
            Carry.of("carry_row(share - 1u) != carry_row(share)", "true"),
            LastK.of("at < stop; at += GROUP", "at + 1u < stop; at += GROUP"),
            LastK.of(
                "at < end && carry_row(at) == row",
                "at + 1u < end && carry_row(at) == row",
            ),
            Edge.of(
                "row >= params.first_row && row - params.first_row < params.rows",
                "row < params.rows",
            ),
            Edge.of(
                "row - params.first_row < params.rows",
                "row - params.first_row <= params.rows",
            ),
            Carry.of("half > 0u; half /= 2u", "half > 1u; half /= 2u"),
            Carry.of("if row == open {", "if row != open {"),
            Stride.of(
                "carry[params.carry_offset + 2u * share + 1u]",
                "carry[params.carry_offset + share + 1u]",
            ),
            Index.of(
                "params.y_offset + row - params.first_row",
                "params.y_offset + row",
            ),
        ],
    ),
];
