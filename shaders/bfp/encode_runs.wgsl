// f32 or packed bf16 -> block floating point, in two dispatches: `exponents_of`, four blocks per invocation, then
// `codes_of`, 32 columns (m whole words) per invocation: no two invocations write one word.
// Constants: GROUP, SRC_BF16, STOCHASTIC. The turns of its loops are counted in src/kernels/bfp/encode/gpu.rs.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/block.wgsl
//!use lib/random.wgsl

struct Params {
    rows: u32,
    cols: u32,
    block: u32,
    bits: u32,
    rounding: u32,
    stream: u32,
    src_ld: u32, // words from one row to the next
    codes_ld: u32,
    exponents_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    src_offset: u32,
    codes_offset: u32,
    exponents_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
@group(0) @binding(4) var<storage, read_write> exponents: array<u32>;

// The f32 bits of an element.
fn element(row: u32, col: u32) -> u32 {
    if SRC_BF16 {
        let word = src[params.src_offset + row * params.src_ld + col / 2u];
        return select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u);
    }
    return src[params.src_offset + row * params.src_ld + col];
}

@compute @workgroup_size(GROUP)
fn exponents_of(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let row = unit / params.exponents_ld;
    if row >= params.rows {
        return;
    }
    let word = unit % params.exponents_ld;
    var packed = 0u;
    for (var b = 0u; b < 4u; b++) {
        let first = (4u * word + b) * params.block;
        let end = min(first + params.block, params.cols);
        var largest = 0u;
        for (var col = first; col < end; col++) {
            largest = max(largest, element(row, col) & 0x7fffffffu);
        }
        packed |= block_exponent(largest) << (8u * b);
    }
    exponents[params.exponents_offset + row * params.exponents_ld + word] = packed;
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
    for (var col = first; col < end; col++) {
        let block = col / params.block;
        let exponent_word = exponents[params.exponents_offset + row * params.exponents_ld + block / 4u];
        let byte = (exponent_word >> (8u * (block & 3u))) & 0xffu;
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
        let code = bfp_encode(element(row, col), byte, params.bits, params.rounding, r);
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
