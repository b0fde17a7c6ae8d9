// y = A x along the merge path, one share per invocation, without barriers.
// Constants: GROUP, INDEX_U16, VALUES_BF16, X_BF16.

//!use spmv/merge_path.wgsl

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = linear_group(group, groups) * GROUP + lane;
    // No product of `share` can overflow: the host keeps rows + nnz below 2^31, and shares end before it.
    if share >= (params.items - params.first_item + params.share - 1u) / params.share {
        return;
    }
    let first = params.first_item + share * params.share;
    let last = min(first + params.share, params.items);
    var row = row_of(first);
    var entry = first - row;
    var end = row_end(min(row, params.rows - 1u));
    var sum = 0.0;
    // One item a turn: lanes side by side take the same number of turns, whatever their rows.
    for (var item = first; item < last; item++) {
        if entry < end {
            sum += product(entry);
            entry++;
        } else {
            store_row(row, sum);
            sum = 0.0;
            row++;
            end = row_end(min(row, params.rows - 1u));
        }
    }
    store_carry(share, row, sum);
}
