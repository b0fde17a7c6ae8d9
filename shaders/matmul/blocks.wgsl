// Products of two operands of integers in blocks of one size along K (block floating point, MXINT8): dot products inside
// blocks are exact integers, added up in f32 in ascending order of the blocks. Four rows by eight columns per lane, no
// barrier; lanes lie along N. Constants: GROUP, and those of common.wgsl.

//!use matmul/common.wgsl

fn element_a() -> Element {
    return Element(A_KIND, params.a_bits, params.a_fraction, 0u, params.a_max_code, 0u, 0u, 0u);
}

fn element_b() -> Element {
    return Element(B_KIND, params.b_bits, params.b_fraction, 0u, params.b_max_code, 0u, 0u, 0u);
}

// Eight codes of a row as integers; those from `end` on are 0.
struct Integers {
    lo: vec4<i32>,
    hi: vec4<i32>,
}

fn integers(pair: vec2<u32>, e: Element, k: u32, end: u32) -> Integers {
    let c = eight_codes(pair, vec2<u32>(), e.bits);
    let lo = vec4<i32>(
        element_integer(c.lo.x, e), element_integer(c.lo.y, e), element_integer(c.lo.z, e), element_integer(c.lo.w, e),
    );
    let hi = vec4<i32>(
        element_integer(c.hi.x, e), element_integer(c.hi.y, e), element_integer(c.hi.z, e), element_integer(c.hi.w, e),
    );
    let four = vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(k);
    return Integers(
        select(vec4<i32>(), lo, four < vec4<u32>(end)),
        select(vec4<i32>(), hi, four + vec4<u32>(4u) < vec4<u32>(end)),
    );
}

// Rows past the end repeat the last one; their sums are not stored.
fn integers_a(batch: u32, row: u32, k: u32, end: u32) -> Integers {
    let bit = (k & 31u) * params.a_bits;
    let in_row = min(row, params.m - 1u) * params.a_ld + (k / 32u) * params.a_bits + bit / 32u;
    let at = params.a_offset + batch * params.a_batch + in_row;
    return integers(aligned(vec3<u32>(a[at], a[at + 1u], a[at + 2u]), bit & 31u), element_a(), k, end);
}

fn integers_b(batch: u32, row: u32, k: u32, end: u32) -> Integers {
    let bit = (k & 31u) * params.b_bits;
    let in_row = min(row, params.n - 1u) * params.b_ld + (k / 32u) * params.b_bits + bit / 32u;
    let at = params.b_offset + batch * params.b_batch + in_row;
    return integers(aligned(vec3<u32>(b[at], b[at + 1u], b[at + 2u]), bit & 31u), element_b(), k, end);
}

fn scale_a(batch: u32, row: u32, block: u32) -> u32 {
    let at = batch * params.a_scale_batch + min(row, params.m - 1u) * params.a_scale_ld + block / 4u;
    return (a_scales[params.a_scales_offset + at] >> (8u * (block & 3u))) & 0xffu;
}

fn scale_b(batch: u32, row: u32, block: u32) -> u32 {
    let at = batch * params.b_scale_batch + min(row, params.n - 1u) * params.b_scale_ld + block / 4u;
    return (b_scales[params.b_scales_offset + at] >> (8u * (block & 3u))) & 0xffu;
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// q * 2^(x + y - 254 - fractions), NaN where a byte says so. The exponent may lie far outside f32's range, so it is
// applied in two exact steps: q has at most 22 bits, the first product is normal, and only the second may under- or
// overflow, where the result does. Below 2^-252 nothing of a term is left.
fn scaled(q: i32, x: u32, y: u32) -> f32 {
    let exponent = clamp(i32(x + y) - 254 - i32(params.a_fraction + params.b_fraction), -252, 254);
    let half = exponent / 2;
    let first = bitcast<u32>(power_of_two(half));
    let marked = x == NAN_SCALE || y == NAN_SCALE;
    return f32(q) * bitcast<f32>(select(first, 0x7fc00000u, marked)) * power_of_two(exponent - half);
}

fn dot(x: Integers, y: Integers) -> i32 {
    let lo = x.lo * y.lo;
    let hi = x.hi * y.hi;
    let both = lo + hi;
    return both.x + both.y + both.z + both.w;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.z;
    let row = group.x * 4u;
    let col = (group.y * GROUP + lane) * 8u;
    if row >= params.m || col >= params.n {
        return;
    }
    var sums = array<array<f32, 8>, 4>();
    let last = params.k_first + params.k;
    // A dispatch may begin and end inside a block.
    var k0 = params.k_first;
    while k0 < last {
        let block = k0 / params.a_block;
        let end = min((block + 1u) * params.a_block, last);
        var dots = array<array<i32, 8>, 4>();
        for (var k = k0; k < end; k += 8u) {
            let p = integers_a(batch, row, k, end);
            let q = integers_a(batch, row + 1u, k, end);
            let r = integers_a(batch, row + 2u, k, end);
            let s = integers_a(batch, row + 3u, k, end);
            for (var j = 0u; j < 8u; j++) {
                let y = integers_b(batch, col + j, k, end);
                dots[0][j] += dot(p, y);
                dots[1][j] += dot(q, y);
                dots[2][j] += dot(r, y);
                dots[3][j] += dot(s, y);
            }
        }
        let x = vec4<u32>(
            scale_a(batch, row, block), scale_a(batch, row + 1u, block), scale_a(batch, row + 2u, block),
            scale_a(batch, row + 3u, block),
        );
        for (var j = 0u; j < 8u; j++) {
            let y = scale_b(batch, col + j, block);
            sums[0][j] += scaled(dots[0][j], x.x, y);
            sums[1][j] += scaled(dots[1][j], x.y, y);
            sums[2][j] += scaled(dots[2][j], x.z, y);
            sums[3][j] += scaled(dots[3][j], x.w, y);
        }
        k0 = end;
    }
    for (var i = 0u; i < 4u; i++) {
        let s = sums[i];
        emit(batch, row + i, col, Run(vec4<f32>(s[0], s[1], s[2], s[3]), vec4<f32>(s[4], s[5], s[6], s[7])));
    }
}
