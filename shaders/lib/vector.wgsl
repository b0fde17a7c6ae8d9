// Elements of a dense vector, whatever their type. Constant: X_BF16. The kernel declares params and x.

//!use lib/bf16.wgsl

fn vector_element(column: u32) -> f32 {
    if X_BF16 {
        return bitcast<f32>(bf16_half(x[params.x_offset + column / 2u], column) << 16u);
    }
    return bitcast<f32>(x[params.x_offset + column]);
}
