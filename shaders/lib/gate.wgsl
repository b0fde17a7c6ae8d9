// The workgroups of dispatches that run on a condition, for indirect dispatches: those of the table, or none where a
// word of the flags, masked, is not the value. One dispatch an invocation.
// Constants: GROUP.

//!use lib/index.wgsl

struct Params {
    count: u32,
    flags_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> flags: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<u32>; // of a dispatch: word, mask, value, groups in x, y and z
@group(0) @binding(3) var<storage, read_write> open: array<u32>; // groups in x, y and z

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
    let at = 6u * i;
    let runs = (flags[params.flags_offset + table[at]] & table[at + 1u]) == table[at + 2u];
    open[3u * i] = select(0u, table[at + 3u], runs);
    open[3u * i + 1u] = select(0u, table[at + 4u], runs);
    open[3u * i + 2u] = select(0u, table[at + 5u], runs);
}
