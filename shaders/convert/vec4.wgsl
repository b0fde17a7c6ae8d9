// The same as word.wgsl for contiguous runs whose length and first index are multiples of eight, on 16-byte offsets:
// sixteen bytes at a time, one draw for eight roundings.
// Constants: GROUP, STOCHASTIC, SATURATE.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl

struct Params {
    units: u32, // runs of eight elements
    base_lo: u32,
    base_hi: u32,
    stream: u32,
    src_offset: u32, // in vectors
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec4<u32>>;

fn round_one(bits: u32, block: vec4<u32>, j: u32) -> u32 {
    var code: u32;
    if STOCHASTIC {
        code = bf16_round_stochastic(bits, half_word(block, j));
    } else {
        code = bf16_round_nearest(bits);
    }
    if SATURATE {
        code = bf16_saturate(code, bits);
    }
    return code;
}

@compute @workgroup_size(GROUP)
fn encode(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    if unit >= params.units {
        return;
    }
    let a = src[params.src_offset + 2u * unit];
    let b = src[params.src_offset + 2u * unit + 1u];
    var block = vec4<u32>();
    if STOCHASTIC {
        let local = 8u * unit;
        let lo = params.base_lo + local;
        let hi = params.base_hi + select(0u, 1u, lo < local);
        block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
    }
    dst[params.dst_offset + unit] = vec4<u32>(
        round_one(a.x, block, 0u) | (round_one(a.y, block, 1u) << 16u),
        round_one(a.z, block, 2u) | (round_one(a.w, block, 3u) << 16u),
        round_one(b.x, block, 4u) | (round_one(b.y, block, 5u) << 16u),
        round_one(b.z, block, 6u) | (round_one(b.w, block, 7u) << 16u),
    );
}

@compute @workgroup_size(GROUP)
fn decode(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    if unit >= params.units {
        return;
    }
    let w = src[params.src_offset + unit];
    let to = params.dst_offset + 2u * unit;
    dst[to] = vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u);
    dst[to + 1u] = vec4<u32>(w.z << 16u, w.z & 0xffff0000u, w.w << 16u, w.w & 0xffff0000u);
}
