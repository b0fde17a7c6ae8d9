// y = A x as in scalar.wgsl with LANES invocations per row, neighbours on neighbouring entries, their sums added in a tree of
// fixed shape.
// Constants: GROUP, LANES (a power of two that divides GROUP), INDEX_U16, VALUES_BF16, X_BF16.

//!use lib/index.wgsl
//!use lib/csr.wgsl
//!use lib/vector.wgsl

struct Params {
    rows: u32,
    nnz: u32,
    last_column: u32,
    row_ptr_offset: u32,
    col_idx_offset: u32,
    values_offset: u32,
    x_offset: u32,
    y_offset: u32,
    most: u32, // entries that may be walked
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> row_ptr: array<u32>;
@group(0) @binding(2) var<storage, read> col_idx: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;

var<workgroup> partial: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = linear_group(group, groups) * (GROUP / LANES) + invocation / LANES;
    let lane = invocation % LANES;
    // No early return: every invocation meets every barrier.
    var sum = 0.0;
    var count = 0u;
    if row < params.rows {
        let at = params.row_ptr_offset + row;
        let ends = csr_ends(row_ptr[at], row_ptr[at + 1u], params.nnz);
        let first = ends.x;
        count = ends.y - first;
        let end = first + min(count, params.most);
        for (var entry = first + lane; entry < end; entry += LANES) {
            sum += csr_value(entry) * vector_element(min(csr_column(entry), params.last_column));
        }
    }
    partial[invocation] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sum += partial[invocation + half];
        }
        workgroupBarrier();
        partial[invocation] = sum;
    }
    if lane == 0u && row < params.rows {
        y[params.y_offset + row] = select(bitcast<u32>(sum), 0x7fc00000u, count > params.most);
    }
}
