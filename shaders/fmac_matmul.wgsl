// C <- A B with an accumulator that is rounded to bf16 at every step of k, or every `chunk` steps; packed bf16
// throughout. After a generator, lib/index.wgsl, lib/step.wgsl, lib/random.wgsl and lib/fmac.wgsl.
// Constants: GROUP, ROWS and COLS (even), INTEGER, STOCHASTIC, CHUNKED, TRANS_A, TRANS_B, ADD_C.
//
// An invocation owns ROWS x COLS outputs, whole words of C, and walks k in blocks of eight: one draw for each
// output and block. No barriers and no shared memory: eight steps of a tile take few loads.

struct Params {
    batch: u32,
    rows: u32, // of C, of each product here
    n: u32,
    k: u32,
    a_ld: u32, // words from one row to the next
    b_ld: u32,
    c_ld: u32,
    chunk: u32,
    a_batch: u32, // words from one product to the next
    b_batch: u32,
    c_batch: u32,
    c_rows: u32, // rows from one product to the next, for the draws
    base_lo: u32, // number of the first output: (batch * M + i) * N + j
    base_hi: u32,
    stream: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<u32>;

const ONE: u32 = 0x3f800000u;
const HIGH: u32 = 0xffff0000u;

fn round_step(total: u32, r: u32, ends: bool) -> u32 {
    var rounded: u32;
    if STOCHASTIC {
        rounded = fmac_round_stochastic(total, r);
    } else {
        rounded = fmac_round_nearest(total);
    }
    if CHUNKED {
        return select(total, rounded, ends);
    }
    return rounded;
}

fn step_float(acc: u32, x: u32, y: u32, r: u32, ends: u32) -> u32 {
    return round_step(fmac_float(acc, x, y), r, ends != 0u);
}

// Eight steps of one output; bit i of `ends` says whether step i ends a chunk.
fn eight_float(
    start: u32,
    xa: vec4<u32>,
    xb: vec4<u32>,
    ya: vec4<u32>,
    yb: vec4<u32>,
    block: vec4<u32>,
    ends: u32,
) -> u32 {
    var acc = step_float(start, xa.x, ya.x, block.x & 0xffffu, ends & 1u);
    acc = step_float(acc, xa.y, ya.y, block.x >> 16u, ends & 2u);
    acc = step_float(acc, xa.z, ya.z, block.y & 0xffffu, ends & 4u);
    acc = step_float(acc, xa.w, ya.w, block.y >> 16u, ends & 8u);
    acc = step_float(acc, xb.x, yb.x, block.z & 0xffffu, ends & 16u);
    acc = step_float(acc, xb.y, yb.y, block.z >> 16u, ends & 32u);
    acc = step_float(acc, xb.z, yb.z, block.w & 0xffffu, ends & 64u);
    return step_float(acc, xb.w, yb.w, block.w >> 16u, ends & 128u);
}

fn eight_integer(
    start: u32,
    xa: vec4<u32>,
    xb: vec4<u32>,
    ya: vec4<u32>,
    yb: vec4<u32>,
    block: vec4<u32>,
    ends: u32,
) -> u32 {
    var acc = start;
    var x0 = xa;
    var x1 = xb;
    var y0 = ya;
    var y1 = yb;
    // A loop, because eight copies of the integer step are much code; it shifts its operands along, because an
    // index that varies would send them to memory.
    for (var i = 0u; i < 8u; i++) {
        acc = round_step(fmac_integer(acc, x0.x, y0.x), half_word(block, i), ((ends >> i) & 1u) != 0u);
        x0 = vec4<u32>(x0.yzw, x1.x);
        x1 = x1.yzwx;
        y0 = vec4<u32>(y0.yzw, y1.x);
        y1 = y1.yzwx;
    }
    return acc;
}

fn ordinary4(v: vec4<u32>) -> bool {
    return fmac_ordinary_factor(v.x) && fmac_ordinary_factor(v.y)
        && fmac_ordinary_factor(v.z) && fmac_ordinary_factor(v.w);
}

// Four elements of a line that runs along k, from the words at `word`: zero from the `left`-th on.
fn along(first: u32, second: u32, left: u32) -> vec4<u32> {
    let values = vec4<u32>(first << 16u, first & HIGH, second << 16u, second & HIGH);
    return select(vec4<u32>(), values, vec4<bool>(left > 0u, left > 1u, left > 2u, left > 3u));
}

fn a_along(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    return along(a[word], a[word + select(0u, 1u, left > 2u)], left);
}

fn b_along(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    return along(b[word], b[word + select(0u, 1u, left > 2u)], left);
}

// The words at `word` of four rows, which hold two lines that run across k: zero from the `left`-th row on.
fn a_across(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    let last = left - 1u;
    let words = vec4<u32>(
        a[word],
        a[word + min(1u, last) * params.a_ld],
        a[word + min(2u, last) * params.a_ld],
        a[word + min(3u, last) * params.a_ld],
    );
    return select(vec4<u32>(), words, vec4<bool>(true, left > 1u, left > 2u, left > 3u));
}

fn b_across(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    let last = left - 1u;
    let words = vec4<u32>(
        b[word],
        b[word + min(1u, last) * params.b_ld],
        b[word + min(2u, last) * params.b_ld],
        b[word + min(3u, last) * params.b_ld],
    );
    return select(vec4<u32>(), words, vec4<bool>(true, left > 1u, left > 2u, left > 3u));
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = linear_group(group, groups) * GROUP + lane;
    let across = (params.n + COLS - 1u) / COLS;
    let down = (params.rows + ROWS - 1u) / ROWS;
    let col0 = (tile % across) * COLS;
    let row0 = ((tile / across) % down) * ROWS;
    let batch = tile / across / down;
    if batch >= params.batch {
        return;
    }
    let a_start = params.a_offset + batch * params.a_batch;
    let b_start = params.b_offset + batch * params.b_batch;
    // Number of the tile's first output, in 64 bits.
    let local = (batch * params.c_rows + row0) * params.n + col0;
    let tile_lo = params.base_lo + local;
    let tile_hi = params.base_hi + select(0u, 1u, tile_lo < local);

    var acc: array<u32, ROWS * COLS>;
    for (var i = 0u; i < ROWS * COLS; i++) {
        acc[i] = 0u;
    }
    var x: array<vec4<u32>, 2u * ROWS>;
    var y: array<vec4<u32>, 2u * COLS>;
    var left_in_chunk = params.chunk;
    for (var k = 0u; k < params.k; k += 8u) {
        let left = min(params.k - k, 8u);
        let left_b = max(left, 4u) - 4u; // of the second four
        if TRANS_A {
            for (var r = 0u; r < ROWS; r += 2u) {
                let row = min(row0 + r, (params.rows - 1u) & ~1u);
                let word = a_start + k * params.a_ld + row / 2u;
                let first = a_across(word, left);
                let second = a_across(word + 4u * params.a_ld, left_b);
                x[2u * r] = first << vec4<u32>(16u);
                x[2u * r + 1u] = second << vec4<u32>(16u);
                // Beyond the last row is padding, which is never looked at.
                let high = select(0u, HIGH, row + 1u < params.rows);
                x[2u * r + 2u] = first & vec4<u32>(high);
                x[2u * r + 3u] = second & vec4<u32>(high);
            }
        } else {
            for (var r = 0u; r < ROWS; r++) {
                let word = a_start + min(row0 + r, params.rows - 1u) * params.a_ld + k / 2u;
                x[2u * r] = a_along(word, left);
                x[2u * r + 1u] = a_along(word + 2u, left_b);
            }
        }
        if TRANS_B {
            for (var j = 0u; j < COLS; j++) {
                let word = b_start + min(col0 + j, params.n - 1u) * params.b_ld + k / 2u;
                y[2u * j] = b_along(word, left);
                y[2u * j + 1u] = b_along(word + 2u, left_b);
            }
        } else {
            for (var j = 0u; j < COLS; j += 2u) {
                let col = min(col0 + j, (params.n - 1u) & ~1u);
                let word = b_start + k * params.b_ld + col / 2u;
                let first = b_across(word, left);
                let second = b_across(word + 4u * params.b_ld, left_b);
                y[2u * j] = first << vec4<u32>(16u);
                y[2u * j + 1u] = second << vec4<u32>(16u);
                let high = select(0u, HIGH, col + 1u < params.n);
                y[2u * j + 2u] = first & vec4<u32>(high);
                y[2u * j + 3u] = second & vec4<u32>(high);
            }
        }

        // Which of the eight steps end a chunk; the last step of all always does.
        var ends = 0xffu;
        if CHUNKED {
            ends = 0u;
            for (var i = 0u; i < left; i++) {
                left_in_chunk -= 1u;
                if left_in_chunk == 0u || k + i + 1u == params.k {
                    ends |= 1u << i;
                    left_in_chunk = params.chunk;
                }
            }
        }

        var ordinary = !INTEGER;
        if !INTEGER {
            for (var i = 0u; i < 2u * ROWS; i++) {
                ordinary = ordinary && ordinary4(x[i]);
            }
            for (var i = 0u; i < 2u * COLS; i++) {
                ordinary = ordinary && ordinary4(y[i]);
            }
            for (var i = 0u; i < ROWS * COLS; i++) {
                ordinary = ordinary && fmac_ordinary_sum(acc[i]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var j = 0u; j < COLS; j++) {
                var block = vec4<u32>();
                if STOCHASTIC {
                    if ends != 0u {
                        let offset = r * params.n + j;
                        let lo = tile_lo + offset;
                        let hi = tile_hi + select(0u, 1u, lo < offset);
                        block = random_block(
                            step.seed,
                            fmac_counter(lo, hi, params.stream, step.number, k),
                        );
                    }
                }
                let i = r * COLS + j;
                if !INTEGER && ordinary {
                    acc[i] = eight_float(
                        acc[i], x[2u * r], x[2u * r + 1u], y[2u * j], y[2u * j + 1u], block, ends,
                    );
                } else {
                    acc[i] = eight_integer(
                        acc[i], x[2u * r], x[2u * r + 1u], y[2u * j], y[2u * j + 1u], block, ends,
                    );
                }
            }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        let row = row0 + r;
        if row >= params.rows {
            continue;
        }
        for (var j = 0u; j < COLS; j += 2u) {
            let col = col0 + j;
            if col >= params.n {
                continue;
            }
            let word = params.c_offset + batch * params.c_batch + row * params.c_ld + col / 2u;
            var low = acc[r * COLS + j];
            var high = acc[r * COLS + j + 1u];
            if ADD_C {
                let before = c[word];
                low = add_c(low, before << 16u, tile_lo, tile_hi, r * params.n + j);
                high = add_c(high, before & HIGH, tile_lo, tile_hi, r * params.n + j + 1u);
            }
            c[word] = fmac_result(low) | select(0u, fmac_result(high) << 16u, col + 1u < params.n);
        }
    }
}

// C itself, as one more step that is always rounded; it draws as step K. In integers: it is one of many.
fn add_c(acc: u32, value: u32, tile_lo: u32, tile_hi: u32, offset: u32) -> u32 {
    let total = fmac_integer(acc, value, ONE);
    if STOCHASTIC {
        let lo = tile_lo + offset;
        let hi = tile_hi + select(0u, 1u, lo < offset);
        let counter = fmac_counter(lo, hi, params.stream, step.number, params.k);
        return fmac_round_stochastic(total, half_word(random_block(step.seed, counter), params.k & 7u));
    }
    return fmac_round_nearest(total);
}
