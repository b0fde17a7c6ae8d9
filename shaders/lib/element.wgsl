// The elements of few-bit formats; the arguments are in src/format/minifloat.rs, signed.rs, fixed.rs and scale.rs, and in
// rounding.rs for `compose`. u32 arithmetic only.

//!use lib/rounding.wgsl

// What an element is, as `Element::words` in src/kernels/shared/element.rs has it.
struct Element {
    kind: u32, // ELEMENT_*
    bits: u32, // of a code
    fraction: u32, // mantissa bits of floats, fraction bits of even grids
    bias: u32, // of floats
    max_code: u32,
    infinity: u32, // the code of Inf; past every code where there is none
    nan_code: u32, // what NaN becomes
    limit: u32, // what is past the largest becomes it: of fixed point, the largest negative magnitude
}

const ELEMENT_FLOAT: u32 = 0u;
const ELEMENT_SIGN_MAGNITUDE: u32 = 1u;
const ELEMENT_FIXED: u32 = 2u;

const SCALE_UP: u32 = 1u;
const UNIT_SCALE: u32 = 127u;
const NAN_SCALE: u32 = 255u;

// The byte of the scale of elements with this largest u & 0x7fffffff, by a rule; exponent and significand are those of
// the element's largest value.
fn scale_byte_for(max_abs_bits: u32, rule: u32, exponent: u32, significand: u32) -> u32 {
    let field = (max_abs_bits >> 23u) & 0xffu;
    let mantissa = max_abs_bits & 0x007fffffu;
    let m = select(mantissa | 0x00800000u, mantissa << 1u, field == 0u);
    let more = field + select(0u, 1u, rule == SCALE_UP && m > significand);
    let byte = min(more - min(more, exponent), 254u);
    return select(byte, NAN_SCALE, field == 255u);
}

// The code of f32 bits u under a scale, by any rounding (ROUND_*), r in 0..65535; 0 under NAN_SCALE.
fn element_encode(u: u32, byte: u32, e: Element, rounding: u32, r: u32) -> u32 {
    if byte == NAN_SCALE {
        return 0u;
    }
    let a = u & 0x7fffffffu;
    let negative = u >> 31u;
    if e.kind == ELEMENT_FLOAT {
        let sign = negative << (e.bits - 1u);
        if a > 0x7f800000u {
            return sign | e.nan_code;
        }
        if a == 0u {
            return sign;
        }
        let up = countLeadingZeros(significand(u)) - 8u;
        let m = significand(u) << (up & 31u);
        let above = i32(exponent(u)) - i32(up) - (1 - i32(e.bias) + i32(byte));
        let sh = 23u - e.fraction + u32(max(-above, 0));
        let code = shift_round(m, sh, rounding, r) + (u32(max(above, 0)) << e.fraction);
        let cut = rounding == ROUND_TOWARD_ZERO && a < 0x7f800000u;
        return sign | min(code, select(e.limit, e.max_code, cut));
    }
    // The shift that leaves whole steps; one of less than 9 leaves more than any code has.
    let sh = i32(byte + 23u - e.fraction) - i32(exponent(u));
    var magnitude = shift_round(significand(u), u32(max(sh, 9)), rounding, r);
    magnitude = select(magnitude, 0xffffu, sh < 9);
    if e.kind == ELEMENT_SIGN_MAGNITUDE {
        return (negative << (e.bits - 1u)) | min(magnitude, e.max_code);
    }
    magnitude = select(min(magnitude, select(e.max_code, e.limit, negative == 1u)), 0u, a > 0x7f800000u);
    return select(magnitude, 0u - magnitude, negative == 1u) & ((1u << e.bits) - 1u);
}

// The f32 bits of a code under a scale: exact, subnormals included, infinite past f32's range.
fn element_decode(code: u32, byte: u32, e: Element) -> u32 {
    if byte == NAN_SCALE {
        return 0x7fc00000u;
    }
    let top = (code >> (e.bits - 1u)) & 1u;
    let rest = code & ((1u << (e.bits - 1u)) - 1u);
    if e.kind == ELEMENT_FLOAT {
        if rest > e.max_code {
            return (top << 31u) | select(0x7fc00000u, 0x7f800000u, rest == e.infinity);
        }
        let field = rest >> e.fraction;
        let mantissa = rest & ((1u << e.fraction) - 1u);
        let q = mantissa | select(1u << e.fraction, 0u, field == 0u);
        return compose(top << 31u, q, max(field, 1u) + byte + 23u - e.bias - e.fraction);
    }
    var q = rest;
    if e.kind == ELEMENT_FIXED && top == 1u {
        q = (1u << (e.bits - 1u)) - rest;
    }
    return compose(top << 31u, q, byte + 23u - e.fraction);
}

// The signed integer of a code of an even grid; 0 for -0.
fn element_integer(code: u32, e: Element) -> i32 {
    let top = (code >> (e.bits - 1u)) & 1u;
    let rest = i32(code & ((1u << (e.bits - 1u)) - 1u));
    if e.kind == ELEMENT_SIGN_MAGNITUDE {
        return select(rest, -rest, top == 1u);
    }
    return rest - i32(top << (e.bits - 1u));
}

// The m-bit code (m <= 16) that starts at bit `offset` (0..31) of lo and may run on into hi, the next word.
fn code_extract(lo: u32, hi: u32, offset: u32, m: u32) -> u32 {
    let low = lo >> (offset & 31u);
    let high = hi << ((32u - offset) & 31u);
    return (low | select(0u, high, offset + m > 32u)) & ((1u << m) - 1u);
}
