// C <- A B with an accumulator that is rounded to bf16 at every step of k, or every `chunk` steps; packed
// bf16 throughout.
// Constants: GROUP, INTEGER, STOCHASTIC, CHUNKED, TRANS_A, TRANS_B, ADD_C.
//
// An invocation owns 4 rows of 4 columns of C, whole words, and walks k in blocks of eight: one draw for each
// output and block. No barriers and no shared memory: eight steps of a tile take 32 words. Everything has a
// name, because an array whose index varies lives in memory on compilers that do not unroll.

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/random.wgsl
//!use lib/fmac.wgsl

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
    sums_offset: u32,
    first_k: u32, // of this dispatch, a multiple of eight; `k` counts from there
    flags: u32,
}

const FIRST: u32 = 1u; // the accumulators start at zero, not at `sums`
const LAST: u32 = 2u; // they end in `c`, not in `sums`

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> a: array<u32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<u32>;
// The accumulators between two dispatches of one product, f32 bits as they are: sixteen words for each tile. A chunk
// may go on from one to the next.
@group(0) @binding(5) var<storage, read_write> sums: array<u32>;

const ONE: u32 = 0x3f800000u;
const HIGH: u32 = 0xffff0000u;

// Eight steps of four lines: step by step, a component for each line.
struct Steps {
    s0: vec4<u32>,
    s1: vec4<u32>,
    s2: vec4<u32>,
    s3: vec4<u32>,
    s4: vec4<u32>,
    s5: vec4<u32>,
    s6: vec4<u32>,
    s7: vec4<u32>,
}

// The draws of eight steps: the words of four outputs' blocks, a component for each output.
struct Draws {
    w0: vec4<u32>,
    w1: vec4<u32>,
    w2: vec4<u32>,
    w3: vec4<u32>,
}

fn round_step(total: vec4<u32>, r: vec4<u32>, ends: u32) -> vec4<u32> {
    var rounded: vec4<u32>;
    if STOCHASTIC {
        rounded = fmac_round_stochastic(total, r);
    } else {
        rounded = fmac_round_nearest(total);
    }
    if CHUNKED {
        return select(total, rounded, ends != 0u);
    }
    return rounded;
}

fn low(w: vec4<u32>) -> vec4<u32> {
    return w & vec4<u32>(0xffffu);
}

fn high(w: vec4<u32>) -> vec4<u32> {
    return w >> vec4<u32>(16u);
}

fn step_float(acc: vec4<u32>, x: u32, y: vec4<u32>, r: vec4<u32>, ends: u32) -> vec4<u32> {
    return round_step(fmac_float(acc, vec4<u32>(x), y), r, ends);
}

// Eight steps of one row; bit i of `ends` says whether step i ends a chunk.
fn row_float(start: vec4<u32>, xa: vec4<u32>, xb: vec4<u32>, y: Steps, w: Draws, ends: u32) -> vec4<u32> {
    var acc = step_float(start, xa.x, y.s0, low(w.w0), ends & 1u);
    acc = step_float(acc, xa.y, y.s1, high(w.w0), ends & 2u);
    acc = step_float(acc, xa.z, y.s2, low(w.w1), ends & 4u);
    acc = step_float(acc, xa.w, y.s3, high(w.w1), ends & 8u);
    acc = step_float(acc, xb.x, y.s4, low(w.w2), ends & 16u);
    acc = step_float(acc, xb.y, y.s5, high(w.w2), ends & 32u);
    acc = step_float(acc, xb.z, y.s6, low(w.w3), ends & 64u);
    return step_float(acc, xb.w, y.s7, high(w.w3), ends & 128u);
}

