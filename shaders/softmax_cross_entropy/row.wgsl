// One row per invocation, all its classes. Turns: three loops over the classes.

//!use softmax_cross_entropy/common.wgsl

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
    let start = params.logits_offset + row * params.logits_ld;
    let label = labels[params.labels_offset + row];
    var top = logit(start, 0u);
    for (var col = 1u; col < params.classes; col++) {
        top = max(top, logit(start, col));
    }
    var sum = 0.0;
    for (var col = 0u; col < params.classes; col++) {
        sum += exp(logit(start, col) - top);
    }
    var loss_bits = 0u;
    if label < params.classes {
        loss_bits = bitcast<u32>(log(sum) - (logit(start, label) - top));
    }
    loss[params.loss_offset + row] = loss_bits;
    differentiate(row, label, 0u, params.classes, top, sum);
}
