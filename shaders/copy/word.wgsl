// dst[i] = src[i], word for word: the plainest kernel, and the one that measures copy bandwidth.
// Constants: GROUP (invocations per workgroup).

//!use lib/index.wgsl

struct Params {
    count: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * GROUP + lane;
    if i < params.count {
        dst[params.dst_offset + i] = src[params.src_offset + i];
    }
}
