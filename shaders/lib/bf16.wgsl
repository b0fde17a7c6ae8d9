// bfloat16 as bits in a u32. The arguments are in src/format/bf16.rs (there without the prefix `bf16_`).
// Stands alone. Only bf16_low and bf16_high make floats: where a value is about to enter arithmetic.

// The quiet NaN of this sign.
fn bf16_nan(u: u32) -> u32 {
    return ((u >> 16u) & 0x8000u) | 0x7fc0u;
}

// f32 bits to bf16 bits, nearest, ties to even; overflow to Inf, NaN quiet with its sign.
fn bf16_round_nearest(u: u32) -> u32 {
    let rounded = (u + 0x7fffu + ((u >> 16u) & 1u)) >> 16u;
    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u);
}

// f32 bits to bf16 bits, away from zero with probability (low half) / 65536, r in 0..65535.
fn bf16_round_stochastic(u: u32, r: u32) -> u32 {
    let rounded = (u + (r & 0xffffu)) >> 16u;
    return select(rounded, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u);
}

// f32 bits to bf16 bits, toward zero.
fn bf16_truncate(u: u32) -> u32 {
    return select(u >> 16u, bf16_nan(u), (u & 0x7fffffffu) > 0x7f800000u);
}

// `bits`, the rounding of `source`, where an infinity made of a finite source becomes the largest finite.
fn bf16_saturate(bits: u32, source: u32) -> u32 {
    let overflowed = (bits & 0x7fffu) == 0x7f80u && (source & 0x7fffffffu) < 0x7f800000u;
    return select(bits, bits - 1u, overflowed);
}

// By any rounding: 0 nearest, 1 stochastic, 2 toward zero (ROUND_* of rounding.wgsl).
fn bf16_encode(u: u32, rounding: u32, r: u32, saturate_finite: bool) -> u32 {
    var bits: u32;
    if rounding == 0u {
        bits = bf16_round_nearest(u);
    } else if rounding == 1u {
        bits = bf16_round_stochastic(u, r);
    } else {
        bits = bf16_truncate(u);
    }
    if saturate_finite {
        bits = bf16_saturate(bits, u);
    }
    return bits;
}

// Two in one word, the low half first.
fn bf16_pack(lo: u32, hi: u32) -> u32 {
    return (lo & 0xffffu) | (hi << 16u);
}

// Raw bits of one half: the low one for an even `which`, the high one for an odd.
fn bf16_half(word: u32, which: u32) -> u32 {
    return (word >> (16u * (which & 1u))) & 0xffffu;
}

// The low half as a float. The bitcast may flush a subnormal: for arithmetic, never for copies.
fn bf16_low(word: u32) -> f32 {
    return bitcast<f32>(word << 16u);
}

// The high half as a float, likewise.
fn bf16_high(word: u32) -> f32 {
    return bitcast<f32>(word & 0xffff0000u);
}
