// One row of C per workgroup of ACROSS lanes, whose entries the lanes first read side by side into workgroup memory
// (the row caching of GE-SpMM; Huang, Dai, Wang and Yang, SC20). Constants: those of common.wgsl.

//!use spmm/common.wgsl

var<workgroup> range: vec2<u32>;
var<workgroup> columns: array<u32, ACROSS>;
var<workgroup> factors: array<f32, ACROSS>;

@compute @workgroup_size(ACROSS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.n + 8u * ACROSS - 1u) / (8u * ACROSS);
    let unit = linear_group(group, groups);
    let row = unit / tiles;
    if row >= params.rows {
        return;
    }
    let col = (unit % tiles * ACROSS + lane) * 8u;
    if lane == 0u {
        range = entries_of(row);
    }
    // The same for every lane, which the compiler could not know of a value from a buffer.
    let ends = workgroupUniformLoad(&range);
    var sums = Run();
    for (var first = ends.x; first < ends.y; first += ACROSS) {
        let count = min(ACROSS, ends.y - first);
        if lane < count {
            columns[lane] = csr_column(first + lane);
            factors[lane] = csr_value(first + lane);
        }
        workgroupBarrier();
        if col < params.n {
            for (var i = 0u; i < count; i++) {
                add_products(&sums, columns[i], factors[i], col);
            }
        }
        workgroupBarrier();
    }
    if col < params.n {
        emit(row, col, sums);
    }
}
