// Two sums over every row of f32 or packed bf16, of the values that a coarse and a fine format of blocks give to nearest:
// abs(fine - coarse), and abs(coarse). LANES invocations share the blocks of a row and add their sums in a tree, whose
// order never depends on the run.
// Codes are u32, and so are the sums of a block, in steps of the finer format: exact in f32. Blocks are added in f32.
// Constants: GROUP, LANES (GROUP of a row, or 1), HALVES. src/kernels/improvement/gpu.rs counts the turns of its loops.

//!use lib/index.wgsl
//!use lib/element.wgsl

struct Params {
    rows: u32,
    cols: u32,
    x_ld: u32, // words from one row to the next
    block: u32, // elements that share a scale
    coarse_bits: u32, // of a code
    coarse_rule: u32,
    coarse_exponent: u32, // of the largest value
    coarse_significand: u32,
    fine_bits: u32,
    fine_rule: u32,
    fine_exponent: u32,
    fine_significand: u32,
    accumulate: u32, // 1: `sums` has what columns before these gave
    x_offset: u32,
    sums_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<u32>;

const NAN: u32 = 0x7fc00000u;

var<workgroup> totals: array<vec2<f32>, GROUP>;
// Whether a lane has met a NaN or an infinity.
var<workgroup> specials: array<u32, GROUP>;

// The magnitude of an element, in f32 bits.
fn magnitude(row: u32, col: u32) -> u32 {
    let at = params.x_offset + row * params.x_ld;
    if HALVES {
        let word = x[at + col / 2u];
        return select(word << 16u, word, (col & 1u) == 1u) & 0x7fff0000u;
    }
    return x[at + col] & 0x7fffffffu;
}

// Those of four columns, 0 past the row's end.
fn load(row: u32, col: u32) -> vec4<u32> {
    let cols = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = vec4<u32>(params.cols - 1u);
    let at = min(cols, last);
    let u = vec4<u32>(magnitude(row, at.x), magnitude(row, at.y), magnitude(row, at.z), magnitude(row, at.w));
    return select(u, vec4<u32>(), cols > last);
}

// Sign and magnitude of so many bits.
fn grid(bits: u32) -> Element {
    return Element(ELEMENT_SIGN_MAGNITUDE, bits, bits - 2u, 0u, (1u << (bits - 1u)) - 1u, 0u, 0u, 0u);
}

// What elements without a sign are in steps of their scale: their codes.
fn steps(u: vec4<u32>, byte: u32, e: Element) -> vec4<u32> {
    return vec4<u32>(
        element_encode(u.x, byte, e, ROUND_NEAREST, 0u),
        element_encode(u.y, byte, e, ROUND_NEAREST, 0u),
        element_encode(u.z, byte, e, ROUND_NEAREST, 0u),
        element_encode(u.w, byte, e, ROUND_NEAREST, 0u),
    );
}

fn sum_of(four: vec4<u32>) -> u32 {
    return four.x + four.y + four.z + four.w;
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = linear_group(group, groups) * (GROUP / LANES) + index / LANES;
    let lane = index % LANES;
    let inside = row < params.rows;
    let blocks = select(0u, (params.cols + params.block - 1u) / params.block, inside);
    let coarse = grid(params.coarse_bits);
    let fine = grid(params.fine_bits);
    var total = vec2<f32>();
    var special = 0u;
    for (var block = lane; block < blocks; block += LANES) {
        let first = block * params.block;
        var largest = 0u;
        for (var i = 0u; i < params.block; i += 4u) {
            let u = load(row, first + i);
            largest = max(max(largest, max(u.x, u.y)), max(u.z, u.w));
        }
        let coarse_byte = scale_byte_for(
            largest, params.coarse_rule, params.coarse_exponent, params.coarse_significand,
        );
        let fine_byte = scale_byte_for(largest, params.fine_rule, params.fine_exponent, params.fine_significand);
        if coarse_byte == NAN_SCALE {
            special = 1u;
        }
        // A step is 2^(place - 150), as in lib/element.wgsl; the finer one is never the longer.
        let place = fine_byte + 23u - fine.fraction;
        let shift = vec4<u32>(coarse_byte + 23u - coarse.fraction - place);
        var apart = 0u;
        var kept = 0u;
        for (var i = 0u; i < params.block; i += 4u) {
            let u = load(row, first + i);
            let c = steps(u, coarse_byte, coarse) << shift;
            let f = steps(u, fine_byte, fine);
            apart += sum_of(max(c, f) - min(c, f));
            kept += sum_of(c);
        }
        total += bitcast<vec2<f32>>(vec2<u32>(compose(0u, apart, place), compose(0u, kept, place)));
    }
    if LANES > 1u {
        totals[index] = total;
        specials[index] = special;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane < half {
                totals[index] += totals[index + half];
                specials[index] |= specials[index + half];
            }
            workgroupBarrier();
        }
        total = totals[index];
        special = specials[index];
    }
    if !inside || lane > 0u {
        return;
    }
    let at = params.sums_offset + 2u * row;
    if params.accumulate == 1u {
        let before = vec2<u32>(sums[at], sums[at + 1u]);
        // Integers tell a NaN, and none is added: floats may assume that there is none.
        if before.x == NAN {
            special = 1u;
        } else {
            total += bitcast<vec2<f32>>(before);
        }
    }
    let bits = select(bitcast<vec2<u32>>(total), vec2<u32>(NAN), special == 1u);
    sums[at] = bits.x;
    sums[at + 1u] = bits.y;
}
