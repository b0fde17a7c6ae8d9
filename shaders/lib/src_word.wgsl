// The same word by word, for rows that start at any word. Needs params.src_offset, in words.

@group(0) @binding(2) var<storage, read> src: array<u32>;

fn src_words(at: u32) -> vec4<u32> {
    let i = params.src_offset + at;
    return vec4<u32>(src[i], src[i + 1u], src[i + 2u], src[i + 3u]);
}
