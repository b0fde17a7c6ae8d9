// a <- round_bf16(a + x * y), elementwise over packed bf16 rows with leading dimensions.
// After a generator, lib/index.wgsl, lib/step.wgsl, lib/random.wgsl and lib/fmac.wgsl.
// Constants: GROUP, INTEGER, STOCHASTIC.

struct Params {
    rows: u32,
    cols: u32,
    x_ld: u32, // words from one row to the next
    y_ld: u32,
    a_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    stream: u32,
    x_offset: u32,
    y_offset: u32,
    a_offset: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> y: array<u32>;
@group(0) @binding(4) var<storage, read_write> a: array<u32>;

fn sum(acc: u32, factor: u32, other: u32) -> u32 {
    if !INTEGER {
        if fmac_ordinary_sum(acc) && fmac_ordinary_factor(factor) && fmac_ordinary_factor(other) {
            return fmac_float(acc, factor, other);
        }
    }
    return fmac_integer(acc, factor, other);
}

// Eight columns of one row: four words of each operand, and where rows are multiples of eight, one draw.
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
    let x_row = params.x_offset + row * params.x_ld;
    let y_row = params.y_offset + row * params.y_ld;
    let a_row = params.a_offset + row * params.a_ld;
    var block = vec4<u32>();
    var x_word = 0u;
    var y_word = 0u;
    var a_word = 0u;
    var word = 0u;
    for (var col = first; col < end; col++) {
        if (col & 1u) == 0u {
            x_word = x[x_row + col / 2u];
            y_word = y[y_row + col / 2u];
            a_word = a[a_row + col / 2u];
        }
        let shift = 16u - 16u * (col & 1u);
        let mask = 0xffff0000u;
        let total = sum((a_word << shift) & mask, (x_word << shift) & mask, (y_word << shift) & mask);
        var code: u32;
        if STOCHASTIC {
            let local = row * params.cols + col;
            let lo = params.base_lo + local;
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if col == first || (lo & 7u) == 0u {
                block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            code = fmac_result(fmac_round_stochastic(total, half_word(block, lo & 7u)));
        } else {
            code = fmac_result(fmac_round_nearest(total));
        }
        if (col & 1u) == 0u {
            word = code;
            if col + 1u == end {
                a[a_row + col / 2u] = word;
            }
        } else {
            a[a_row + col / 2u] = word | (code << 16u);
        }
    }
}
