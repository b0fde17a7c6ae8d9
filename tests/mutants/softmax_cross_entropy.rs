//! Mutants of shaders/softmax_cross_entropy/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "softmax_cross_entropy/common.wgsl",
        &[
            Formula.of(
                "select(0.0, 1.0, col == label)",
                "select(0.0, 1.0, col + 1u == label)",
            ),
            Formula.of("* (params.scale", "+ (params.scale"),
            Formula.of("params.scale * step.loss_scale", "params.scale"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("col == first || (lo & 7u) == 0u", "(lo & 7u) == 0u"),
            Index.of("half_word(block, lo & 7u)", "half_word(block, col & 7u)"),
            Index.of("row * params.classes + col", "row * params.grad_ld + col"),
            Index.of("params.kept_offset + local - first", "params.kept_offset + local"),
            Edge.of("label < params.classes", "label <= params.classes"),
            Padding.of("if col + 1u == end {", "if col + 2u == end {"),
            Padding.of("(col & 1u) == 1u));", "(col & 1u) == 0u));"),
            Rounding.of("bf16_round_nearest(bits)", "bf16_truncate(bits)"),
            Stride.of("row * params.logits_ld", "row * params.classes"),
            Stride.of("row * params.grad_ld", "row * params.logits_ld"),
            Index.of("grad[to + col - first] = bits", "grad[to + col] = bits"),
        ],
    ),
    shader(
        "softmax_cross_entropy/row.wgsl",
        &[
            LastK.of(
                "var col = 0u; col < params.classes",
                "var col = 0u; col + 1u < params.classes",
            ),
            LastK.of(
                "var col = 1u; col < params.classes",
                "var col = 1u; col + 1u < params.classes",
            ),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("label < params.classes", "label <= params.classes"),
            Formula.of("(logit(start, label) - top)", "(logit(start, label) + top)"),
            Stride.of("row * params.logits_ld", "row * params.classes"),
            Index.of("labels[params.labels_offset + row]", "labels[row]"),
            Index.of("loss[params.loss_offset + row]", "loss[row]"),
        ],
    ),
    shader(
        "softmax_cross_entropy/parts.wgsl",
        &[
            Carry.of("sum = bitcast<f32>(partial[at + 1u]);", "sum = 0.0;"),
            Carry.of("max(bitcast<f32>(partial[at]), top)", "top"),
            Carry.of("params.end == params.classes", "params.first == 0u"),
            LastK.of(
                "var col = 0u; col < params.end - params.first",
                "var col = 0u; col + 1u < params.end - params.first",
            ),
            LastK.of(
                "var col = 1u; col < params.end - params.first",
                "var col = 1u; col + 1u < params.end - params.first",
            ),
            // Without `label < params.end`, or with `<=`, the part that has the label writes last: the same.
            Edge.of(
                "label >= params.first && label < params.end",
                "label > params.first && label < params.end",
            ),
            Edge.of("+ row] < params.classes", "+ row] <= params.classes"),
            Index.of("logit(start, label - params.first)", "logit(start, label)"),
            Stride
                .of(
                    "params.partial_offset + 3u * row",
                    "params.partial_offset + 2u * row",
                )
                .times(3),
            Edge.of("row >= params.rows", "row > params.rows").times(3),
            Carry.of(
                "if params.first > 0u {\n        top",
                "if params.first > 1u << 30u {\n        top",
            ),
            Formula.of(
                "log(sum) - (bitcast<f32>(partial[at + 2u]) - top)",
                "log(sum) - bitcast<f32>(partial[at + 2u])",
            ),
            Index.of(
                "params.first, params.end, bitcast<f32>(partial[at]), bitcast<f32>(partial[at + 1u])",
                "params.first, params.end, bitcast<f32>(partial[at]), bitcast<f32>(partial[at + 2u])",
            ),
        ],
    ),
];
