// The same for rows of more classes than one dispatch may walk: parts of the classes in order, all of them for the
// maximum, then for the sum, then for the gradient. What a row has so far waits in `partial`; every number is made
// by the operations of row.wgsl in their order. Turns: one loop over the part's classes.

//!use softmax_cross_entropy/common.wgsl

@group(0) @binding(7) var<storage, read_write> partial: array<u32>; // of a row: maximum, sum, logit of the label

fn row_of(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, groups) * GROUP + lane;
}

@compute @workgroup_size(GROUP)
fn maximum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = row_of(group, groups, lane);
    if row >= params.rows {
        return;
    }
    let start = params.logits_offset + row * params.logits_ld;
    let at = params.partial_offset + 3u * row;
    let label = labels[params.labels_offset + row];

    var top = logit(start, 0u);
    if params.first > 0u {
        top = max(bitcast<f32>(partial[at]), top);
    }
    for (var col = 1u; col < params.end - params.first; col++) {
        top = max(top, logit(start, col));
    }
    partial[at] = bitcast<u32>(top);
    if label >= params.first && label < params.end {
        partial[at + 2u] = bitcast<u32>(logit(start, label - params.first));
    }
}

@compute @workgroup_size(GROUP)
fn total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = row_of(group, groups, lane);
    if row >= params.rows {
        return;
    }
    let start = params.logits_offset + row * params.logits_ld;
    let at = params.partial_offset + 3u * row;
    let top = bitcast<f32>(partial[at]);

    var sum = 0.0;
    if params.first > 0u {
        sum = bitcast<f32>(partial[at + 1u]);
    }
    for (var col = 0u; col < params.end - params.first; col++) {
        sum += exp(logit(start, col) - top);
    }
    partial[at + 1u] = bitcast<u32>(sum);
    if params.end == params.classes {
        var loss_bits = 0u;
        if labels[params.labels_offset + row] < params.classes {
            loss_bits = bitcast<u32>(log(sum) - (bitcast<f32>(partial[at + 2u]) - top));
        }
        loss[params.loss_offset + row] = loss_bits;
    }
}

@compute @workgroup_size(GROUP)
fn gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = row_of(group, groups, lane);
    if row >= params.rows {
        return;
    }
    let at = params.partial_offset + 3u * row;
    let label = labels[params.labels_offset + row];
    differentiate(row, label, params.first, params.end, bitcast<f32>(partial[at]), bitcast<f32>(partial[at + 1u]));
}
