// y = A x, A in compressed sparse rows: one invocation per row, its entries in order.
// Constants: GROUP, INDEX_U16, VALUES_BF16, X_BF16.
// Only stored entries are multiplied: an infinity in x reaches only the rows with an entry in its column.
//
// A row of more entries than the device may walk becomes NaN: the host takes another variant where it knows of one.

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

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * GROUP + lane;
    if row >= params.rows {
        return;
    }
    let at = params.row_ptr_offset + row;
    let ends = csr_ends(row_ptr[at], row_ptr[at + 1u], params.nnz);
    let first = ends.x;
    let count = ends.y - first;
    let end = first + min(count, params.most);
    var sum = 0.0;
    for (var entry = first; entry < end; entry++) {
        sum += csr_value(entry) * vector_element(min(csr_column(entry), params.last_column));
    }
    y[params.y_offset + row] = select(bitcast<u32>(sum), 0x7fc00000u, count > params.most);
}
