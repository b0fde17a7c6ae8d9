// sum' = sum + x, or x alone where nothing is kept, eight columns of one row per invocation: in f32, then stored as f32, or
// as bf16 to nearest or stochastically.
// Constants: GROUP, X_HALF, SUM_HALF, STOCHASTIC, KEEP (also write sum' before rounding).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl

struct Step {
    seed: vec2<u32>,
    number: u32,
    keep: f32, // 0: the sum begins anew, and what it held is not read
}

struct Params {
    rows: u32,
    cols: u32,
    x_ld: u32, // words from one row to the next
    sum_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    stream: u32,
    x_offset: u32,
    sum_offset: u32,
    kept_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> sum: array<u32>;
@group(0) @binding(4) var<storage, read_write> kept: array<u32>;

fn half(word: u32, col: u32) -> f32 {
    return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u));
}

fn load_x(row: u32, col: u32) -> f32 {
    let at = params.x_offset + row * params.x_ld;
    if X_HALF {
        return half(x[at + col / 2u], col);
    }
    return bitcast<f32>(x[at + col]);
}

fn load_sum(row: u32, col: u32) -> f32 {
    let at = params.sum_offset + row * params.sum_ld;
    if SUM_HALF {
        return half(sum[at + col / 2u], col);
    }
    return bitcast<f32>(sum[at + col]);
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let units = (params.cols + 7u) / 8u;
    let row = unit / units;
    if row >= params.rows {
        return;
    }
    let first = (unit % units) * 8u;
    let end = min(params.cols, first + 8u);
    var block = vec4<u32>();
    var word = 0u;
    for (var col = first; col < end; col++) {
        var total = load_x(row, col);
        if step.keep != 0.0 {
            total = load_sum(row, col) + total;
        }
        let bits = bitcast<u32>(total);
        let local = row * params.cols + col;
        let lo = params.base_lo + local;
        if STOCHASTIC && (col == first || (lo & 7u) == 0u) {
            let hi = params.base_hi + select(0u, 1u, lo < local);
            block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
        }
        if KEEP {
            kept[params.kept_offset + local] = bits;
        }
        if SUM_HALF {
            var code = bf16_round_nearest(bits);
            if STOCHASTIC {
                code = bf16_round_stochastic(bits, half_word(block, lo & 7u));
            }
            word |= code << (16u * (col & 1u));
            if (col & 1u) == 1u || col + 1u == end {
                sum[params.sum_offset + row * params.sum_ld + col / 2u] = word;
                word = 0u;
            }
        } else {
            sum[params.sum_offset + row * params.sum_ld + col] = bits;
        }
    }
}
