// Codes of a format -> f32 or packed bf16 (to nearest): four words per invocation, 4 columns of f32 or 8 of bf16, which
// lie in one block. Constants: GROUP, DST_BF16, WIDTH (4 or 8), ELEMENT (its kind), TENSOR_SCALE (the tensor has one).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/element.wgsl
//!use $dst

struct Params {
    rows: u32,
    cols: u32,
    block: u32, // elements that share a scale; 0: none do
    bits: u32, // of the element, as lib/element.wgsl has it
    fraction: u32,
    bias: u32,
    max_code: u32,
    infinity: u32,
    dst_ld: u32, // words from one row to the next
    codes_ld: u32,
    scales_ld: u32,
    codes_offset: u32,
    scales_offset: u32,
    head_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> head: array<u32>;

// The f32 bits of columns col .. col + 4, a multiple of four.
fn decoded(row: u32, col: u32, byte: u32) -> vec4<u32> {
    let m = params.bits;
    let bit = (col & 31u) * m;
    let in_row = (col / 32u) * m + bit / 32u;
    let at = params.codes_offset + row * params.codes_ld + in_row;
    // Four codes lie in three words at most. One is read only where a code of this row lies in it: the last may be the
    // operand's end.
    var words = vec3<u32>(codes[at], 0u, 0u);
    let offset = bit & 31u;
    if offset + 4u * m > 32u && in_row + 1u < params.codes_ld {
        words.y = codes[at + 1u];
    }
    if offset + 4u * m > 64u && in_row + 2u < params.codes_ld {
        words.z = codes[at + 2u];
    }
    let e = Element(ELEMENT, m, params.fraction, params.bias, params.max_code, params.infinity, 0u, 0u);
    var bits: vec4<u32>;
    for (var i = 0u; i < 4u; i++) {
        let bit_of = offset + i * m;
        let lo = words[bit_of / 32u];
        let hi = words[min(bit_of / 32u + 1u, 2u)];
        bits[i] = element_decode(code_extract(lo, hi, bit_of & 31u, m), byte, e);
    }
    return bits;
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
    var byte = UNIT_SCALE;
    if TENSOR_SCALE {
        byte = (head[params.head_offset] >> 23u) & 0xffu;
    } else if params.block > 0u {
        let block = col / params.block;
        let word = scales[params.scales_offset + row * params.scales_ld + block / 4u];
        byte = (word >> (8u * (block & 3u))) & 0xffu;
    }
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
