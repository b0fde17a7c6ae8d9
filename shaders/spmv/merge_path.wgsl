// What the merge-path kernels share: parameters, bindings, the search.
//
// The product walks a path of rows + nnz items: each of a row's entries, then the end of the row, row after row.
// Row i ends at item row_ptr[i + 1] + i, which grows with i, so a binary search finds the row that any item lies
// in, and the path can be cut into equal shares whatever the lengths of the rows (Merrill and Garland, SC16). A
// share stores the rows that end in it; what it has summed of the row it stops in is its carry, which
// carry.wgsl adds later, in order.

//!use lib/index.wgsl
//!use lib/csr.wgsl
//!use lib/vector.wgsl

struct Params {
    items: u32, // one past the last item of this dispatch
    first_item: u32,
    share: u32, // items per share
    rows: u32, // of the whole matrix
    nnz: u32,
    row_base: u32, // first row of the windows of row_ptr and y
    entry_base: u32, // first entry of the windows of col_idx and values
    row_ptr_offset: u32,
    col_idx_offset: u32,
    values_offset: u32,
    x_offset: u32,
    y_offset: u32,
    carry_offset: u32,
    x_base: u32, // first column of the window of x
    x_count: u32, // columns in it
    adds: u32, // 1 where another window's products are in y already
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> row_ptr: array<u32>;
@group(0) @binding(2) var<storage, read> col_idx: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<u32>;
@group(0) @binding(4) var<storage, read> x: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;
@group(0) @binding(6) var<storage, read_write> carry: array<u32>; // row and sum of each share

// Where row `row` ends among the entries: not past the last one, and the last row there, whatever the buffer holds. So
// the path of any buffer goes through all rows and entries, an item at a time, and stays inside the windows.
fn row_end(row: u32) -> u32 {
    let end = row_ptr[params.row_ptr_offset + row - params.row_base + 1u];
    return select(min(end, params.nnz), params.nnz, row + 1u == params.rows);
}

// The row that item `item` lies in: the first one that does not end before it (`rows` past the last item).
fn row_of(item: u32) -> u32 {
    var low = max(item, params.nnz) - params.nnz;
    var high = min(item, params.rows);
    while low < high {
        let middle = low + (high - low) / 2u;
        if row_end(middle) + middle < item {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

// Entries in columns outside the window of x are another dispatch's.
fn product(entry: u32) -> f32 {
    let at = entry - params.entry_base;
    let column = csr_column(at) - params.x_base;
    if column >= params.x_count {
        return 0.0;
    }
    return csr_value(at) * vector_element(column);
}

fn store_row(row: u32, sum: f32) {
    let to = params.y_offset + row - params.row_base;
    var total = sum;
    if params.adds == 1u {
        total += bitcast<f32>(y[to]);
    }
    y[to] = bitcast<u32>(total);
}

fn store_carry(share: u32, row: u32, sum: f32) {
    carry[params.carry_offset + 2u * share] = row;
    carry[params.carry_offset + 2u * share + 1u] = bitcast<u32>(sum);
}
