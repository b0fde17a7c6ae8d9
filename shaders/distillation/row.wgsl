// One row per invocation, all its classes. Turns: three loops over the classes.

//!use distillation/common.wgsl

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * GROUP + lane;
    if row >= params.rows {
        return;
    }
    let label = labels[params.labels_offset + row];
    let top = highest(row, params.classes, both_logits(row, 0u));
    let sums = totals(row, params.classes, Row(top, 0.0, vec2<f32>()));
    let divergence = differentiate(row, label, 0u, params.classes, sums, 0.0);
    var below = 0.0;
    if label < params.classes {
        below = student_logit(row, label) - top.x;
    }
    put_loss(row, label, sums.plain, below, divergence);
}
