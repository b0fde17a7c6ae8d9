// dst[i] = src[i], four words per element; operands start on 16 bytes and the count is a multiple of 4 words.
// Constants: GROUP (invocations per workgroup), STRIDE (vectors per invocation).

//!use lib/index.wgsl

struct Params {
    count: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Neighbouring invocations touch neighbouring vectors at every step.
    let first = linear_group(group, groups) * GROUP * STRIDE + lane;
    for (var s = 0u; s < STRIDE; s++) {
        let i = first + s * GROUP;
        if i < params.count {
            dst[params.dst_offset + i] = src[params.src_offset + i];
        }
    }
}
