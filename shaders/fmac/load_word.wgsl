// fmac's operands word by word: rows that start or end at any word. Words past `last` are read as that one again,
// and not written.

@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> y: array<u32>;
@group(0) @binding(4) var<storage, read_write> a: array<u32>;

fn four(at: u32, last: u32) -> vec4<u32> {
    return vec4<u32>(at) + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
}

fn words_x(at: u32, last: u32) -> vec4<u32> {
    let i = four(params.x_offset + at, last);
    return vec4<u32>(x[i.x], x[i.y], x[i.z], x[i.w]);
}

fn words_y(at: u32, last: u32) -> vec4<u32> {
    let i = four(params.y_offset + at, last);
    return vec4<u32>(y[i.x], y[i.y], y[i.z], y[i.w]);
}

fn words_a(at: u32, last: u32) -> vec4<u32> {
    let i = four(params.a_offset + at, last);
    return vec4<u32>(a[i.x], a[i.y], a[i.z], a[i.w]);
}

fn put_a(at: u32, last: u32, words: vec4<u32>) {
    let i = params.a_offset + at;
    a[i] = words.x;
    if last > 0u {
        a[i + 1u] = words.y;
    }
    if last > 1u {
        a[i + 2u] = words.z;
    }
    if last > 2u {
        a[i + 3u] = words.w;
    }
}
