// y += the carries of merge.wgsl or merge_scalar.wgsl: the shares that stopped in one row stand side by side, and are
// added in order. Constant: GROUP.

//!use lib/index.wgsl

struct Params {
    first: u32, // first carry of this dispatch
    end: u32, // one past its last
    carries: u32, // of the whole product
    first_row: u32, // of the window of y
    rows: u32, // in the window of y
    carry_offset: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> carry: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

var<workgroup> sums: array<f32, GROUP>;

fn carry_row(share: u32) -> u32 {
    return carry[params.carry_offset + 2u * share];
}

fn carry_sum(share: u32) -> f32 {
    return bitcast<f32>(carry[params.carry_offset + 2u * share + 1u]);
}

// Whether a run of carries of one row begins at this share.
fn heads(share: u32) -> bool {
    return share < params.carries && (share == 0u || carry_row(share - 1u) != carry_row(share));
}

fn add(row: u32, sum: f32) {
    // Carries of a row past the last one are empty; rows outside the window are another dispatch's.
    if row >= params.first_row && row - params.first_row < params.rows {
        let at = params.y_offset + row - params.first_row;
        y[at] = bitcast<u32>(bitcast<f32>(y[at]) + sum);
    }
}

// The invocation at the head of a run walks all of it.
@compute @workgroup_size(GROUP)
fn serial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = params.first + linear_group(group, groups) * GROUP + lane;
    if share >= params.end || !heads(share) {
        return;
    }
    let row = carry_row(share);
    var sum = 0.0;
    for (var at = share; at < params.carries && carry_row(at) == row; at++) {
        sum += carry_sum(at);
    }
    add(row, sum);
}

// The same, with the part of a run past the workgroup's own carries summed by all its invocations.
@compute @workgroup_size(GROUP)
fn shared_runs(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let begin = params.first + linear_group(group, groups) * GROUP;
    let end = min(begin + GROUP, params.end);
    let share = begin + lane;
    let head = share < end && heads(share);
    var row = 0u;
    var sum = 0.0;
    if head {
        row = carry_row(share);
        for (var at = share; at < end && carry_row(at) == row; at++) {
            sum += carry_sum(at);
        }
    }
    // The run that the workgroup's last carry is in goes on up to `stop`: rows never decrease.
    var stop = end;
    var open = 0u;
    if begin < end {
        open = carry_row(end - 1u);
        var high = params.carries;
        while stop < high {
            let middle = stop + (high - stop) / 2u;
            if carry_row(middle) == open {
                stop = middle + 1u;
            } else {
                high = middle;
            }
        }
    }
    var rest = 0.0;
    for (var at = end + lane; at < stop; at += GROUP) {
        rest += carry_sum(at);
    }
    sums[lane] = rest;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            rest += sums[lane + half];
        }
        workgroupBarrier();
        sums[lane] = rest;
    }
    workgroupBarrier();
    if head {
        if row == open {
            sum += sums[0];
        }
        add(row, sum);
    }
}
