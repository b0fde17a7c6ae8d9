// Four words of the destination at a time; `at` is a multiple of four. Needs params.dst_offset, in vectors.

@group(0) @binding(3) var<storage, read_write> dst: array<vec4<u32>>;

fn put_words(at: u32, words: vec4<u32>, count: u32) {
    dst[params.dst_offset + at / 4u] = words;
}
