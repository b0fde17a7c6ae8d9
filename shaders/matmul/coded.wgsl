// Operands of matmul that are codes of a format, eight of a row at a time: row's codes are one stream of bits that starts
// on a word, blocks' scales are bytes of rows that start on a word. Scales lie in their own bindings; one word is the
// scale of a whole tensor. The values are exact: an element is taken apart into an f32 of few bits and multiplied by its
// scale in two steps, for one factor would pass the range of normal numbers. Constants: A_KIND, B_KIND (ELEMENT_*).

//!use lib/element.wgsl

@group(0) @binding(7) var<storage, read> a_scales: array<u32>;
@group(0) @binding(8) var<storage, read> b_scales: array<u32>;

// Words 0 to 2 of a stream hold 64 bits from `offset` on.
fn aligned(w: vec3<u32>, offset: u32) -> vec2<u32> {
    let up = (32u - offset) & 31u;
    let high = select(w.yz << vec2<u32>(up), vec2<u32>(), offset == 0u);
    return (w.xy >> vec2<u32>(offset)) | high;
}

// 64 bits without their first code; codes have 2 to 16 bits.
fn next_code(pair: vec2<u32>, bits: u32) -> vec2<u32> {
    return vec2<u32>((pair.x >> bits) | (pair.y << (32u - bits)), pair.y >> bits);
}

// Eight codes, each in the lowest bits of its word and others above it.
struct Eight {
    lo: vec4<u32>,
    hi: vec4<u32>,
}

// The first codes of 64 bits: all eight of them, or four where they have more than eight bits, and `high` has the rest.
fn eight_codes(low: vec2<u32>, high: vec2<u32>, bits: u32) -> Eight {
    let c1 = next_code(low, bits);
    let c2 = next_code(c1, bits);
    let c3 = next_code(c2, bits);
    let c4 = select(next_code(c3, bits), high, bits > 8u);
    let c5 = next_code(c4, bits);
    let c6 = next_code(c5, bits);
    let c7 = next_code(c6, bits);
    return Eight(vec4<u32>(low.x, c1.x, c2.x, c3.x), vec4<u32>(c4.x, c5.x, c6.x, c7.x));
}

// The two factors of 2^(byte - 127 - less), each of them normal; NaN for NAN_SCALE.
fn factors(byte: u32, less: u32) -> vec2<f32> {
    let exponent = i32(byte) - 127;
    let half = exponent / 2;
    let first = u32(half + 127 - i32(less)) << 23u;
    let second = u32(exponent - half + 127) << 23u;
    return vec2<f32>(bitcast<f32>(select(first, 0x7fc00000u, byte == NAN_SCALE)), bitcast<f32>(second));
}

// What the first code of `code` stands for without its scale, if it is of a float: see src/cpu/codes/read.rs.
fn float_of(code: u32, e: Element) -> f32 {
    let rest = code & ((1u << (e.bits - 1u)) - 1u);
    let first = (128u - e.bias) << 23u;
    let subnormal = rest < (1u << e.fraction);
    let moved = (rest << (23u - e.fraction)) + select(first - (1u << 23u), first, subnormal);
    var x = bitcast<f32>(moved) - select(0.0, bitcast<f32>(first), subnormal);
    if rest > e.max_code {
        x = bitcast<f32>(select(0x7fc00000u, 0x7f800000u, rest == e.infinity));
    }
    // The sign moves to the highest bit, and what follows the code moves out.
    return bitcast<f32>(bitcast<u32>(x) | ((code >> (e.bits - 1u)) << 31u));
}

fn value_of(code: u32, e: Element) -> f32 {
    if e.kind == ELEMENT_FLOAT {
        return float_of(code, e);
    }
    return f32(element_integer(code, e));
}

fn values_of(low: vec2<u32>, high: vec2<u32>, e: Element, byte: u32) -> Run {
    let f = factors(byte, select(e.fraction, 0u, e.kind == ELEMENT_FLOAT));
    let c = eight_codes(low, high, e.bits);
    let lo = vec4<f32>(value_of(c.lo.x, e), value_of(c.lo.y, e), value_of(c.lo.z, e), value_of(c.lo.w, e));
    let hi = vec4<f32>(value_of(c.hi.x, e), value_of(c.hi.y, e), value_of(c.hi.z, e), value_of(c.hi.w, e));
    return Run(lo * f.x * f.y, hi * f.x * f.y);
}

// The scale of column k, a multiple of eight, of a row whose scales begin at `row`, which is in the word here.
fn scale_in(word: u32, k: u32, block: u32) -> u32 {
    if block == WHOLE_TENSOR {
        return (word >> 23u) & 0xffu;
    }
    return (word >> (8u * (k / block & 3u))) & 0xffu;
}

const WHOLE_TENSOR: u32 = 0xffffffffu;

// Columns col .. col + 8 (a multiple of eight) of this dispatch's part of a stored row of A.
fn coded_a(batch: u32, row: u32, col: u32) -> Run {
    let k = params.k_first + col;
    let e = Element(
        A_KIND, params.a_bits, params.a_fraction, params.a_bias, params.a_max_code, params.a_infinity, 0u, 0u,
    );
    var byte = UNIT_SCALE;
    if params.a_block > 0u {
        let in_row = batch * params.a_scale_batch + row * params.a_scale_ld + k / params.a_block / 4u;
        byte = scale_in(a_scales[params.a_scales_offset + in_row], k, params.a_block);
    }
    let bit = (k & 31u) * e.bits;
    let at = params.a_offset + batch * params.a_batch + row * params.a_ld + (k / 32u) * e.bits + bit / 32u;
    // Words past the last one belong to no code that counts.
    let low = aligned(vec3<u32>(a[at], a[at + 1u], a[at + 2u]), bit & 31u);
    var high = vec2<u32>();
    if e.bits > 8u {
        let next = (bit & 31u) + 4u * e.bits;
        let there = at + next / 32u;
        high = aligned(vec3<u32>(a[there], a[there + 1u], a[there + 2u]), next & 31u);
    }
    return values_of(low, high, e, byte);
}

fn coded_b(batch: u32, row: u32, col: u32) -> Run {
    let k = params.k_first + col;
    let e = Element(
        B_KIND, params.b_bits, params.b_fraction, params.b_bias, params.b_max_code, params.b_infinity, 0u, 0u,
    );
    var byte = UNIT_SCALE;
    if params.b_block > 0u {
        let in_row = batch * params.b_scale_batch + row * params.b_scale_ld + k / params.b_block / 4u;
        byte = scale_in(b_scales[params.b_scales_offset + in_row], k, params.b_block);
    }
    let bit = (k & 31u) * e.bits;
    let at = params.b_offset + batch * params.b_batch + row * params.b_ld + (k / 32u) * e.bits + bit / 32u;
    let low = aligned(vec3<u32>(b[at], b[at + 1u], b[at + 2u]), bit & 31u);
    var high = vec2<u32>();
    if e.bits > 8u {
        let next = (bit & 31u) + 4u * e.bits;
        let there = at + next / 32u;
        high = aligned(vec3<u32>(b[there], b[there + 1u], b[there + 2u]), next & 31u);
    }
    return values_of(low, high, e, byte);
}