// The same in integers: a loop, because eight copies of the integer step are much code, that moves its
// operands up instead of indexing them.
fn row_integer(start: vec4<u32>, xa: vec4<u32>, xb: vec4<u32>, ys: Steps, ws: Draws, ends: u32) -> vec4<u32> {
    var acc = start;
    var x0 = xa;
    var x1 = xb;
    var y = ys;
    var w = ws;
    for (var i = 0u; i < 8u; i++) {
        acc = round_step(fmac_integer(acc, vec4<u32>(x0.x), y.s0), low(w.w0), (ends >> i) & 1u);
        x0 = vec4<u32>(x0.yzw, x1.x);
        x1 = x1.yzwx;
        y = Steps(y.s1, y.s2, y.s3, y.s4, y.s5, y.s6, y.s7, y.s0);
        if STOCHASTIC {
            if (i & 1u) == 0u {
                w.w0 = high(w.w0);
            } else {
                w = Draws(w.w1, w.w2, w.w3, w.w0);
            }
        }
    }
    return acc;
}

// The draws of outputs `offset` .. `offset + 3` after number (lo, hi), for the eight steps from k on.
fn draws(lo: u32, hi: u32, offset: u32, k: u32) -> Draws {
    let n0 = lo + offset;
    let n1 = n0 + 1u;
    let n2 = n0 + 2u;
    let n3 = n0 + 3u;
    let h0 = hi + select(0u, 1u, n0 < lo);
    let h1 = hi + select(0u, 1u, n1 < lo);
    let h2 = hi + select(0u, 1u, n2 < lo);
    let h3 = hi + select(0u, 1u, n3 < lo);
    let b0 = random_block(step.seed, fmac_counter(n0, h0, params.stream, step.number, k));
    let b1 = random_block(step.seed, fmac_counter(n1, h1, params.stream, step.number, k));
    let b2 = random_block(step.seed, fmac_counter(n2, h2, params.stream, step.number, k));
    let b3 = random_block(step.seed, fmac_counter(n3, h3, params.stream, step.number, k));
    return Draws(
        vec4<u32>(b0.x, b1.x, b2.x, b3.x),
        vec4<u32>(b0.y, b1.y, b2.y, b3.y),
        vec4<u32>(b0.z, b1.z, b2.z, b3.z),
        vec4<u32>(b0.w, b1.w, b2.w, b3.w),
    );
}

// Where a tile's draws are: the number of its first output in 64 bits, and the step. `ends` is 0 where
// nothing is rounded.
struct Place {
    lo: u32,
    hi: u32,
    k: u32,
    ends: u32,
}

fn row_draws(place: Place, row: u32) -> Draws {
    var w = Draws();
    if STOCHASTIC {
        if place.ends != 0u {
            w = draws(place.lo, place.hi, row * params.n, place.k);
        }
    }
    return w;
}

// Of four consecutive elements, the first `left`.
fn keep(values: vec4<u32>, left: u32) -> vec4<u32> {
    return select(vec4<u32>(), values, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(left));
}

// Four elements of a line that runs along k, zero from the `left`-th on.
fn a_along(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    return keep(fmac_widen(a[word], a[word + select(0u, 1u, left > 2u)]), left);
}

fn b_along(word: u32, left: u32) -> vec4<u32> {
    if left == 0u {
        return vec4<u32>();
    }
    return keep(fmac_widen(b[word], b[word + select(0u, 1u, left > 2u)]), left);
}

// One step of the first `lines` of four lines that run across k, zero where there is no such step.
fn a_across(word: u32, lines: u32, there: bool) -> vec4<u32> {
    if !there {
        return vec4<u32>();
    }
    return keep(fmac_widen(a[word], a[word + select(0u, 1u, lines > 2u)]), lines);
}

fn b_across(word: u32, lines: u32, there: bool) -> vec4<u32> {
    if !there {
        return vec4<u32>();
    }
    return keep(fmac_widen(b[word], b[word + select(0u, 1u, lines > 2u)]), lines);
}

// Four steps of A and of B for four lines, from step k on, of which `left` are there: along k for A (a matrix
// row for each line), across it for B.
struct Four {
    l0: vec4<u32>,
    l1: vec4<u32>,
    l2: vec4<u32>,
    l3: vec4<u32>,
}

// The second line first, the first one last.
fn turned(f: Four) -> Four {
    return Four(f.l1, f.l2, f.l3, f.l0);
}

