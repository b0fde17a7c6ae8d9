// y = max(x, 0) (`forward`) and dx = dy where y > 0, else +0 (`backward`), f32 or packed bf16, one word per
// invocation. Everything is u32: a NaN passes as it is, -0 becomes +0, and a NaN in y masks.
// Constants: GROUP, HALVES (packed bf16), MASK_HALVES (of y, which is f32 or bf16 whatever the rest is), IN_PLACE (x, or dy, is what stands in `dst`).

//!use lib/index.wgsl

struct Params {
    rows: u32,
    words: u32, // of one row
    odd: u32, // 1 where the high half of a row's last word is padding, written as zero
    mask_ld: u32, // words from one row to the next
    src_ld: u32,
    dst_ld: u32,
    mask_offset: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mask: array<u32>; // y of the forward pass
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

// Ordered as integers, positive numbers and +NaN lie below the sign bit, and -NaN above -Inf.
fn relu(u: u32) -> u32 {
    if HALVES {
        let low = u & 0xffffu;
        let high = u >> 16u;
        return select(0u, low, low < 0x8000u || low > 0xff80u)
            | select(0u, high << 16u, high < 0x8000u || high > 0xff80u);
    }
    return select(0u, u, u < 0x80000000u || u > 0xff800000u);
}

// All ones where the number is above zero.
fn positive(u: u32) -> u32 {
    if HALVES {
        let low = u & 0xffffu;
        let high = u >> 16u;
        return select(0u, 0xffffu, low > 0u && low <= 0x7f80u)
            | select(0u, 0xffff0000u, high > 0u && high <= 0x7f80u);
    }
    return select(0u, 0xffffffffu, u > 0u && u <= 0x7f800000u);
}

// All ones where a number of y, as the bits of an f32 or shifted up from bf16, is above zero.
fn above(u: u32) -> u32 {
    return select(0u, 0xffffffffu, u > 0u && u <= 0x7f800000u);
}

// What a word of dy keeps.
fn kept(row: u32, col: u32) -> u32 {
    let start = params.mask_offset + row * params.mask_ld;
    if MASK_HALVES && !HALVES {
        let word = mask[start + col / 2u];
        return above(select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u));
    }
    if HALVES && !MASK_HALVES {
        // The last number of an odd count has none beside it.
        let at = start + 2u * col;
        if params.odd == 1u && col + 1u == params.words {
            return above(mask[at]);
        }
        return (above(mask[at]) & 0xffffu) | (above(mask[at + 1u]) & 0xffff0000u);
    }
    return positive(mask[start + col]);
}

fn put(row: u32, col: u32, word: u32) {
    let half = params.odd == 1u && col + 1u == params.words;
    dst[params.dst_offset + row * params.dst_ld + col] = select(word, word & 0xffffu, half);
}

fn source(row: u32, col: u32) -> u32 {
    if IN_PLACE {
        return dst[params.dst_offset + row * params.dst_ld + col];
    }
    return src[params.src_offset + row * params.src_ld + col];
}

@compute @workgroup_size(GROUP)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let row = unit / params.words;
    if row >= params.rows {
        return;
    }
    let col = unit % params.words;
    put(row, col, relu(source(row, col)));
}

@compute @workgroup_size(GROUP)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let row = unit / params.words;
    if row >= params.rows {
        return;
    }
    let col = unit % params.words;
    put(row, col, source(row, col) & kept(row, col));
}
