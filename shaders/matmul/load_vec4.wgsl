// Operands of matmul as vectors of four words: leading dimensions, batch strides and the operands' starts are
// multiples of 16 bytes.

@group(0) @binding(2) var<storage, read> a: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<u32>>;

// Four words from word `at` (a multiple of four) of the window on.
fn words_a(at: u32) -> vec4<u32> {
    return a[params.a_offset + (at >> 2u)];
}

fn words_b(at: u32) -> vec4<u32> {
    return b[params.b_offset + (at >> 2u)];
}
