// Barrier-free matmul: each lane makes eight rows by eight columns straight from memory.
// Constants: GROUP, and those of common.wgsl.
// Lanes lie along N, so that one group's lanes share their loads of A.

//!use matmul/common.wgsl

fn row_a(batch: u32, i: u32, k0: u32, whole: bool) -> Run {
    return masked_run(run_a(batch, min(i, params.m - 1u), k0), k0, whole);
}

fn slab(sums: ptr<function, Sums>, batch: u32, row: u32, col: u32, k0: u32, whole: bool) {
    var y = block_b(batch, col, k0, whole);
    if A_TRANSPOSED {
        var x = block_a(batch, row, k0, whole);
        add_row(sums, &y, 0u, along_k(&x, 0u));
        add_row(sums, &y, 1u, along_k(&x, 1u));
        add_row(sums, &y, 2u, along_k(&x, 2u));
        add_row(sums, &y, 3u, along_k(&x, 3u));
        add_row(sums, &y, 4u, along_k(&x, 4u));
        add_row(sums, &y, 5u, along_k(&x, 5u));
        add_row(sums, &y, 6u, along_k(&x, 6u));
        add_row(sums, &y, 7u, along_k(&x, 7u));
        return;
    }
    add_row(sums, &y, 0u, row_a(batch, row, k0, whole));
    add_row(sums, &y, 1u, row_a(batch, row + 1u, k0, whole));
    add_row(sums, &y, 2u, row_a(batch, row + 2u, k0, whole));
    add_row(sums, &y, 3u, row_a(batch, row + 3u, k0, whole));
    add_row(sums, &y, 4u, row_a(batch, row + 4u, k0, whole));
    add_row(sums, &y, 5u, row_a(batch, row + 5u, k0, whole));
    add_row(sums, &y, 6u, row_a(batch, row + 6u, k0, whole));
    add_row(sums, &y, 7u, row_a(batch, row + 7u, k0, whole));
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
