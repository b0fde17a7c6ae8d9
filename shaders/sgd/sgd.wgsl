// Stochastic gradient descent with momentum and weight decay, eight columns of one row per invocation:
//     v' = mu * v + (g + decay * w),  w' = w - rate * v'
// with g times a factor where the slot `step` is filled with step_factor.wgsl,
// in f32, then stored: f32, or bf16 to nearest or stochastically; w' uses v' before rounding. COPY also stores
// w' as bf16 to nearest beside an f32 master weight. COMPENSATED adds -c - rate * v' to bf16 weights, rounded first,
// and leaves in c what the sum has lost.
// Constants: GROUP, G_HALF, W_HALF, V_HALF, W_STOCHASTIC, V_STOCHASTIC, COPY, COMPENSATED, KEEP (also write w', or what is
// added to w, and v' before rounding).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl
//!use lib/kahan.wgsl
//!use $step

struct Params {
    rows: u32,
    cols: u32,
    g_ld: u32, // words from one row to the next
    w_ld: u32,
    v_ld: u32,
    copy_ld: u32,
    c_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    w_stream: u32,
    v_stream: u32,
    g_offset: u32,
    w_offset: u32,
    v_offset: u32,
    copy_offset: u32,
    c_offset: u32,
    w_kept_offset: u32,
    v_kept_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> g: array<u32>;
@group(0) @binding(3) var<storage, read_write> w: array<u32>;
@group(0) @binding(4) var<storage, read_write> v: array<u32>;
@group(0) @binding(5) var<storage, read_write> copy: array<u32>;
@group(0) @binding(6) var<storage, read_write> c: array<u32>;
@group(0) @binding(7) var<storage, read_write> w_kept: array<u32>;
@group(0) @binding(8) var<storage, read_write> v_kept: array<u32>;

fn half(word: u32, col: u32) -> f32 {
    return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u));
}

fn load_g(row: u32, col: u32) -> f32 {
    let at = params.g_offset + row * params.g_ld;
    if G_HALF {
        return half(g[at + col / 2u], col);
    }
    return bitcast<f32>(g[at + col]);
}

fn load_w(row: u32, col: u32) -> f32 {
    let at = params.w_offset + row * params.w_ld;
    if W_HALF {
        return half(w[at + col / 2u], col);
    }
    return bitcast<f32>(w[at + col]);
}

fn load_v(row: u32, col: u32) -> f32 {
    let at = params.v_offset + row * params.v_ld;
    if V_HALF {
        return half(v[at + col / 2u], col);
    }
    return bitcast<f32>(v[at + col]);
}

fn load_c(row: u32, col: u32) -> f32 {
    return half(c[params.c_offset + row * params.c_ld + col / 2u], col);
}

fn encode(stochastic: bool, bits: u32, block: vec4<u32>, j: u32) -> u32 {
    if stochastic {
        return bf16_round_stochastic(bits, half_word(block, j));
    }
    return bf16_round_nearest(bits);
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
    let rate = step.learning_rate;
    let momentum = step.momentum;
    let decay = step.weight_decay;
    var w_block = vec4<u32>();
    var v_block = vec4<u32>();
    var w_word = 0u;
    var v_word = 0u;
    var copy_word = 0u;
    var c_word = 0u;
    for (var col = first; col < end; col++) {
        let before = load_w(row, col);
        let velocity = momentum * load_v(row, col) + (scaled(load_g(row, col)) + decay * before);
        let v_bits = bitcast<u32>(velocity);
        var start = before;
        if COMPENSATED {
            start = -load_c(row, col);
        }
        let w_bits = bitcast<u32>(start - rate * velocity);
        let local = row * params.cols + col;
        let lo = params.base_lo + local;
        if (W_STOCHASTIC || V_STOCHASTIC) && (col == first || (lo & 7u) == 0u) {
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if W_STOCHASTIC {
                w_block = random_block(step.seed, draw_counter(lo, hi, params.w_stream, step.number));
            }
            if V_STOCHASTIC {
                v_block = random_block(step.seed, draw_counter(lo, hi, params.v_stream, step.number));
            }
        }
        let shift = 16u * (col & 1u);
        let last = (col & 1u) == 1u || col + 1u == end;
        if KEEP {
            w_kept[params.w_kept_offset + local] = w_bits;
            v_kept[params.v_kept_offset + local] = v_bits;
        }
        if V_HALF {
            v_word |= encode(V_STOCHASTIC, v_bits, v_block, lo & 7u) << shift;
            if last {
                v[params.v_offset + row * params.v_ld + col / 2u] = v_word;
                v_word = 0u;
            }
        } else {
            v[params.v_offset + row * params.v_ld + col] = v_bits;
        }
        if W_HALF {
            var code = encode(W_STOCHASTIC, w_bits, w_block, lo & 7u);
            if COMPENSATED {
                let sum = kahan_add(before, code);
                code = sum.x;
                c_word |= sum.y << shift;
            }
            w_word |= code << shift;
            if COMPENSATED && last {
                c[params.c_offset + row * params.c_ld + col / 2u] = c_word;
                c_word = 0u;
            }
            if last {
                w[params.w_offset + row * params.w_ld + col / 2u] = w_word;
                w_word = 0u;
            }
        } else {
            w[params.w_offset + row * params.w_ld + col] = w_bits;
        }
        if COPY {
            copy_word |= bf16_round_nearest(w_bits) << shift;
            if last {
                copy[params.copy_offset + row * params.copy_ld + col / 2u] = copy_word;
                copy_word = 0u;
            }
        }
    }
}
