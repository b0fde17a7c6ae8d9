// AdamW, eight columns of one row per invocation:
//     m' = beta1 * m + (1 - beta1) * g,  v' = beta2 * v + (1 - beta2) * g * g,
//     w' = w - rate * (m' * correction1 / (sqrt(v' * correction2) + epsilon) + decay * w)
// with g times a factor where the slot `step` is filled with step_factor.wgsl,
// in f32, then stored: f32, or bf16 to nearest or stochastically; w' uses m' and v' before rounding. COPY also
// stores w' as bf16 to nearest beside an f32 master weight. COMPENSATED adds -c - rate * (..) to bf16 weights, rounded
// first, and leaves in c what the sum has lost. Where the second moment is paired, a word of v holds its bf16 and what its
// sums have lost, and it moves by (1 - beta2) * (g * g - v) less that.
// Constants: GROUP, G_HALF, W_HALF, M_HALF, V_HALF, STOCHASTIC (some of w, m, v draw: params say which), COPY,
// COMPENSATED, KEEP (also write w', or what is added to w, m' and v' before rounding).

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
    m_ld: u32,
    v_ld: u32,
    beside_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    w_stream: u32,
    m_stream: u32,
    v_stream: u32,
    w_drawn: u32, // 1: rounded stochastically
    m_drawn: u32,
    v_drawn: u32,
    v_paired: u32, // 1: v_ld counts pairs, which are words
    g_offset: u32,
    w_offset: u32,
    m_offset: u32,
    v_offset: u32,
    beside_offset: u32,
    w_kept_offset: u32,
    m_kept_offset: u32,
    v_kept_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> g: array<u32>;
@group(0) @binding(3) var<storage, read_write> w: array<u32>;
@group(0) @binding(4) var<storage, read_write> m: array<u32>;
@group(0) @binding(5) var<storage, read_write> v: array<u32>;
// The copy, or c: f32 weights may have the one, bf16 weights the other.
@group(0) @binding(6) var<storage, read_write> beside: array<u32>;
@group(0) @binding(7) var<storage, read_write> w_kept: array<u32>;
@group(0) @binding(8) var<storage, read_write> m_kept: array<u32>;
@group(0) @binding(9) var<storage, read_write> v_kept: array<u32>;

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

fn load_m(row: u32, col: u32) -> f32 {
    let at = params.m_offset + row * params.m_ld;
    if M_HALF {
        return half(m[at + col / 2u], col);
    }
    return bitcast<f32>(m[at + col]);
}

fn load_v(row: u32, col: u32) -> f32 {
    let at = params.v_offset + row * params.v_ld;
    if V_HALF && params.v_paired == 1u {
        return bf16_low(v[at + col]);
    }
    if V_HALF {
        return half(v[at + col / 2u], col);
    }
    return bitcast<f32>(v[at + col]);
}

// What the sums of a paired second moment have lost.
fn load_lost(row: u32, col: u32) -> f32 {
    return bf16_high(v[params.v_offset + row * params.v_ld + col]);
}

fn load_c(row: u32, col: u32) -> f32 {
    return half(beside[params.beside_offset + row * params.beside_ld + col / 2u], col);
}

// The block of eight draws that an element of this index shares.
fn draws(lo: u32, hi: u32, stream: u32) -> vec4<u32> {
    return random_block(step.seed, draw_counter(lo, hi, stream, step.number));
}

fn encode(bits: u32, drawn: u32, block: vec4<u32>, j: u32) -> u32 {
    if STOCHASTIC && drawn == 1u {
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
    var w_block = vec4<u32>();
    var m_block = vec4<u32>();
    var v_block = vec4<u32>();
    var w_word = 0u;
    var m_word = 0u;
    var v_word = 0u;
    var beside_word = 0u;
    for (var col = first; col < end; col++) {
        let gradient = scaled(load_g(row, col));
        let before = load_w(row, col);
        let mean = step.beta1 * load_m(row, col) + (1.0 - step.beta1) * gradient;
        let v_before = load_v(row, col);
        let square = step.beta2 * v_before + (1.0 - step.beta2) * gradient * gradient;
        let moved = mean * step.correction1 / (sqrt(square * step.correction2) + step.epsilon);
        let m_bits = bitcast<u32>(mean);
        var v_bits = bitcast<u32>(square);
        if V_HALF && params.v_paired == 1u {
            let change = (1.0 - step.beta2) * (gradient * gradient - v_before);
            v_bits = bitcast<u32>(change - load_lost(row, col));
        }
        var start = before;
        if COMPENSATED {
            start = -load_c(row, col);
        }
        let w_bits = bitcast<u32>(start - step.learning_rate * (moved + step.weight_decay * before));
        let local = row * params.cols + col;
        let lo = params.base_lo + local;
        if STOCHASTIC && (col == first || (lo & 7u) == 0u) {
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if W_HALF && params.w_drawn == 1u {
                w_block = draws(lo, hi, params.w_stream);
            }
            if M_HALF && params.m_drawn == 1u {
                m_block = draws(lo, hi, params.m_stream);
            }
            if V_HALF && params.v_drawn == 1u {
                v_block = draws(lo, hi, params.v_stream);
            }
        }
        let shift = 16u * (col & 1u);
        let last = (col & 1u) == 1u || col + 1u == end;
        if KEEP {
            w_kept[params.w_kept_offset + local] = w_bits;
            m_kept[params.m_kept_offset + local] = m_bits;
            v_kept[params.v_kept_offset + local] = v_bits;
        }
        if W_HALF {
            var code = encode(w_bits, params.w_drawn, w_block, lo & 7u);
            if COMPENSATED {
                let sum = kahan_add(before, code);
                code = sum.x;
                beside_word |= sum.y << shift;
            }
            w_word |= code << shift;
            if last {
                w[params.w_offset + row * params.w_ld + col / 2u] = w_word;
                w_word = 0u;
            }
        } else {
            w[params.w_offset + row * params.w_ld + col] = w_bits;
        }
        if M_HALF {
            m_word |= encode(m_bits, params.m_drawn, m_block, lo & 7u) << shift;
            if last {
                m[params.m_offset + row * params.m_ld + col / 2u] = m_word;
                m_word = 0u;
            }
        } else {
            m[params.m_offset + row * params.m_ld + col] = m_bits;
        }
        if V_HALF {
            let code = encode(v_bits, params.v_drawn, v_block, lo & 7u);
            v_word |= code << shift;
            if params.v_paired == 1u {
                let sum = kahan_add(v_before, code);
                v[params.v_offset + row * params.v_ld + col] = bf16_pack(sum.x, sum.y);
            } else if last {
                v[params.v_offset + row * params.v_ld + col / 2u] = v_word;
                v_word = 0u;
            }
        } else {
            v[params.v_offset + row * params.v_ld + col] = v_bits;
        }
        if COPY {
            beside_word |= bf16_round_nearest(w_bits) << shift;
        }
        if (COPY || COMPENSATED) && last {
            beside[params.beside_offset + row * params.beside_ld + col / 2u] = beside_word;
            beside_word = 0u;
        }
    }
}
