// C = A B^T, both operands in block floating point along K: integer dot products inside blocks, which are
// exact, added up in f32 in ascending order of the blocks. Four rows by four columns per invocation.
// Constants: GROUP, C_BF16, STOCHASTIC.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/bf16.wgsl
//!use lib/block.wgsl
//!use lib/random.wgsl

struct Params {
    m: u32,
    n: u32,
    k: u32,
    block: u32,
    bits: u32,
    stream: u32,
    codes_ld: u32, // words from one row to the next, the same for both operands
    exponents_ld: u32,
    c_ld: u32,
    base_lo: u32, // logical index of C's first element
    base_hi: u32,
    a_codes_offset: u32,
    a_exponents_offset: u32,
    b_codes_offset: u32,
    b_exponents_offset: u32,
    c_offset: u32,
    index_row: u32, // outputs of C from one row to the next
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> a_codes: array<u32>;
@group(0) @binding(3) var<storage, read> a_exponents: array<u32>;
@group(0) @binding(4) var<storage, read> b_codes: array<u32>;
@group(0) @binding(5) var<storage, read> b_exponents: array<u32>;
@group(0) @binding(6) var<storage, read_write> c: array<u32>;

// Rows past the end repeat the last one; their sums are not stored.
fn a_row(row: u32) -> u32 {
    return min(row, params.m - 1u);
}

fn b_row(row: u32) -> u32 {
    return min(row, params.n - 1u);
}

fn a_value(row: u32, at: u32, offset: u32) -> i32 {
    let word = params.a_codes_offset + row * params.codes_ld + at;
    var next = 0u;
    if offset + params.bits > 32u {
        next = a_codes[word + 1u];
    }
    return bfp_signed(code_extract(a_codes[word], next, offset, params.bits), params.bits);
}

fn b_value(row: u32, at: u32, offset: u32) -> i32 {
    let word = params.b_codes_offset + row * params.codes_ld + at;
    var next = 0u;
    if offset + params.bits > 32u {
        next = b_codes[word + 1u];
    }
    return bfp_signed(code_extract(b_codes[word], next, offset, params.bits), params.bits);
}

fn a_exponent(row: u32, block: u32) -> u32 {
    let word = a_exponents[params.a_exponents_offset + row * params.exponents_ld + block / 4u];
    return (word >> (8u * (block & 3u))) & 0xffu;
}

fn b_exponent(row: u32, block: u32) -> u32 {
    let word = b_exponents[params.b_exponents_offset + row * params.exponents_ld + block / 4u];
    return (word >> (8u * (block & 3u))) & 0xffu;
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// q * 2^s. The scale is the sum of two exponents and may lie far outside f32's range, so it is applied in two
// exact steps: q has at most 21 bits, the first product is normal, and only the second may under- or overflow,
// where the result does. Below 2^-252 nothing of a term is left.
fn scaled(q: vec4<i32>, s: vec4<i32>) -> vec4<f32> {
    let t = max(s, vec4<i32>(-252));
    let first = t / 2;
    let second = t - first;
    let product = vec4<f32>(q)
        * vec4<f32>(power_of_two(first.x), power_of_two(first.y), power_of_two(first.z), power_of_two(first.w));
    let result = product
        * vec4<f32>(power_of_two(second.x), power_of_two(second.y), power_of_two(second.z), power_of_two(second.w));
    return select(result, vec4<f32>(), s < vec4<i32>(-252));
}

fn stored(bits: u32, row: u32, col: u32) -> u32 {
    if !C_BF16 {
        return bits;
    }
    if STOCHASTIC {
        let local = row * params.index_row + col;
        let lo = params.base_lo + local;
        let hi = params.base_hi + select(0u, 1u, lo < local);
        return bf16_round_stochastic(bits, draw16(step.seed, lo, hi, params.stream, step.number));
    }
    return bf16_round_nearest(bits);
}

// Adds the products of four rows' and four columns' codes number k, if there are any.
fn add_products(dots: ptr<function, array<vec4<i32>, 4>>, row: u32, b_rows: vec4<u32>, k: u32, end: u32) {
    if k >= end {
        return;
    }
    let bit = (k & 31u) * params.bits;
    let at = (k / 32u) * params.bits + bit / 32u;
    let offset = bit & 31u;
    let b = vec4<i32>(
        b_value(b_rows.x, at, offset),
        b_value(b_rows.y, at, offset),
        b_value(b_rows.z, at, offset),
        b_value(b_rows.w, at, offset),
    );
    (*dots)[0] += a_value(a_row(row), at, offset) * b;
    (*dots)[1] += a_value(a_row(row + 1u), at, offset) * b;
    (*dots)[2] += a_value(a_row(row + 2u), at, offset) * b;
    (*dots)[3] += a_value(a_row(row + 3u), at, offset) * b;
}

// Bit c: the row's or column c's block is marked NaN.
fn marks(a_byte: u32, b_bytes: vec4<u32>) -> u32 {
    let marked = (b_bytes == vec4<u32>(255u)) | (vec4<u32>(a_byte) == vec4<u32>(255u));
    let bits = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), marked);
    return bits.x | bits.y | bits.z | bits.w;
}

