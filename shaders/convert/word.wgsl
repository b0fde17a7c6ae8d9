// f32 -> packed bf16 (`encode`) and packed bf16 -> f32 (`decode`), rows with leading dimensions.
// Constants: GROUP, STOCHASTIC, SATURATE.
// Everything is u32: an element passes through no f32 variable, which might flush or canonicalize it.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl

struct Params {
    rows: u32,
    cols: u32,
    src_ld: u32, // words from one row to the next
    dst_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    stream: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

// Eight columns of one row: four words, and where rows are multiples of eight, one draw.
@compute @workgroup_size(GROUP)
fn encode(
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
    let source = params.src_offset + row * params.src_ld;
    let to = params.dst_offset + row * params.dst_ld;
    var block = vec4<u32>();
    var word = 0u;
    for (var col = first; col < end; col++) {
        let bits = src[source + col];
        var code: u32;
        if STOCHASTIC {
            let local = row * params.cols + col;
            let lo = params.base_lo + local;
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if col == first || (lo & 7u) == 0u {
                block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            code = bf16_round_stochastic(bits, half_word(block, lo & 7u));
        } else {
            code = bf16_round_nearest(bits);
        }
        if SATURATE {
            code = bf16_saturate(code, bits);
        }
        if (col & 1u) == 0u {
            word = code;
            if col + 1u == end {
                dst[to + col / 2u] = word;
            }
        } else {
            dst[to + col / 2u] = word | (code << 16u);
        }
    }
}

// Two columns of one row: one word in, two out.
@compute @workgroup_size(GROUP)
fn decode(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let units = (params.cols + 1u) / 2u;
    let row = unit / units;
    if row >= params.rows {
        return;
    }
    let pair = unit % units;
    let word = src[params.src_offset + row * params.src_ld + pair];
    let to = params.dst_offset + row * params.dst_ld + 2u * pair;
    dst[to] = word << 16u;
    if 2u * pair + 1u < params.cols {
        dst[to + 1u] = word & 0xffff0000u;
    }
}
