// a <- round_bf16(a + x * y), elementwise over packed bf16 rows with leading dimensions.
// Constants: GROUP, INTEGER, STOCHASTIC.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/random.wgsl
//!use lib/fmac.wgsl
//!use $load

struct Params {
    rows: u32,
    cols: u32,
    x_ld: u32, // words from one row to the next
    y_ld: u32,
    a_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    stream: u32,
    x_offset: u32,
    y_offset: u32,
    a_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;

fn sum(acc: vec4<u32>, factor: vec4<u32>, other: vec4<u32>) -> vec4<u32> {
    if !INTEGER {
        if fmac_ordinary_sums(acc) && fmac_ordinary_factors(factor) && fmac_ordinary_factors(other) {
            return fmac_float(acc, factor, other);
        }
    }
    return fmac_integer(acc, factor, other);
}

fn rounded(total: vec4<u32>, r: vec4<u32>) -> vec2<u32> {
    if STOCHASTIC {
        return fmac_pack(fmac_round_stochastic(total, r));
    }
    return fmac_pack(fmac_round_nearest(total));
}

// Eight columns of one row: four words of each operand, and where rows are multiples of eight, one draw.
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
    let cols = min(params.cols - first, 8u);
    let last = (cols - 1u) / 2u;
    let at = first / 2u;
    let to = row * params.a_ld + at;
    let xs = words_x(row * params.x_ld + at, last);
    let ys = words_y(row * params.y_ld + at, last);
    let acc = words_a(to, last);
    let low = sum(fmac_widen(acc.x, acc.y), fmac_widen(xs.x, xs.y), fmac_widen(ys.x, ys.y));
    let high = sum(fmac_widen(acc.z, acc.w), fmac_widen(xs.z, xs.w), fmac_widen(ys.z, ys.w));
    var draws: EightDraws;
    if STOCHASTIC {
        let local = row * params.cols + first;
        let lo = params.base_lo + local;
        let hi = params.base_hi + select(0u, 1u, lo < local);
        draws = draw_eight(step.seed, lo, hi, params.stream, step.number);
    }
    var words = vec4<u32>(rounded(low, draws.low), rounded(high, draws.high));
    // The half beside the last of an odd count of columns is zero.
    if (cols & 1u) == 1u {
        let is_last = vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(last);
        words &= select(vec4<u32>(0xffffffffu), vec4<u32>(0xffffu), is_last);
    }
    put_a(to, last, words);
}