// The exponents of the scales of one row's four outputs: 2^(a - 127 - (m-2)) times 2^(b - 127 - (m-2)).
fn scales(a_byte: u32, b_bytes: vec4<u32>) -> vec4<i32> {
    return min(vec4<i32>(b_bytes) + vec4<i32>(i32(a_byte) - 254 - 2 * (i32(params.bits) - 2)), vec4<i32>(254));
}

// Its loops: the blocks, four codes of each a turn; then four rows of four columns, twice. Their turns are counted in
// src/kernels/bfp/product/gpu.rs.
@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let tiles = (params.n + 3u) / 4u;
    let row = 4u * (unit / tiles);
    if row >= params.m {
        return;
    }
    let col = 4u * (unit % tiles);
    let b_rows = vec4<u32>(b_row(col), b_row(col + 1u), b_row(col + 2u), b_row(col + 3u));
    var sums = array<vec4<f32>, 4>();
    // Bit 4 r + c: a block of A's row r or B's row c is marked NaN.
    var spoiled = 0u;
    let blocks = (params.k + params.block - 1u) / params.block;
    for (var block = 0u; block < blocks; block++) {
        var dots = array<vec4<i32>, 4>();
        let end = min((block + 1u) * params.block, params.k);
        for (var k = block * params.block; k < end; k += 4u) {
            add_products(&dots, row, b_rows, k, end);
            add_products(&dots, row, b_rows, k + 1u, end);
            add_products(&dots, row, b_rows, k + 2u, end);
            add_products(&dots, row, b_rows, k + 3u, end);
        }
        let b_bytes = vec4<u32>(
            b_exponent(b_rows.x, block),
            b_exponent(b_rows.y, block),
            b_exponent(b_rows.z, block),
            b_exponent(b_rows.w, block),
        );
        let bytes = vec4<u32>(
            a_exponent(a_row(row), block),
            a_exponent(a_row(row + 1u), block),
            a_exponent(a_row(row + 2u), block),
            a_exponent(a_row(row + 3u), block),
        );
        spoiled |= marks(bytes.x, b_bytes) | (marks(bytes.y, b_bytes) << 4u)
            | (marks(bytes.z, b_bytes) << 8u) | (marks(bytes.w, b_bytes) << 12u);
        sums[0] += scaled(dots[0], scales(bytes.x, b_bytes));
        sums[1] += scaled(dots[1], scales(bytes.y, b_bytes));
        sums[2] += scaled(dots[2], scales(bytes.z, b_bytes));
        sums[3] += scaled(dots[3], scales(bytes.w, b_bytes));
    }
    for (var r = 0u; r < 4u; r++) {
        if row + r >= params.m {
            return;
        }
        let to = params.c_offset + (row + r) * params.c_ld;
        var bits = bitcast<vec4<u32>>(sums[r]);
        for (var j = 0u; j < 4u; j++) {
            let marked = (spoiled & (1u << (4u * r + j))) != 0u;
            bits[j] = select(stored(bits[j], row + r, col + j), select(0x7fc00000u, 0x7fc0u, C_BF16), marked);
        }
        if C_BF16 {
            for (var j = 0u; j < 4u; j += 2u) {
                if col + j < params.n {
                    let high = select(0u, bits[j + 1u], col + j + 1u < params.n);
                    c[to + (col + j) / 2u] = bits[j] | (high << 16u);
                }
            }
        } else {
            for (var j = 0u; j < 4u; j++) {
                if col + j < params.n {
                    c[to + col + j] = bits[j];
                }
            }
        }
    }
}
