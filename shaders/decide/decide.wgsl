// Whether a step of training is taken, what its gradients are multiplied by, and the loss scale after it: one workgroup,
// whose lanes look at a layer's parameters each. Turns: two nested loops and a tree.
// Constants: GROUP.

//!use lib/step.wgsl
//!use lib/wide.wgsl

struct Params {
    parameters: u32,
    per_layer: u32,
    layers: u32,
    clipped: u32, // 1: there is a limit
    clip: f32,
    scaled: u32, // 1: the loss is
    growth: u32,
    corrected: u32, // 1: AdamW's corrections are wanted
    beta1_lo: u32, // behind the point
    beta1_hi: u32,
    beta2_lo: u32,
    beta2_hi: u32,
    squares_offset: u32,
    state_offset: u32,
    values_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> squares: array<u32>; // of a parameter: sum, numbers that are not finite
@group(0) @binding(3) var<storage, read_write> state: array<u32>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>; // factor, loss scale, corrections

// Words of the state; those of the layers follow.
const TAKES: u32 = 0u;
const EXPONENT: u32 = 1u;
const CLEAN: u32 = 2u;
const SKIPPED: u32 = 3u;
const TAKEN: u32 = 4u;
const FAILED: u32 = 5u;
const POWERS: u32 = 6u;
const LAYERS: u32 = 10u;

// Exponents of the loss scale.
const LEAST: i32 = -14;
const MOST: i32 = 126;

var<workgroup> sums: array<f32, GROUP>;
var<workgroup> broken: array<u32, GROUP>;

fn power_of_two(exponent: i32) -> u32 {
    return u32(127 + exponent) << 23u;
}

// The high 64 bits of a product of numbers (low, high).
fn mul_high(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let ll = mul_wide(a.x, b.x);
    let lh = mul_wide(a.x, b.y);
    let hl = mul_wide(a.y, b.x);
    let hh = mul_wide(a.y, b.y);
    let mid = ll.x + lh.y;
    let mid2 = mid + hl.y;
    let carry = select(0u, 1u, mid < ll.x) + select(0u, 1u, mid2 < mid);
    let low = hh.y + lh.x;
    let low2 = low + hl.x;
    let low3 = low2 + carry;
    let carry2 = select(0u, 1u, low < hh.y) + select(0u, 1u, low2 < low) + select(0u, 1u, low3 < low2);
    return vec2<u32>(low3, hh.x + carry2);
}

// 1 / (1 - power), for a power of at most 1 - 2^-24.
fn correction(power: vec2<u32>) -> f32 {
    if (power.x | power.y) == 0u {
        return 1.0;
    }
    let low = ~power.x + 1u;
    let high = ~power.y + select(0u, 1u, low == 0u);
    // At least 2^40 of 2^64: the first bit is in the high word.
    let zeros = countLeadingZeros(high);
    var first = high;
    if zeros > 0u {
        first = (high << zeros) | (low >> (32u - zeros));
    }
    return 16777216.0 / f32(first >> 8u) * bitcast<f32>((127u + zeros) << 23u);
}

// The next power of a beta, kept in two words of the state.
fn corrected(at: u32, beta: vec2<u32>, taken: u32) -> u32 {
    var power = beta;
    if taken > 0u {
        power = mul_high(vec2<u32>(state[at], state[at + 1u]), beta);
    }
    state[at] = power.x;
    state[at + 1u] = power.y;
    return bitcast<u32>(correction(power));
}

// What the gradients are multiplied by.
fn factor(sum: f32, exponent: i32) -> f32 {
    let inverse = bitcast<f32>(power_of_two(-exponent));
    if params.clipped == 0u {
        return inverse;
    }
    // Integers tell an infinity: floats may assume that there is none.
    if (bitcast<u32>(sum) & 0x7f800000u) == 0x7f800000u {
        return 0.0;
    }
    let norm = sqrt(sum) * inverse;
    if norm > params.clip {
        return params.clip / norm * inverse;
    }
    return inverse;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    let own = params.state_offset;
    let alive = state[own + FAILED] == 0u;
    var sum = 0.0;
    var any = 0u;
    for (var layer = lane; layer < params.layers; layer += GROUP) {
        var bad = 0u;
        for (var i = 0u; i < params.per_layer; i++) {
            let parameter = layer * params.per_layer + i;
            if parameter < params.parameters {
                let at = params.squares_offset + 2u * parameter;
                sum += bitcast<f32>(squares[at]);
                bad |= squares[at + 1u];
            }
        }
        let first = own + LAYERS + layer;
        if alive && bad > 0u && state[first] == 0u {
            state[first] = step.number;
        }
        any |= bad;
    }
    sums[lane] = sum;
    broken[lane] = any;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
            broken[lane] |= broken[lane + half];
        }
    }
    if lane > 0u {
        return;
    }
    state[own + TAKES] = 0u;
    if !alive {
        return;
    }
    let exponent = bitcast<i32>(state[own + EXPONENT]);
    if broken[0] > 0u {
        if params.scaled == 1u {
            state[own + SKIPPED] += 1u;
            state[own + CLEAN] = 0u;
        }
        if params.scaled == 0u || exponent <= LEAST {
            state[own + FAILED] = step.number;
            return;
        }
        state[own + EXPONENT] = bitcast<u32>(exponent - 1);
        values[params.values_offset + 1u] = power_of_two(exponent - 1);
        return;
    }
    state[own + TAKES] = 1u;
    values[params.values_offset] = bitcast<u32>(factor(sums[0], exponent));
    let taken = state[own + TAKEN];
    if params.corrected == 1u {
        let at = own + POWERS;
        values[params.values_offset + 2u] = corrected(at, vec2<u32>(params.beta1_lo, params.beta1_hi), taken);
        values[params.values_offset + 3u] = corrected(at + 2u, vec2<u32>(params.beta2_lo, params.beta2_hi), taken);
    }
    state[own + TAKEN] = taken + 1u;
    if params.scaled == 0u {
        return;
    }
    let clean = state[own + CLEAN] + 1u;
    state[own + CLEAN] = clean;
    if clean >= params.growth && exponent < MOST {
        state[own + CLEAN] = 0u;
        state[own + EXPONENT] = bitcast<u32>(exponent + 1);
        values[params.values_offset + 1u] = power_of_two(exponent + 1);
    }
}
