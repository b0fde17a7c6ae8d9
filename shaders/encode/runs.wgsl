// f32 or packed bf16 -> codes of a format, in two dispatches: `scales_of`, four blocks per invocation, where blocks have
// scales, then `codes_of`, 32 columns (whole words, as many as a code has bits) per invocation: no two invocations write
// one word. Constants: GROUP, SRC_BF16, STOCHASTIC, and those of params.wgsl. The turns of its loops are counted in
// src/kernels/encode/gpu.rs.

//!use encode/params.wgsl

@group(0) @binding(2) var<storage, read> src: array<u32>;

// The f32 bits of an element.
fn value(row: u32, col: u32) -> u32 {
    if SRC_BF16 {
        let word = src[params.src_offset + row * params.src_ld + col / 2u];
        return select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u);
    }
    return src[params.src_offset + row * params.src_ld + col];
}

@compute @workgroup_size(GROUP)
fn scales_of(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let row = unit / params.scales_ld;
    if row >= params.rows {
        return;
    }
    let word = unit % params.scales_ld;
    var packed = 0u;
    for (var b = 0u; b < 4u; b++) {
        let first = (4u * word + b) * params.block;
        let end = min(first + params.block, params.cols);
        var largest = 0u;
        for (var col = first; col < end; col++) {
            largest = max(largest, value(row, col) & 0x7fffffffu);
        }
        packed |= block_scale(largest) << (8u * b);
    }
    scales[params.scales_offset + row * params.scales_ld + word] = packed;
}

@compute @workgroup_size(GROUP)
fn codes_of(
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
    let run = unit % runs;
    let first = 32u * run;
    let end = min(first + 32u, params.cols);
    var to = params.codes_offset + row * params.codes_ld + run * params.bits;
    var word = 0u;
    var offset = 0u;
    var draws = vec4<u32>();
    var byte = common_scale();
    let e = element();
    for (var col = first; col < end; col++) {
        if params.block > 0u {
            let block = col / params.block;
            let bytes = scales[params.scales_offset + row * params.scales_ld + block / 4u];
            byte = (bytes >> (8u * (block & 3u))) & 0xffu;
        }
        var r = 0u;
        if STOCHASTIC {
            let local = row * params.cols + col;
            let lo = params.base_lo + local;
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if col == first || (lo & 7u) == 0u {
                draws = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            r = half_word(draws, lo & 7u);
        }
        let code = element_encode(value(row, col), byte, e, params.rounding, r);
        word |= code << offset;
        offset += params.bits;
        if offset >= 32u {
            codes[to] = word;
            to += 1u;
            offset -= 32u;
            // What of the code did not fit: nothing where it ended on the word's end.
            word = select(code >> (params.bits - offset), 0u, offset == 0u);
        }
    }
    if offset > 0u {
        codes[to] = word;
    }
}