fn transposed(f: Four) -> Four {
    return Four(
        vec4<u32>(f.l0.x, f.l1.x, f.l2.x, f.l3.x),
        vec4<u32>(f.l0.y, f.l1.y, f.l2.y, f.l3.y),
        vec4<u32>(f.l0.z, f.l1.z, f.l2.z, f.l3.z),
        vec4<u32>(f.l0.w, f.l1.w, f.l2.w, f.l3.w),
    );
}

fn load_a(start: u32, row0: u32, rows: u32, k: u32, left: u32) -> Four {
    let ld = params.a_ld;
    if TRANS_A {
        let word = start + k * ld + row0 / 2u;
        return transposed(Four(
            a_across(word, rows, left > 0u),
            a_across(word + ld, rows, left > 1u),
            a_across(word + 2u * ld, rows, left > 2u),
            a_across(word + 3u * ld, rows, left > 3u),
        ));
    }
    let word = start + row0 * ld + k / 2u;
    // Rows past the last are the last again, and not stored.
    return Four(
        a_along(word, left),
        a_along(word + min(1u, rows - 1u) * ld, left),
        a_along(word + min(2u, rows - 1u) * ld, left),
        a_along(word + min(3u, rows - 1u) * ld, left),
    );
}

fn load_b(start: u32, col0: u32, cols: u32, k: u32, left: u32) -> Four {
    let ld = params.b_ld;
    if TRANS_B {
        let word = start + col0 * ld + k / 2u;
        return transposed(Four(
            b_along(word, left),
            b_along(word + min(1u, cols - 1u) * ld, left),
            b_along(word + min(2u, cols - 1u) * ld, left),
            b_along(word + min(3u, cols - 1u) * ld, left),
        ));
    }
    let word = start + k * ld + col0 / 2u;
    return Four(
        b_across(word, cols, left > 0u),
        b_across(word + ld, cols, left > 1u),
        b_across(word + 2u * ld, cols, left > 2u),
        b_across(word + 3u * ld, cols, left > 3u),
    );
}

fn ordinary4(f: Four) -> bool {
    return fmac_ordinary_factors(f.l0) && fmac_ordinary_factors(f.l1)
        && fmac_ordinary_factors(f.l2) && fmac_ordinary_factors(f.l3);
}

fn sums_at(at: u32) -> vec4<u32> {
    return vec4<u32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]);
}

