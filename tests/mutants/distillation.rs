//! Mutants of shaders/distillation/.

use super::Kind::{Carry, Edge, Formula, Index, LastK, Padding, Rounding, Stride};
use super::{Shader, shader};

pub(super) const SHADERS: &[Shader] = &[
    shader(
        "distillation/common.wgsl",
        &[
            Formula.of("(softened.y - logs.y)", "(softened.y + logs.y)"),
            Formula.of(
                "params.pull * (shares.x - shares.y)",
                "params.pull * (shares.y - shares.x)",
            ),
            Formula.of("d * d * (0.5 - d * series)", "d * d * (0.5 + d * series)"),
            Formula.of("0.041666668", "0.031666668"),
            Formula.of("abs(d) < 0.25", "d < 0.25"),
            Formula.of("+ (q - p);", "- (q - p);"),
            Formula.of("exp(below.x) / of_row.plain", "exp(softened.x) / of_row.plain"),
            Formula.of("params.alpha * (share -", "params.soft * (share -"),
            Formula.of("slope * (params.scale", "slope + (params.scale"),
            Formula.of("params.scale * step.loss_scale", "params.scale"),
            Formula.of("(log(plain) - below)", "(log(plain) + below)"),
            Formula.of(
                "} else if label == UNLABELLED {",
                "} else if label > UNLABELLED {",
            ),
            Edge.of(
                "labelled || label == UNLABELLED",
                "labelled || label >= UNLABELLED",
            ),
            Edge.of(
                "let labelled = label < params.classes",
                "let labelled = label <= params.classes",
            ),
            Edge.of(
                "select(0.0, 1.0, col == label)",
                "select(0.0, 1.0, col + 1u == label)",
            ),
            LastK.of("col < count", "col + 1u < count").times(2),
            Carry.of("var total = before", "var total = 0.0"),
            Carry.of("var top = before", "var top = both_logits(row, 0u)"),
            Carry.of("select(0u, 1u, lo < local)", "0u"),
            Carry.of("params.base_hi +", "0u +"),
            Index.of("col == first || (lo & 7u) == 0u", "col == first"),
            Index.of("half_word(block, lo & 7u)", "half_word(block, col & 7u)"),
            Index.of("row * params.classes + col", "row * params.grad_ld + col"),
            Index.of("params.kept_offset + local - first", "params.kept_offset + local"),
            Index.of("both_logits(row, col - first)", "both_logits(row, col)"),
            Padding.of("if col + 1u == end {", "if col + 2u == end {"),
            Rounding.of("bf16_round_nearest(bits)", "bf16_truncate(bits)"),
            Stride.of("row * params.logits_ld", "row * params.classes"),
            Stride.of("row * params.teacher_ld", "row * params.logits_ld"),
            Stride.of("row * params.grad_ld;", "row * params.logits_ld;"),
        ],
    ),
    shader(
        "distillation/row.wgsl",
        &[
            Formula.of(
                "student_logit(row, label) - top.x",
                "student_logit(row, label) - top.y",
            ),
            LastK.of(
                "totals(row, params.classes, Row",
                "totals(row, params.classes - 1u, Row",
            ),
            LastK.of(
                "highest(row, params.classes, both",
                "highest(row, params.classes - 1u, both",
            ),
            Edge.of("row >= params.rows", "row > params.rows"),
            Edge.of("label < params.classes", "label + 1u < params.classes"),
            Index.of("labels[params.labels_offset + row]", "labels[row]"),
        ],
    ),
    shader(
        "distillation/parts.wgsl",
        &[
            Carry.of("sums.sums = kept_pair(at + 3u);\n    }", "}"),
            Carry.of("before = kept_pair(at);", "before = both_logits(row, 1u);"),
            Carry.of("before = kept_float(at + 6u);", "before = 0.0;"),
            Carry.of("sums.plain = kept_float(at + 2u);", "sums.plain = 0.0;"),
            Carry.of("if params.end == params.classes {", "if params.first == 0u {"),
            Edge.of(
                "label >= params.first && label < params.end",
                "label > params.first && label < params.end",
            ),
            Edge.of("row >= params.rows", "row > params.rows").times(3),
            Index.of(
                "student_logit(row, label - params.first)",
                "student_logit(row, label)",
            ),
            Index.of("partial[at + 1u] = bitcast", "partial[at] = bitcast"),
            Stride.of("const WORDS: u32 = 7u;", "const WORDS: u32 = 5u;"),
            Formula.of(
                "kept_float(at + 5u) - sums.top.x",
                "kept_float(at + 5u) - sums.top.y",
            ),
        ],
    ),
];
