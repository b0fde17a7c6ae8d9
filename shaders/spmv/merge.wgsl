// y = A x along the merge path, one share of GROUP * ITEMS items per workgroup: its row ends and its products are
// staged side by side in workgroup memory (together they are never more than the share's items and one), then
// each invocation walks ITEMS of them.
// Constants: GROUP, ITEMS, INDEX_U16, VALUES_BF16, X_BF16.

//!use spmv/merge_path.wgsl

var<workgroup> bounds: array<u32, 2>;
var<workgroup> staged: array<u32, GROUP * ITEMS + 1u>;
var<workgroup> carry_rows: array<u32, GROUP>;
var<workgroup> carry_sums: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = linear_group(group, groups);
    let shares = (params.items - params.first_item + params.share - 1u) / params.share;
    // No early return: every invocation meets every barrier. Groups past the last share walk no items.
    let first = params.first_item + min(share, shares) * params.share;
    let start = min(first, params.items);
    let stop = min(start + params.share, params.items);
    if lane < 2u {
        bounds[lane] = row_of(select(stop, start, lane == 0u));
    }
    workgroupBarrier();
    let first_row = bounds[0];
    let first_entry = start - first_row;
    // Rows that end in order are in order here too; of others there are no more than items.
    let rows = min(max(bounds[1], first_row) - first_row, stop - start);
    let entries = stop - start - rows;

    // The ends of the rows from the first to the one the share stops in, which has all entries that are left, then the
    // products. Ends count from the share's first entry and are kept to its entries: what is walked is in `staged`.
    for (var i = lane; i <= rows; i += GROUP) {
        let end = max(row_end(min(first_row + i, params.rows - 1u)), first_entry) - first_entry;
        staged[i] = select(min(end, entries), entries, i == rows);
    }
    for (var i = lane; i < entries; i += GROUP) {
        staged[rows + 1u + i] = bitcast<u32>(product(first_entry + i));
    }
    workgroupBarrier();

    // The same search in the staged part; items, rows and entries count from the share's first.
    let item = min(lane * ITEMS, rows + entries);
    let last = min(item + ITEMS, rows + entries);
    var row = max(item, entries) - entries;
    var high = min(item, rows);
    while row < high {
        let middle = row + (high - row) / 2u;
        if staged[middle] + middle < item {
            row = middle + 1u;
        } else {
            high = middle;
        }
    }
    var entry = item - row;
    // The first row that ends here may have begun in invocations before: it waits for their carries.
    let begun = row;
    var waiting = 0.0;
    var sum = 0.0;
    for (var i = item; i < last; i++) {
        if entry < staged[row] {
            sum += bitcast<f32>(staged[rows + 1u + entry]);
            entry++;
        } else {
            if row == begun {
                waiting = sum;
            } else {
                store_row(first_row + row, sum);
            }
            sum = 0.0;
            row++;
        }
    }

    // Sums of the carries of one row up to each invocation: rows never decrease along the lanes, so where a lane
    // further back carries the same row, so do all between.
    carry_rows[lane] = row;
    for (var back = 1u; back < GROUP; back *= 2u) {
        carry_sums[lane] = sum;
        workgroupBarrier();
        if lane >= back && carry_rows[lane - back] == row {
            sum += carry_sums[lane - back];
        }
        workgroupBarrier();
    }
    carry_sums[lane] = sum;
    workgroupBarrier();
    if row > begun {
        if lane > 0u {
            // The lane before stopped in the row this one began in.
            waiting += carry_sums[lane - 1u];
        }
        store_row(first_row + begun, waiting);
    }
    if lane == GROUP - 1u && share < shares {
        store_carry(share, first_row + row, sum);
    }
}
