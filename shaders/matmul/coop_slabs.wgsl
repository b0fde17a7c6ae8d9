// The slabs of coop.wgsl: eight bf16 at a time from memory, those inside the scale as f16 to workgroup memory, the
// others to the list of outliers. Constants: those of coop.wgsl.

//!use matmul/common.wgsl

const SUBGROUPS: u32 = 8u;
const LANES: u32 = SUBGROUPS * SUBGROUP;
const TILE: u32 = 8u * UNIT;
const TILE_K: u32 = 32u;
const UNITS: u32 = TILE * TILE_K / 8u; // runs of eight in one operand's slab
const EACH: u32 = UNITS / LANES; // of which one lane loads this many: 1, 2 or 4
const CAPACITY: u32 = 64u;
const HEADROOM: u32 = 6u;

// Slabs in the operands' own order: rows of TILE_K elements along K, or of TILE for one k, each padded by 16
// bytes, which keeps 16-byte alignment and spreads rows over the banks.
const ALONG_K: u32 = (TILE_K + 8u) / 4u; // vectors from row to row
const ALONG_TILE: u32 = (TILE + 8u) / 4u;
const A_PITCH: u32 = select(ALONG_K, ALONG_TILE, A_TRANSPOSED);
const B_PITCH: u32 = select(ALONG_TILE, ALONG_K, B_TRANSPOSED);
// The longer of the two orders. Sizes are multiples of 16 bytes, so that every array starts on one.
const SLAB: u32 = TILE * ALONG_K;

var<workgroup> slab_a: array<vec4<f16>, SLAB>;
var<workgroup> slab_b: array<vec4<f16>, SLAB>;
// One matrix of sums of each subgroup; or both f32 slabs of `plain`, eight k deep.
var<workgroup> sums_out: array<f32, TILE * 16u>;
// Largest magnitudes sampled of A and of B; outliers found; subgroups.
var<workgroup> counters: array<atomic<u32>, 4>;
// Outliers: B's with FROM_B | column of the tile, A's with the row; k; bits as an f32.
const FROM_B: u32 = 256u;
var<workgroup> outlier_at: array<u32, CAPACITY>;
var<workgroup> outlier_k: array<u32, CAPACITY>;
var<workgroup> outlier_bits: array<u32, CAPACITY>;

// Eight bf16, those with an index from `end` on made zero.
fn kept(w: vec4<u32>, at: u32, end: u32) -> vec4<u32> {
    if at + 8u <= end {
        return w;
    }
    let i = vec4<u32>(at) + vec4<u32>(0u, 2u, 4u, 6u);
    let lo = select(vec4<u32>(), w & vec4<u32>(0xffffu), i < vec4<u32>(end));
    let hi = select(vec4<u32>(), w & vec4<u32>(0xffff0000u), i + 1u < vec4<u32>(end));
    return lo | hi;
}

// Run `unit` of a slab `depth` deep, zero past the edges of the operand.
fn fetch_a(unit: u32, depth: u32, batch: u32, first: u32, k0: u32) -> vec4<u32> {
    let base = batch * params.a_batch;
    if A_TRANSPOSED {
        let i = first + unit % UNIT * 8u;
        let k = k0 + unit / UNIT;
        return kept(words_a(base + k * params.a_ld + i / 2u), i, select(0u, params.m, k < params.k));
    }
    let i = first + unit / (depth / 8u);
    let k = k0 + unit % (depth / 8u) * 8u;
    return kept(words_a(base + i * params.a_ld + k / 2u), k, select(0u, params.k, i < params.m));
}

fn fetch_b(unit: u32, depth: u32, batch: u32, first: u32, k0: u32) -> vec4<u32> {
    let base = batch * params.b_batch;
    if !B_TRANSPOSED {
        let j = first + unit % UNIT * 8u;
        let k = k0 + unit / UNIT;
        return kept(words_b(base + k * params.b_ld + j / 2u), j, select(0u, params.n, k < params.k));
    }
    let j = first + unit / (depth / 8u);
    let k = k0 + unit % (depth / 8u) * 8u;
    return kept(words_b(base + j * params.b_ld + k / 2u), k, select(0u, params.k, j < params.n));
}

// Elements 0..4 or 4..8 of a run as f32 bits.
fn first_half(w: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u);
}

fn second_half(w: vec4<u32>) -> vec4<u32> {
    return first_half(w.zwxy);
}

// What goes to the unit: magnitudes from `low` on for 30 exponents, moved by `shift`, both in the place of an
// f32's exponent. One subtraction tests both ends.
struct Scale {
    low: u32,
    shift: u32,
    top: u32, // the largest exponent inside, biased
}

