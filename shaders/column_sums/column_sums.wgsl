// The sum over the rows of f32 or packed bf16, two columns per invocation. LANES invocations share the rows of
// two columns and add their sums in lane order, so the order never depends on the run.
// Constants: PAIRS, LANES (the workgroup is PAIRS * LANES), X_HALF, Y_HALF, STOCHASTIC.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl

struct Params {
    rows: u32,
    cols: u32,
    x_ld: u32, // words from one row to the next
    base_lo: u32, // logical index of the first column
    base_hi: u32,
    accumulate: u32, // 1: rows above were summed into `partial` before
    finish: u32, // 1: write y; 0: write `partial`
    stream: u32,
    x_offset: u32,
    partial_offset: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> partial: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

var<workgroup> sums: array<vec2<f32>, PAIRS * LANES>;

fn load(row: u32, col: u32) -> vec2<f32> {
    let at = params.x_offset + row * params.x_ld;
    if X_HALF {
        let word = x[at + col / 2u];
        return vec2<f32>(bf16_low(word), bf16_high(word));
    }
    let second = min(col + 1u, params.cols - 1u);
    return vec2<f32>(bitcast<f32>(x[at + col]), bitcast<f32>(x[at + second]));
}

fn encode(bits: u32, col: u32) -> u32 {
    if STOCHASTIC {
        let lo = params.base_lo + col;
        let hi = params.base_hi + select(0u, 1u, lo < col);
        return bf16_round_stochastic(bits, draw16(step.seed, lo, hi, params.stream, step.number));
    }
    return bf16_round_nearest(bits);
}

@compute @workgroup_size(PAIRS * LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let lane = index / PAIRS;
    let col = 2u * (linear_group(group, groups) * PAIRS + index % PAIRS);
    let inside = col < params.cols;
    var sum = vec2<f32>();
    if inside {
        for (var row = lane; row < params.rows; row += LANES) {
            sum += load(row, col);
        }
    }
    if LANES > 1u {
        sums[index] = sum;
        workgroupBarrier();
        if lane == 0u {
            for (var other = 1u; other < LANES; other++) {
                sum += sums[other * PAIRS + index];
            }
        }
    }
    if !inside || lane > 0u {
        return;
    }
    let two = col + 1u < params.cols;
    if params.accumulate == 1u {
        let at = params.partial_offset + col;
        sum.x += bitcast<f32>(partial[at]);
        if two {
            sum.y += bitcast<f32>(partial[at + 1u]);
        }
    }
    let bits = bitcast<vec2<u32>>(sum);
    if params.finish == 0u {
        partial[params.partial_offset + col] = bits.x;
        if two {
            partial[params.partial_offset + col + 1u] = bits.y;
        }
    } else if Y_HALF {
        var word = encode(bits.x, col);
        if two {
            word |= encode(bits.y, col + 1u) << 16u;
        }
        y[params.y_offset + col / 2u] = word;
    } else {
        y[params.y_offset + col] = bits.x;
        if two {
            y[params.y_offset + col + 1u] = bits.y;
        }
    }
}
