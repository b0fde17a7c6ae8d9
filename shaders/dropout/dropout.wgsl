// Dropout, eight columns of one row per invocation: y = x * scale where the element's 16 random bits are at or above a
// threshold, else +0. Everything is u32: the product is rounded to nearest, subnormals kept, on every device, then to
// bf16 where that is stored; a NaN passes as it is. Outside training, or with a threshold of 0, y = x and nothing is
// drawn.
// Constants: GROUP, HALVES (packed bf16), IN_PLACE (x is what stands in `dst`).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/rounding.wgsl
//!use lib/random.wgsl
//!use lib/wide.wgsl

struct Step {
    seed: vec2<u32>,
    number: u32,
    training: f32,
}

struct Params {
    rows: u32,
    cols: u32,
    src_ld: u32, // words from one row to the next
    dst_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    stream: u32,
    threshold: u32, // 0..65535
    scale_significand: u32, // scale = this * 2^(scale_exponent - 24), from 1 to 65536; 24 bits
    scale_exponent: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

fn word(row: u32, at: u32) -> u32 {
    if IN_PLACE {
        return dst[params.dst_offset + row * params.dst_ld + at];
    }
    return src[params.src_offset + row * params.src_ld + at];
}

// The f32 bits of x * scale. With x = m * 2^(e - 150) the product is (m * significand / 2^24) * 2^(p - 150): its whole
// part has 24 bits at most and its fraction is the other word. It is shifted until the leading bit is bit 23 or p is 1.
fn scaled(u: u32) -> u32 {
    let magnitude = u & 0x7fffffffu;
    let product = mul_wide(significand(u) << 8u, params.scale_significand);
    let p = exponent(u) + params.scale_exponent;
    let shift = min(countLeadingZeros(product.x) - 8u, p - 1u);
    let q = (product.x << shift) | select(0u, product.y >> ((32u - shift) & 31u), shift > 0u);
    let rest = product.y << shift;
    let up = rest > 0x80000000u || (rest == 0x80000000u && (q & 1u) == 1u);
    // The leading bit adds the 1 that is taken off the exponent; past the largest there is Inf.
    let bits = min(((p - shift - 1u) << 23u) + q + select(0u, 1u, up), 0x7f800000u);
    return (u & 0x80000000u) | select(bits, magnitude, magnitude > 0x7f800000u);
}

@compute @workgroup_size(GROUP)
fn main(
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
    let to = params.dst_offset + row * params.dst_ld;
    let draws = step.training != 0.0 && params.threshold > 0u;
    var block = vec4<u32>();
    var source = 0u;
    var result = 0u;
    for (var col = first; col < end; col++) {
        var keep = true;
        if draws {
            let local = row * params.cols + col;
            let lo = params.base_lo + local;
            if col == first || (lo & 7u) == 0u {
                let hi = params.base_hi + select(0u, 1u, lo < local);
                block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            keep = half_word(block, lo & 7u) >= params.threshold;
        }
        if !HALVES {
            let x = word(row, col);
            dst[to + col] = select(0u, select(x, scaled(x), draws), keep);
            continue;
        }
        // Both halves of a word are read before it is written: it may be the same one.
        if (col & 1u) == 0u {
            source = word(row, col / 2u);
            result = 0u;
        }
        let shift = 16u * (col & 1u);
        let x = (source >> shift) << 16u;
        let nan = (x & 0x7fffffffu) > 0x7f800000u;
        let code = select(x >> 16u, bf16_round_nearest(scaled(x)), draws && !nan);
        result |= select(0u, code, keep) << shift;
        if (col & 1u) == 1u || col + 1u == end {
            dst[to + col / 2u] = result;
        }
    }
}
