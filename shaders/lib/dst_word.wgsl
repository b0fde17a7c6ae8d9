// The first `count` of four words, one by one, for rows that start or end at any word. Needs params.dst_offset,
// in words.

@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

fn put_words(at: u32, words: vec4<u32>, count: u32) {
    let i = params.dst_offset + at;
    dst[i] = words.x;
    if count > 1u {
        dst[i + 1u] = words.y;
    }
    if count > 2u {
        dst[i + 2u] = words.z;
    }
    if count > 3u {
        dst[i + 3u] = words.w;
    }
}
