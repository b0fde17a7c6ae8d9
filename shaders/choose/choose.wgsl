// Whether an operand is fine from now on, by the sums that `improvement` has left behind: one workgroup, integers
// throughout, so that every device chooses alike. Magnitudes are counted in steps of 2^(top - 158), cut off, with `top`
// the largest exponent among them, as 64 bits; both sums are then cut to the 32 bits that the larger one needs, and
// a > threshold * b is asked of those, the threshold being in steps of 2^-16. Turns: two loops over the pairs, two trees.
// Constants: GROUP.

//!use lib/wide.wgsl

struct Step {
    seed: vec2<u32>,
    number: u32,
    threshold: f32,
}

struct Params {
    pairs: u32,
    place: u32, // which bit of the layer's flags
    lower: i32, // what the threshold is lowered by, in steps of 2^-16
    sums_offset: u32,
    state_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> sums: array<u32>;
// Of the layer: flags, the step of the last choice, and of every value of the flags the steps that it was in force.
@group(0) @binding(3) var<storage, read_write> state: array<u32>;

var<workgroup> tops: array<u32, GROUP>;
var<workgroup> totals: array<vec4<u32>, GROUP>;

// The exponent field, that of subnormals being 1 as well.
fn exponent(bits: u32) -> u32 {
    return max((bits >> 23u) & 0xffu, 1u);
}

fn counted(bits: u32, top: u32) -> u32 {
    let hidden = select(0u, 0x800000u, (bits & 0x7f800000u) > 0u);
    let steps = ((bits & 0x7fffffu) | hidden) << 8u;
    let down = top - exponent(bits);
    return select(steps >> (down & 31u), 0u, down > 31u);
}

// Two sums of 64 bits, each (low, high).
fn plus(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let low = a.xz + b.xz;
    let high = a.yw + b.yw + select(vec2<u32>(0u), vec2<u32>(1u), low < a.xz);
    return vec4<u32>(low.x, high.x, low.y, high.y);
}

// The bits of a sum from bit `down` on, of which there are 32.
fn cut(sum: vec2<u32>, down: u32) -> u32 {
    if down == 0u {
        return sum.x;
    }
    return (sum.x >> down) | (sum.y << (32u - down));
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    var top = 1u;
    for (var i = lane; i < params.pairs; i += GROUP) {
        let at = params.sums_offset + 2u * i;
        top = max(top, max(exponent(sums[at]), exponent(sums[at + 1u])));
    }
    tops[lane] = top;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            tops[lane] = max(tops[lane], tops[lane + half]);
        }
    }
    workgroupBarrier();
    top = tops[0];
    var total = vec4<u32>();
    for (var i = lane; i < params.pairs; i += GROUP) {
        let at = params.sums_offset + 2u * i;
        total = plus(total, vec4<u32>(counted(sums[at], top), 0u, counted(sums[at + 1u], top), 0u));
    }
    totals[lane] = total;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            totals[lane] = plus(totals[lane], totals[lane + half]);
        }
    }
    if lane > 0u {
        return;
    }
    total = totals[0];
    let down = 32u - countLeadingZeros(total.y | total.w);
    let a = cut(total.xy, down);
    let b = cut(total.zw, down);
    // Exact: a power of two, whole numbers.
    let threshold = i32(round(clamp(step.threshold, -8192.0, 8192.0) * 65536.0)) - params.lower;
    let right = mul_wide(u32(max(threshold, 0)), b);
    let above = (a >> 16u) > right.x || ((a >> 16u) == right.x && (a << 16u) > right.y);
    // 255 is the exponent of what is not finite.
    let fine = top < 255u && (a | b) > 0u && (threshold < 0 || above);
    let at = params.state_offset;
    let flags = state[at];
    state[at + 2u + (flags & 7u)] += step.number - state[at + 1u];
    state[at + 1u] = step.number;
    state[at] = (flags & ~(1u << params.place)) | (select(0u, 1u, fine) << params.place);
}
