// Block floating point -> f32 or packed bf16 (to nearest): two columns per invocation.
// After lib/index.wgsl, lib/bf16.wgsl, lib/rounding.wgsl, lib/block.wgsl. Constants: GROUP, DST_BF16.

struct Params {
    rows: u32,
    cols: u32,
    block: u32,
    bits: u32,
    dst_ld: u32, // words from one row to the next
    codes_ld: u32,
    exponents_ld: u32,
    codes_offset: u32,
    exponents_offset: u32,
    dst_offset: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> exponents: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

// The f32 bits of an element.
fn decoded(row: u32, col: u32) -> u32 {
    let bit = (col & 31u) * params.bits;
    let in_row = (col / 32u) * params.bits + bit / 32u;
    let at = params.codes_offset + row * params.codes_ld + in_row;
    // The next word is read only where the code runs on into it: the last one may be the operand's end.
    var next = 0u;
    if (bit & 31u) + params.bits > 32u {
        next = codes[at + 1u];
    }
    let code = code_extract(codes[at], next, bit & 31u, params.bits);
    let block = col / params.block;
    let word = exponents[params.exponents_offset + row * params.exponents_ld + block / 4u];
    return bfp_decode(code, (word >> (8u * (block & 3u))) & 0xffu, params.bits);
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let pairs = (params.cols + 1u) / 2u;
    let row = unit / pairs;
    if row >= params.rows {
        return;
    }
    let col = 2u * (unit % pairs);
    let low = decoded(row, col);
    var high = 0u;
    if col + 1u < params.cols {
        high = decoded(row, col + 1u);
    }
    let to = params.dst_offset + row * params.dst_ld;
    if DST_BF16 {
        dst[to + col / 2u] = bf16_round_nearest(low) | (bf16_round_nearest(high) << 16u);
    } else {
        dst[to + col] = low;
        if col + 1u < params.cols {
            dst[to + col + 1u] = high;
        }
    }
}
