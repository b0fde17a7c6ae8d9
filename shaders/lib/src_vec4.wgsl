// Four words of the source at a time; `at` is a multiple of four. Needs params.src_offset, in vectors.

@group(0) @binding(2) var<storage, read> src: array<vec4<u32>>;

fn src_words(at: u32) -> vec4<u32> {
    return src[params.src_offset + at / 4u];
}
