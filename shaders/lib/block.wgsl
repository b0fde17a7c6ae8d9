// Block floating point; the arguments are in src/format/block.rs, under the same names. Needs rounding.wgsl.
// m = bits per code, the sign among them, 2..8. u32 arithmetic only.

//!use lib/rounding.wgsl

// The exponent byte of a block, from the largest u & 0x7fffffff of its f32 bits; 255: a NaN or Inf is in it.
fn block_exponent(max_abs_bits: u32) -> u32 {
    return (max_abs_bits >> 23u) & 0xffu;
}

// The code of one element in a block with this exponent byte, by any rounding (ROUND_*), r in 0..65535.
fn bfp_encode(u: u32, exponent_byte: u32, m: u32, rounding: u32, r: u32) -> u32 {
    let scale = exponent_byte + 25u - m;
    let sh = scale - min(scale, exponent(u));
    let magnitude = min(shift_round(significand(u), sh, rounding, r), (1u << (m - 1u)) - 1u);
    return select(((u >> 31u) << (m - 1u)) | magnitude, 0u, exponent_byte == 255u);
}

// The f32 bits of a code: exact, subnormals included.
fn bfp_decode(code: u32, exponent_byte: u32, m: u32) -> u32 {
    if exponent_byte == 255u {
        return 0x7fc00000u;
    }
    let sign = ((code >> (m - 1u)) & 1u) << 31u;
    let q = code & ((1u << (m - 1u)) - 1u);
    if q == 0u {
        return sign;
    }
    let k = firstLeadingBit(q);
    if exponent_byte + k >= m - 1u {
        return sign | ((exponent_byte + k + 2u - m) << 23u) | ((q << (23u - k)) & 0x007fffffu);
    }
    return sign | (q << min(exponent_byte + 24u - m, 31u));
}

// The signed integer of a code; 0 for -0.
fn bfp_signed(code: u32, m: u32) -> i32 {
    let magnitude = i32(code & ((1u << (m - 1u)) - 1u));
    return select(magnitude, -magnitude, ((code >> (m - 1u)) & 1u) == 1u);
}

// The m-bit code that starts at bit `offset` (0..31) of lo and may run on into hi, the next word.
fn code_extract(lo: u32, hi: u32, offset: u32, m: u32) -> u32 {
    let low = lo >> (offset & 31u);
    let high = hi << ((32u - offset) & 31u);
    return (low | select(0u, high, offset + m > 32u)) & ((1u << m) - 1u);
}
