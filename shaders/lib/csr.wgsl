// Entries of a CSR matrix, whatever their types. Constants: INDEX_U16, VALUES_BF16. The kernel declares params, col_idx
// and values.
// No buffer is trusted: whatever it holds, entries and columns are kept to those that the plan has bound.
// An odd row start is a start in the middle of a word where entries are 16 bits wide.

//!use lib/bf16.wgsl

// A row's entries, from two neighbours of row_ptr: the first, and one past the last. Neighbours that decrease, or that
// lie past the last entry, are no matrix's; they make a shorter row, or an empty one.
fn csr_ends(first: u32, end: u32, nnz: u32) -> vec2<u32> {
    let start = min(first, nnz);
    return vec2<u32>(start, max(min(end, nnz), start));
}

fn csr_column(entry: u32) -> u32 {
    if INDEX_U16 {
        return bf16_half(col_idx[params.col_idx_offset + entry / 2u], entry);
    }
    return col_idx[params.col_idx_offset + entry];
}

fn csr_value(entry: u32) -> f32 {
    if VALUES_BF16 {
        return bitcast<f32>(bf16_half(values[params.values_offset + entry / 2u], entry) << 16u);
    }
    return bitcast<f32>(values[params.values_offset + entry]);
}