fn put_sums(at: u32, values: vec4<u32>) {
    sums[at] = values.x;
    sums[at + 1u] = values.y;
    sums[at + 2u] = values.z;
    sums[at + 3u] = values.w;
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = linear_group(group, groups) * GROUP + lane;
    let across = (params.n + 3u) / 4u;
    let down = (params.rows + 3u) / 4u;
    let col0 = (tile % across) * 4u;
    let row0 = ((tile / across) % down) * 4u;
    let batch = tile / across / down;
    if batch >= params.batch {
        return;
    }
    let rows = min(params.rows - row0, 4u);
    let cols = min(params.n - col0, 4u);
    let a_start = params.a_offset + batch * params.a_batch;
    let b_start = params.b_offset + batch * params.b_batch;
    let local = (batch * params.c_rows + row0) * params.n + col0;
    let lo = params.base_lo + local;
    let hi = params.base_hi + select(0u, 1u, lo < local);

    let at = params.sums_offset + tile * 16u;
    var acc = Four();
    if (params.flags & FIRST) == 0u {
        acc = Four(sums_at(at), sums_at(at + 4u), sums_at(at + 8u), sums_at(at + 12u));
    }
    let last = (params.flags & LAST) != 0u;
    // Turns of loops: 42 for eight k (51 in chunks), 6 beside. src/kernels/fmac/product/gpu.rs counts on that.
    var left_in_chunk = params.chunk - params.first_k % params.chunk;
    for (var k = 0u; k < params.k; k += 8u) {
        let left = min(params.k - k, 8u);
        let left_b = max(left, 4u) - 4u; // of the second four
        let xa = load_a(a_start, row0, rows, k, left);
        let xb = load_a(a_start, row0, rows, k + 4u, left_b);
        let ya = load_b(b_start, col0, cols, k, left);
        let yb = load_b(b_start, col0, cols, k + 4u, left_b);
        let y = Steps(ya.l0, ya.l1, ya.l2, ya.l3, yb.l0, yb.l1, yb.l2, yb.l3);

        // Which of the eight steps end a chunk; the last step of all always does, and only there are fewer than
        // eight. Steps past it add 0 * 0 to a value that is bf16 already, which changes nothing however it is rounded.
        var ends = 0xffu;
        if CHUNKED {
            ends = 0u;
            for (var i = 0u; i < left; i++) {
                left_in_chunk -= 1u;
                if left_in_chunk == 0u || (last && k + i + 1u == params.k) {
                    ends |= 1u << i;
                    left_in_chunk = params.chunk;
                }
            }
        }
        var ordinary = false;
        if !INTEGER {
            ordinary = ordinary4(xa) && ordinary4(xb) && ordinary4(ya) && ordinary4(yb)
                && fmac_ordinary_sums(acc.l0) && fmac_ordinary_sums(acc.l1)
                && fmac_ordinary_sums(acc.l2) && fmac_ordinary_sums(acc.l3);
        }
        let place = Place(lo, hi, params.first_k + k, ends);
        if ordinary {
            acc.l0 = row_float(acc.l0, xa.l0, xb.l0, y, row_draws(place, 0u), ends);
            acc.l1 = row_float(acc.l1, xa.l1, xb.l1, y, row_draws(place, 1u), ends);
            acc.l2 = row_float(acc.l2, xa.l2, xb.l2, y, row_draws(place, 2u), ends);
            acc.l3 = row_float(acc.l3, xa.l3, xb.l3, y, row_draws(place, 3u), ends);
        } else {
            // One copy of the code here too: four turns bring every row back to its place.
            var x0 = xa;
            var x1 = xb;
            for (var row = 0u; row < 4u; row++) {
                acc.l0 = row_integer(acc.l0, x0.l0, x1.l0, y, row_draws(place, row), ends);
                acc = turned(acc);
                x0 = turned(x0);
                x1 = turned(x1);
            }
        }
    }

    if !last {
        put_sums(at, acc.l0);
        put_sums(at + 4u, acc.l1);
        put_sums(at + 8u, acc.l2);
        put_sums(at + 12u, acc.l3);
        return;
    }
    let place = Place(lo, hi, params.first_k + params.k, 1u);
    var word = params.c_offset + batch * params.c_batch + row0 * params.c_ld + col0 / 2u;
    for (var row = 0u; row < rows; row++) {
        store(word, cols, acc.l0, place, row);
        acc = turned(acc);
        word += params.c_ld;
    }
}

// Stores the first `cols` of four outputs, C added first where it is: one more step that is always rounded
// and draws as step K. In integers, since it is one of many.
fn store(word: u32, cols: u32, acc: vec4<u32>, place: Place, row: u32) {
    var value = acc;
    if ADD_C {
        let before = keep(fmac_widen(c[word], c[word + select(0u, 1u, cols > 2u)]), cols);
        value = fmac_integer(acc, before, vec4<u32>(ONE));
        if STOCHASTIC {
            let w = row_draws(place, row);
            // Half-word K & 7 of each block.
            let pair = (place.k >> 1u) & 3u;
            let words = select(
                select(w.w0, w.w1, pair == 1u),
                select(w.w2, w.w3, pair == 3u),
                pair >= 2u,
            );
            value = fmac_round_stochastic(value, select(low(words), high(words), (place.k & 1u) == 1u));
        } else {
            value = fmac_round_nearest(value);
        }
    }
    // The half beside the last of an odd count of columns is zero.
    let words = fmac_pack(keep(value, cols));
    c[word] = words.x;
    if cols > 2u {
        c[word + 1u] = words.y;
    }
}
