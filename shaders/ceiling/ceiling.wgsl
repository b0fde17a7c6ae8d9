// Three ceilings: how fast an adapter can multiply and add, operate on integers, and read memory. Every
// result is exact, so these kernels are checked like any other; the numbers come from the parameters, so no
// compiler can know them. Constants: GROUP.

//!use lib/index.wgsl

struct Params {
    count: u32, // invocations
    steps: u32,
    factor: u32, // f32 bits of 1, or an odd number
    summand: u32, // f32 bits of 1, or any number
    src_words: u32,
    src_offset: u32, // in vectors
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;

fn index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, groups) * GROUP + lane;
}

// Sixteen independent chains of x <- x * factor + summand. With 1 and 1 every value is a small whole number.
@compute @workgroup_size(GROUP)
fn multiply_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = index(group, groups, lane);
    if i >= params.count {
        return;
    }
    let m = bitcast<f32>(params.factor);
    let c = bitcast<f32>(params.summand);
    let x = f32(i & 255u);
    var a = vec4<f32>(x, x + 1.0, x + 2.0, x + 3.0);
    var b = a + 4.0;
    var d = a + 8.0;
    var e = a + 12.0;
    for (var s = 0u; s < params.steps; s++) {
        a = a * m + c;
        b = b * m + c;
        d = d * m + c;
        e = e * m + c;
    }
    let sum = a + b + d + e;
    dst[params.dst_offset + i] = bitcast<u32>(sum.x + sum.y + sum.z + sum.w);
}

// Sixteen independent chains of x <- (x ^ summand) + factor: two operations a step.
@compute @workgroup_size(GROUP)
fn integer(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = index(group, groups, lane);
    if i >= params.count {
        return;
    }
    var a = vec4<u32>(i, i + 1u, i + 2u, i + 3u);
    var b = a + 4u;
    var d = a + 8u;
    var e = a + 12u;
    let m = vec4<u32>(params.factor);
    let c = vec4<u32>(params.summand);
    for (var s = 0u; s < params.steps; s++) {
        a = (a ^ c) + m;
        b = (b ^ c) + m;
        d = (d ^ c) + m;
        e = (e ^ c) + m;
    }
    let sum = a + b + d + e;
    dst[params.dst_offset + i] = sum.x + sum.y + sum.z + sum.w;
}

// Invocation i adds up the vectors i, i + count, i + 2 count, ...
@compute @workgroup_size(GROUP)
fn read_all(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = index(group, groups, lane);
    if i >= params.count {
        return;
    }
    var sum = vec4<u32>();
    let vectors = params.src_words / 4u;
    for (var v = i; v < vectors; v += params.count) {
        sum += src[params.src_offset + v];
    }
    dst[params.dst_offset + i] = sum.x + sum.y + sum.z + sum.w;
}
