// Which counter a rounding draws from; src/format/random.rs. Needs random_block: threefry.wgsl or philox.wgsl.

//!use $generator

// Half-word j & 7 of 128 random bits, 0..65535.
fn half_word(block: vec4<u32>, j: u32) -> u32 {
    return (block[(j >> 1u) & 3u] >> (16u * (j & 1u))) & 0xffffu;
}

// Half-words j .. j + 3 of two blocks one after the other.
fn half_words(block: vec4<u32>, next: vec4<u32>, j: u32) -> vec4<u32> {
    return vec4<u32>(
        half_word(select(block, next, j > 7u), j),
        half_word(select(block, next, j > 6u), j + 1u),
        half_word(select(block, next, j > 5u), j + 2u),
        half_word(select(block, next, j > 4u), j + 3u),
    );
}

// The counter of the eight elements that share a block with this 64-bit index: block number index >> 3.
fn draw_counter(index_lo: u32, index_hi: u32, stream: u32, step: u32) -> vec4<u32> {
    return vec4<u32>((index_lo >> 3u) | (index_hi << 29u), index_hi >> 3u, stream, step);
}

// The 16 bits of each of eight elements from a 64-bit index on: of one block, or of two.
struct EightDraws {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn draw_eight(seed: vec2<u32>, index_lo: u32, index_hi: u32, stream: u32, step: u32) -> EightDraws {
    let block = random_block(seed, draw_counter(index_lo, index_hi, stream, step));
    var next = block;
    let j = index_lo & 7u;
    if j != 0u {
        let end = index_lo + 7u;
        let end_hi = index_hi + select(0u, 1u, end < index_lo);
        next = random_block(seed, draw_counter(end, end_hi, stream, step));
    }
    return EightDraws(half_words(block, next, j), half_words(select(block, next, j > 3u), next, (j + 4u) & 7u));
}

// The 16 bits of one element (Draw::bits).
fn draw16(seed: vec2<u32>, index_lo: u32, index_hi: u32, stream: u32, step: u32) -> u32 {
    return half_word(random_block(seed, draw_counter(index_lo, index_hi, stream, step)), index_lo & 7u);
}

// The counter that FMAC steps k & ~7 .. k | 7 of one output element share; element < 2^40, step < 2^24. Step k
// rounds with half-word k & 7.
fn fmac_counter(element_lo: u32, element_hi: u32, stream: u32, step: u32, k: u32) -> vec4<u32> {
    return vec4<u32>(element_lo, element_hi | (step << 8u), stream, k >> 3u);
}
