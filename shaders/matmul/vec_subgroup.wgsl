// A matrix by a few vectors where the thick operand lies along K: all lanes share the sums of the same eight outputs,
// and add them up within subgroups, then over these. Constants: LANES, and those of vec_common.wgsl.
//
// Nothing is assumed of a subgroup's size, nor of which lanes it has: there are at most as many as lanes.

//!use matmul/vec_common.wgsl

var<workgroup> parts_lo: array<vec4<f32>, VECTORS * LANES>;
var<workgroup> parts_hi: array<vec4<f32>, VECTORS * LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) within: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let batch = group.z;
    let first = group.x * 8u;
    var sums = Sums();
    for (var k0 = lane * 8u; k0 < params.k; k0 += 8u * LANES) {
        slab(&sums, batch, first, k0);
    }
    var rows = sums;
    for (var v = 0u; v < VECTORS; v++) {
        let lo = subgroupAdd(rows[2u * v]);
        let hi = subgroupAdd(rows[2u * v + 1u]);
        if within == 0u {
            parts_lo[v * LANES + subgroup] = lo;
            parts_hi[v * LANES + subgroup] = hi;
        }
    }
    workgroupBarrier();
    if lane > 0u {
        return;
    }
    // In ascending order: the same bits on every run.
    for (var v = 0u; v < VECTORS; v++) {
        var lo = parts_lo[v * LANES];
        var hi = parts_hi[v * LANES];
        for (var i = 1u; i < subgroups; i++) {
            lo += parts_lo[v * LANES + i];
            hi += parts_hi[v * LANES + i];
        }
        rows[2u * v] = lo;
        rows[2u * v + 1u] = hi;
    }
    emit_sums(batch, first, rows);
}
