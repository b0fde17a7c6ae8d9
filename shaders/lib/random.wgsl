// Counters and half-words of the random bits; the generator (threefry.wgsl or philox.wgsl) comes before. See
// src/format/random.rs. Index is an element's logical row-major index, 64 bits.

// Half-word j & 7 of a block: 16 uniform bits.
fn half_word(block: vec4<u32>, j: u32) -> u32 {
    // Written out: a dynamic index into a vector spills to memory on some compilers.
    let pair = (j >> 1u) & 3u;
    let low = select(block.x, block.y, pair == 1u);
    let high = select(block.z, block.w, pair == 3u);
    return (select(low, high, pair >= 2u) >> (16u * (j & 1u))) & 0xffffu;
}

// The counter of the block that holds an element's bits.
fn draw_counter(index_lo: u32, index_hi: u32, stream: u32, step: u32) -> vec4<u32> {
    return vec4<u32>((index_lo >> 3u) | (index_hi << 29u), index_hi >> 3u, stream, step);
}

// An element's 16 bits.
fn draw16(seed: vec2<u32>, index_lo: u32, index_hi: u32, stream: u32, step: u32) -> u32 {
    return half_word(random_block(seed, draw_counter(index_lo, index_hi, stream, step)), index_lo);
}

// The counter of steps k & ~7 .. k | 7 of one output of an FMAC matmul: element below 2^40, step below 2^24.
fn fmac_counter(element_lo: u32, element_hi: u32, stream: u32, step: u32, k: u32) -> vec4<u32> {
    return vec4<u32>(element_lo, element_hi | (step << 8u), stream, k >> 3u);
}
