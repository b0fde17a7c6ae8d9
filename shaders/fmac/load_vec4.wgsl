// fmac's operands four words at a time: rows that start and end at multiples of sixteen bytes. Offsets count
// vectors.

@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> y: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> a: array<vec4<u32>>;

fn words_x(at: u32, last: u32) -> vec4<u32> {
    return x[params.x_offset + at / 4u];
}

fn words_y(at: u32, last: u32) -> vec4<u32> {
    return y[params.y_offset + at / 4u];
}

fn words_a(at: u32, last: u32) -> vec4<u32> {
    return a[params.a_offset + at / 4u];
}

fn put_a(at: u32, last: u32, words: vec4<u32>) {
    a[params.a_offset + at / 4u] = words;
}
