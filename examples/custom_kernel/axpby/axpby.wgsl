// y <- alpha x + beta y in f32, one element an invocation. Constant: GROUP (invocations per workgroup).

//!use lib/index.wgsl

struct Params {
    count: u32,
    alpha: f32,
    beta: f32,
    x_offset: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * GROUP + lane;
    if i >= params.count {
        return;
    }
    let left = params.alpha * bitcast<f32>(x[params.x_offset + i]);
    let right = params.beta * bitcast<f32>(y[params.y_offset + i]);
    y[params.y_offset + i] = bitcast<u32>(left + right);
}
