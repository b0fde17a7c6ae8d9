// The sum of the squares of f32 or packed bf16, and how many of them are NaN or infinite. `partial_sums` leaves `parts` sums
// and counts in `partial`, from its third word on; `total` adds them in order, and where pieces of the matrix came before,
// those of its first two words.
// Constants: GROUP, LANES (invocations whose sums become one: GROUP, or 1, without a barrier), HALVES (packed bf16).

//!use lib/index.wgsl

struct Params {
    words: u32, // of one row
    count: u32, // words of all rows
    odd: u32, // 1 where the high half of a row's last word is padding
    x_ld: u32, // words from one row to the next
    parts: u32,
    accumulate: u32, // 1: pieces came before
    finish: u32, // 1: write out; 0: there are pieces to come
    x_offset: u32,
    partial_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> partial: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

struct Part {
    sum: f32,
    special: u32,
}

var<workgroup> sums: array<f32, GROUP>;
var<workgroup> specials: array<u32, GROUP>;

fn plus(part: Part, bits: u32) -> Part {
    let value = bitcast<f32>(bits);
    let special = select(0u, 1u, (bits & 0x7f800000u) == 0x7f800000u);
    return Part(part.sum + value * value, part.special + special);
}

// The same with word `i` of the matrix, if it has as many.
fn plus_word(part: Part, i: u32) -> Part {
    if i >= params.count {
        return part;
    }
    let col = i % params.words;
    let word = x[params.x_offset + i / params.words * params.x_ld + col];
    if !HALVES {
        return plus(part, word);
    }
    let first = plus(part, word << 16u);
    if params.odd == 1u && col + 1u == params.words {
        return first;
    }
    return plus(first, word & 0xffff0000u);
}

fn plus_part(part: Part, at: u32) -> Part {
    let sum = bitcast<f32>(partial[params.partial_offset + at]);
    return Part(part.sum + sum, part.special + partial[params.partial_offset + at + 1u]);
}

// What the lanes of a group have, for the first of them.
fn gathered(lane: u32, own: Part) -> Part {
    if LANES == 1u {
        return own;
    }
    sums[lane] = own.sum;
    specials[lane] = own.special;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
            specials[lane] += specials[lane + half];
        }
    }
    return Part(sums[lane], specials[lane]);
}

@compute @workgroup_size(GROUP)
fn partial_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = linear_group(group, groups) * GROUP + lane;
    let stride = params.parts * LANES;
    var part = Part(0.0, 0u);
    for (var i = first; i < params.count; i += 4u * stride) {
        // Four at a time, on their way together.
        part = plus_word(part, i);
        part = plus_word(part, i + stride);
        part = plus_word(part, i + 2u * stride);
        part = plus_word(part, i + 3u * stride);
    }
    let all = gathered(lane, part);
    // More groups may be started than there are sums.
    let at = first / LANES;
    if lane % LANES == 0u && at < params.parts {
        partial[params.partial_offset + 2u + 2u * at] = bitcast<u32>(all.sum);
        partial[params.partial_offset + 3u + 2u * at] = all.special;
    }
}

@compute @workgroup_size(GROUP)
fn total(@builtin(local_invocation_index) lane: u32) {
    var part = Part(0.0, 0u);
    if lane < LANES {
        for (var i = lane; i < params.parts; i += LANES) {
            part = plus_part(part, 2u + 2u * i);
        }
    }
    var all = gathered(lane, part);
    if lane > 0u {
        return;
    }
    if params.accumulate == 1u {
        all = plus_part(all, 0u);
    }
    if params.finish == 1u {
        out[params.out_offset] = bitcast<u32>(all.sum);
        out[params.out_offset + 1u] = all.special;
    } else {
        partial[params.partial_offset] = bitcast<u32>(all.sum);
        partial[params.partial_offset + 1u] = all.special;
    }
}
