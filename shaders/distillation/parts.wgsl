// The same for rows of more classes than one dispatch may walk: parts of the classes in order, all of them for the
// maxima, then for the sums, then for the gradient. What a row has so far waits in `partial`; every number is made by
// the operations of row.wgsl in their order. Turns: one loop over the part's classes.

//!use distillation/common.wgsl

// Of a row: both maxima, the plain sum, both softened ones, the label's logit, the divergence.
@group(0) @binding(8) var<storage, read_write> partial: array<u32>;

const WORDS: u32 = 7u;

fn row_of(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, groups) * GROUP + lane;
}

fn kept_float(at: u32) -> f32 {
    return bitcast<f32>(partial[at]);
}

fn kept_pair(at: u32) -> vec2<f32> {
    return vec2<f32>(kept_float(at), kept_float(at + 1u));
}

fn keep_pair(at: u32, pair: vec2<f32>) {
    partial[at] = bitcast<u32>(pair.x);
    partial[at + 1u] = bitcast<u32>(pair.y);
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
    let at = params.partial_offset + WORDS * row;
    let label = labels[params.labels_offset + row];
    var before = both_logits(row, 0u);
    if params.first > 0u {
        before = kept_pair(at);
    }
    keep_pair(at, highest(row, params.end - params.first, before));
    if label >= params.first && label < params.end {
        partial[at + 5u] = bitcast<u32>(student_logit(row, label - params.first));
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
    let at = params.partial_offset + WORDS * row;
    var sums = Row(kept_pair(at), 0.0, vec2<f32>());
    if params.first > 0u {
        sums.plain = kept_float(at + 2u);
        sums.sums = kept_pair(at + 3u);
    }
    sums = totals(row, params.end - params.first, sums);
    partial[at + 2u] = bitcast<u32>(sums.plain);
    keep_pair(at + 3u, sums.sums);
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
    let at = params.partial_offset + WORDS * row;
    let label = labels[params.labels_offset + row];
    let sums = Row(kept_pair(at), kept_float(at + 2u), kept_pair(at + 3u));
    var before = 0.0;
    if params.first > 0u {
        before = kept_float(at + 6u);
    }
    let divergence = differentiate(row, label, params.first, params.end, sums, before);
    partial[at + 6u] = bitcast<u32>(divergence);
    if params.end == params.classes {
        put_loss(row, label, sums.plain, kept_float(at + 5u) - sums.top.x, divergence);
    }
}
