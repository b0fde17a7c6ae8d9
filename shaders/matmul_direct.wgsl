// Barrier-free matmul: each lane makes eight rows by eight columns straight from memory.
// After matmul_common.wgsl and what it needs. Constants: GROUP.
// Lanes lie along N, so that one group's lanes share their loads of A.

fn slab(sums: ptr<function, Sums>, batch: u32, row: u32, col: u32, k0: u32, whole: bool) {
    var x = block_a(batch, row, k0, whole);
    var y = block_b(batch, col, k0, whole);
    rank_one(sums, x[0], x[1], y[0], y[1]);
    rank_one(sums, x[2], x[3], y[2], y[3]);
    rank_one(sums, x[4], x[5], y[4], y[5]);
    rank_one(sums, x[6], x[7], y[6], y[7]);
    rank_one(sums, x[8], x[9], y[8], y[9]);
    rank_one(sums, x[10], x[11], y[10], y[11]);
    rank_one(sums, x[12], x[13], y[12], y[13]);
    rank_one(sums, x[14], x[15], y[14], y[15]);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.z;
    let row = group.x * 8u;
    let col = (group.y * GROUP + lane) * 8u;
    if row >= params.m || col >= params.n {
        return;
    }
    var sums = Sums();
    let whole = params.k / 8u * 8u;
    for (var k0 = 0u; k0 < whole; k0 += 8u) {
        slab(&sums, batch, row, col, k0, true);
    }
    if whole < params.k {
        slab(&sums, batch, row, col, whole, false);
    }
    // A copy takes the variable index, so that the sums themselves can stay in registers.
    var rows = sums;
    for (var i = 0u; i < 8u; i++) {
        emit(batch, row + i, col, Run(rows[2u * i], rows[2u * i + 1u]));
    }
}
