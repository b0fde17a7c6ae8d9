// The scale of a whole tensor, without barriers: each invocation keeps the largest magnitude of 32 columns of `src`
// (`largest_of_src`), then of 32 of those, step by step (`largest_of_maxima`), and one of the last few makes the scale
// (`scale_of`). Constants: GROUP, SRC_BF16.

//!use lib/index.wgsl
//!use lib/element.wgsl

struct Params {
    rows: u32,
    cols: u32,
    src_ld: u32, // words from one row to the next
    count: u32, // maxima so far
    to: u32, // where their maxima go
    rule: u32,
    largest_exponent: u32, // of the element's largest value
    largest_significand: u32,
    src_offset: u32,
    maxima_offset: u32,
    head_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read_write> maxima: array<u32>;
@group(0) @binding(3) var<storage, read_write> head: array<u32>;

@compute @workgroup_size(GROUP)
fn largest_of_src(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let runs = (params.cols + 31u) / 32u;
    let row = unit / runs;
    if row >= params.rows {
        return;
    }
    let first = 32u * (unit % runs);
    let end = min(first + 32u, params.cols);
    let at = params.src_offset + row * params.src_ld;
    var most = 0u;
    for (var col = first; col < end; col++) {
        var u: u32;
        if SRC_BF16 {
            let word = src[at + col / 2u];
            u = select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u);
        } else {
            u = src[at + col];
        }
        most = max(most, u & 0x7fffffffu);
    }
    maxima[params.maxima_offset + unit] = most;
}

fn largest_from(first: u32, end: u32) -> u32 {
    var most = 0u;
    for (var i = first; i < end; i++) {
        most = max(most, maxima[params.maxima_offset + i]);
    }
    return most;
}

@compute @workgroup_size(GROUP)
fn largest_of_maxima(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let first = 32u * unit;
    if first >= params.count {
        return;
    }
    maxima[params.maxima_offset + params.to + unit] = largest_from(first, min(first + 32u, params.count));
}

@compute @workgroup_size(1)
fn scale_of() {
    let most = largest_from(0u, params.count);
    let byte = scale_byte_for(most, params.rule, params.largest_exponent, params.largest_significand);
    // 2^(byte - 127), a subnormal for byte 0; NaN for 255.
    head[params.head_offset] = select(select(byte << 23u, 0x00400000u, byte == 0u), 0x7fc00000u, byte == NAN_SCALE);
}
