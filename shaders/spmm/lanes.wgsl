// Without barriers: ACROSS lanes per row of C, GROUP / ACROSS rows per workgroup, each lane walking its row's entries
// in order. Constants: those of common.wgsl, and GROUP.

//!use spmm/common.wgsl

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.n + 8u * ACROSS - 1u) / (8u * ACROSS);
    let unit = linear_group(group, groups);
    let row = unit / tiles * (GROUP / ACROSS) + lane / ACROSS;
    let col = (unit % tiles * ACROSS + lane % ACROSS) * 8u;
    if row >= params.rows || col >= params.n {
        return;
    }
    let range = entries_of(row);
    var sums = Run();
    for (var entry = range.x; entry < range.y; entry++) {
        add_products(&sums, csr_column(entry), csr_value(entry), col);
    }
    emit(row, col, sums);
}
