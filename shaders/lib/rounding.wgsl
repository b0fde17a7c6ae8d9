// Right shifts that round. The arguments are in src/format/rounding.rs; the names are the same there.
// u32 arithmetic only. Every variable shift is clamped: WGSL takes shift amounts modulo 32.

// The roundings, as `Rounding::code` has them.
const ROUND_NEAREST: u32 = 0u;
const ROUND_STOCHASTIC: u32 = 1u;
const ROUND_TOWARD_ZERO: u32 = 2u;

// The exponent field of f32 bits, but at least 1: abs(x) = significand * 2^(exponent - 150).
fn exponent(u: u32) -> u32 {
    return max((u >> 23u) & 0xffu, 1u);
}

// The 24-bit significand of f32 bits, hidden bit included (0 for subnormals): below 2^24.
fn significand(u: u32) -> u32 {
    return (u & 0x007fffffu) | select(0x00800000u, 0u, (u & 0x7f800000u) == 0u);
}

// m / 2^sh to nearest, ties to even; m < 2^24, sh >= 1.
fn shift_round_nearest(m: u32, sh: u32) -> u32 {
    let s = clamp(sh, 1u, 25u);
    return (m + (1u << (s - 1u)) - 1u + ((m >> s) & 1u)) >> s;
}

// m / 2^sh, up with probability the dropped fraction (to 16 bits), r in 0..65535; m < 2^24, sh >= 9.
fn shift_round_stochastic(m: u32, sh: u32, r: u32) -> u32 {
    let t = (m << min(16u - min(sh, 16u), 7u)) >> min(max(sh, 16u) - 16u, 31u);
    return (t + (r & 0xffffu)) >> 16u;
}

// m / 2^sh toward zero; m < 2^24.
fn shift_truncate(m: u32, sh: u32) -> u32 {
    return m >> min(sh, 31u);
}

// The one of the three that `rounding` names; sh >= 9.
fn shift_round(m: u32, sh: u32, rounding: u32, r: u32) -> u32 {
    if rounding == ROUND_NEAREST {
        return shift_round_nearest(m, sh);
    }
    if rounding == ROUND_STOCHASTIC {
        return shift_round_stochastic(m, sh, r);
    }
    return shift_truncate(m, sh);
}

// The f32 bits of q * 2^(p - 150), q < 2^24, p >= 1, with this sign bit; infinite past f32's range.
fn compose(sign: u32, q: u32, p: u32) -> u32 {
    if q == 0u {
        return sign;
    }
    let k = firstLeadingBit(q);
    if p + k > 277u {
        return sign | 0x7f800000u;
    }
    if p + k > 23u {
        return sign | ((p + k - 23u) << 23u) | ((q << (23u - k)) & 0x007fffffu);
    }
    return sign | (q << min(p - 1u, 31u));
}