const SPAN: u32 = 30u << 23u;
const SMALLEST_NORMAL: u32 = 0x800000u;

fn scale_for(largest: u32) -> Scale {
    // 0 says that the sample held no normal number: any scale is right.
    let seen = select(largest >> 23u, 127u, largest == 0u);
    // Not so low that subnormals are inside, not so high that NaN is.
    let top = clamp(seen + HEADROOM, 30u, 254u);
    return Scale((top - 29u) << 23u, (142u - top) << 23u, top); // 142: 2^15
}

fn inside(bits: vec4<u32>, scale: Scale) -> vec4<bool> {
    return (bits & vec4<u32>(0x7fffffffu)) - vec4<u32>(scale.low) < vec4<u32>(SPAN);
}

fn outside(bits: vec4<u32>, scale: Scale) -> vec4<bool> {
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    return (magnitude - vec4<u32>(scale.low) >= vec4<u32>(SPAN)) & (magnitude >= vec4<u32>(SMALLEST_NORMAL));
}

// Exact: the result is a normal f16 or zero.
fn halves(bits: vec4<u32>, scale: Scale) -> vec4<f16> {
    let scaled = select(vec4<u32>(), bits + vec4<u32>(scale.shift), inside(bits, scale));
    return vec4<f16>(bitcast<vec4<f32>>(scaled));
}

// Lists the outliers among four elements; `place` and `k` of the first, and their steps from one to the next.
fn list(bits: vec4<u32>, scale: Scale, place: u32, k: u32, place_step: u32, k_step: u32) {
    let out = outside(bits, scale);
    for (var t = 0u; t < 4u; t++) {
        if out[t] {
            let slot = atomicAdd(&counters[2], 1u);
            if slot < CAPACITY {
                outlier_at[slot] = place + t * place_step;
                outlier_k[slot] = k + t * k_step;
                outlier_bits[slot] = bits[t];
            }
        }
    }
}

fn store_a(unit: u32, w: vec4<u32>, k0: u32, scale: Scale) {
    let lo = first_half(w);
    let hi = second_half(w);
    var at: u32;
    var place: u32;
    var k: u32;
    if A_TRANSPOSED {
        place = unit % UNIT * 8u;
        k = unit / UNIT;
        at = k * A_PITCH + place / 4u;
    } else {
        place = unit / (TILE_K / 8u);
        k = unit % (TILE_K / 8u) * 8u;
        at = place * A_PITCH + k / 4u;
    }
    slab_a[at] = halves(lo, scale);
    slab_a[at + 1u] = halves(hi, scale);
    if any(outside(lo, scale) | outside(hi, scale)) {
        let place_step = select(0u, 1u, A_TRANSPOSED);
        let k_step = 1u - place_step;
        list(lo, scale, place, k0 + k, place_step, k_step);
        list(hi, scale, place + 4u * place_step, k0 + k + 4u * k_step, place_step, k_step);
    }
}

fn store_b(unit: u32, w: vec4<u32>, k0: u32, scale: Scale) {
    let lo = first_half(w);
    let hi = second_half(w);
    var at: u32;
    var place: u32;
    var k: u32;
    if B_TRANSPOSED {
        place = unit / (TILE_K / 8u);
        k = unit % (TILE_K / 8u) * 8u;
        at = place * B_PITCH + k / 4u;
    } else {
        place = unit % UNIT * 8u;
        k = unit / UNIT;
        at = k * B_PITCH + place / 4u;
    }
    slab_b[at] = halves(lo, scale);
    slab_b[at + 1u] = halves(hi, scale);
    if any(outside(lo, scale) | outside(hi, scale)) {
        let place_step = select(1u, 0u, B_TRANSPOSED);
        let k_step = 1u - place_step;
        list(lo, scale, FROM_B | place, k0 + k, place_step, k_step);
        list(hi, scale, FROM_B | (place + 4u * place_step), k0 + k + 4u * k_step, place_step, k_step);
    }
}

// The largest finite magnitude of a run.
fn largest(w: vec4<u32>) -> u32 {
    let lo = (w << vec4<u32>(16u)) & vec4<u32>(0x7fffffffu);
    let hi = w & vec4<u32>(0x7fff0000u);
    let m = max(
        select(vec4<u32>(), lo, lo < vec4<u32>(0x7f800000u)),
        select(vec4<u32>(), hi, hi < vec4<u32>(0x7f800000u)),
    );
    let normal = select(vec4<u32>(), m, m >= vec4<u32>(SMALLEST_NORMAL));
    return max(max(normal.x, normal.y), max(normal.z, normal.w));
}
