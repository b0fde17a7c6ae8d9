// Block floating point -> f32 or packed bf16 (to nearest): four words per invocation, 4 columns of f32 or 8 of
// bf16, which lie in one block. Constants: GROUP, DST_BF16, WIDTH (4 or 8).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/block.wgsl
//!use $dst

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> exponents: array<u32>;

// The f32 bits of columns col .. col + 4, a multiple of four.
fn decoded(row: u32, col: u32, byte: u32) -> vec4<u32> {
    let m = params.bits;
    let bit = (col & 31u) * m;
    let in_row = (col / 32u) * m + bit / 32u;
    let at = params.codes_offset + row * params.codes_ld + in_row;
    let offset = bit & 31u;
    // Four codes are at most 32 bits. The next word is read only where they run on into it: the last one may be
    // the operand's end.
    var four = codes[at] >> offset;
    if offset + 4u * m > 32u && in_row + 1u < params.codes_ld {
        four |= codes[at + 1u] << (32u - offset);
    }
    let mask = (1u << m) - 1u;
    return vec4<u32>(
        bfp_decode(four & mask, byte, m),
        bfp_decode((four >> m) & mask, byte, m),
        bfp_decode((four >> (2u * m)) & mask, byte, m),
        bfp_decode((four >> (3u * m)) & mask, byte, m),
    );
}

// Two words of bf16; the half beside the last column is zero.
fn narrowed(bits: vec4<u32>, count: u32) -> vec2<u32> {
    let w = vec4<u32>(
        bf16_round_nearest(bits.x),
        bf16_round_nearest(bits.y),
        bf16_round_nearest(bits.z),
        bf16_round_nearest(bits.w),
    );
    let kept = select(vec4<u32>(), w, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
    return kept.xz | (kept.yw << vec2<u32>(16u));
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let units = (params.cols + WIDTH - 1u) / WIDTH;
    let row = unit / units;
    if row >= params.rows {
        return;
    }
    let col = WIDTH * (unit % units);
    let block = col / params.block;
    let word = exponents[params.exponents_offset + row * params.exponents_ld + block / 4u];
    let byte = (word >> (8u * (block & 3u))) & 0xffu;
    let low = decoded(row, col, byte);
    let left = params.cols - col;
    if DST_BF16 {
        var high = vec4<u32>();
        if left > 4u {
            high = decoded(row, col + 4u, byte);
        }
        let words = vec4<u32>(narrowed(low, left), narrowed(high, max(left, 4u) - 4u));
        put_words(row * params.dst_ld + col / 2u, words, (left + 1u) / 2u);
    } else {
        put_words(row * params.dst_ld + col, low, left);
    }
}
