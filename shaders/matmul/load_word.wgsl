// Operands of matmul as single words: any leading dimension, any start. Words past the end of a window are
// loaded at the right and the lower edge; whatever they give is masked or belongs to outputs nobody stores.

@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;

fn words_a(at: u32) -> vec4<u32> {
    let i = params.a_offset + at;
    return vec4<u32>(a[i], a[i + 1u], a[i + 2u], a[i + 3u]);
}

fn words_b(at: u32) -> vec4<u32> {
    let i = params.b_offset + at;
    return vec4<u32>(b[i], b[i + 1u], b[i + 2u], b[i + 3u]);
}
