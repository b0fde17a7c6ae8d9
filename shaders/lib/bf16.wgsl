// bf16: the upper half of an f32. See src/format/bf16.rs for the same functions on the host.
//
// To nearest even: adding 0x7fff + (bit 16) carries into bit 16 exactly when the low half is above 0x8000, or
// equals it and bit 16 is set. A mantissa carry is the next binade; 0x7f7f8000 and up become Inf. Stochastic:
// low + r carries for exactly `low` of the 65,536 values of r, so P(up) = low / 65536 and exact values stay.
// NaN is tested on bits, first: a carry would turn half of them into Inf or zero.

fn bf16_is_nan(u: u32) -> bool {
    return (u & 0x7fffffffu) > 0x7f800000u;
}

fn bf16_round_nearest(u: u32) -> u32 {
    let nan = ((u >> 16u) & 0x8000u) | 0x7fc0u;
    return select((u + 0x7fffu + ((u >> 16u) & 1u)) >> 16u, nan, bf16_is_nan(u));
}

fn bf16_round_stochastic(u: u32, r: u32) -> u32 {
    let nan = ((u >> 16u) & 0x8000u) | 0x7fc0u;
    return select((u + r) >> 16u, nan, bf16_is_nan(u));
}

// Where rounding a finite source gave Inf: the largest finite value of that sign.
fn bf16_saturate(code: u32, source: u32) -> u32 {
    let overflowed = (code & 0x7fffu) == 0x7f80u && (source & 0x7fffffffu) < 0x7f800000u;
    return select(code, code - 1u, overflowed);
}

// Half `which & 1` of a packed word, as bits.
fn bf16_half(word: u32, which: u32) -> u32 {
    return (word >> (16u * (which & 1u))) & 0xffffu;
}

// Widening, where arithmetic is about to use the value.
fn bf16_low(word: u32) -> f32 {
    return bitcast<f32>(word << 16u);
}

fn bf16_high(word: u32) -> f32 {
    return bitcast<f32>(word & 0xffff0000u);
}
