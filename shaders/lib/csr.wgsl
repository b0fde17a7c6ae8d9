// Entries of a CSR matrix, whatever their types. Constants: INDEX_U16, VALUES_BF16. The kernel declares params, col_idx
// and values.
// An odd row start is a start in the middle of a word where entries are 16 bits wide.

//!use lib/bf16.wgsl

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
