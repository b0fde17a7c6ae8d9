// What the variants of matmul share: parameters, decoding of the operands, the epilogue.
// Constants: A_BF16, B_BF16 (else f32), A_CODED, B_CODED (neither: codes of a format), A_TRANSPOSED (stored [K, M]), B_TRANSPOSED (stored [N, K]), STOCHASTIC.
// The turns of all loops, here and in the variants, are counted in src/kernels/matmul/form.rs (coop.rs, split.rs): a
// loop added here is added there. bf16.comp has the same parameters in the same order.
//
// Everything moves in runs of eight stored elements: a run is decoded to f32 in one place, `run_a` and `run_b`,
// or in coded.wgsl. Masks are needed along K only: elements past K (padding, the next row,
// another operand) may be NaN and would reach every sum, so they are replaced by zeros. Rows and columns past M
// and N only reach outputs that are not stored.

//!use lib/step.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl
//!use $load
//!use $codes

struct Params {
    m: u32, // rows, columns and products of this dispatch
    n: u32,
    k: u32,
    a_ld: u32, // words from one stored row to the next
    b_ld: u32,
    c_ld: u32,
    a_batch: u32, // words from one batch to the next
    b_batch: u32,
    c_batch: u32,
    alpha: u32, // bits
    beta: u32,
    flags: u32,
    base_lo: u32, // logical index of the first output
    base_hi: u32,
    index_row: u32, // outputs from one row to the next
    index_batch: u32,
    stream: u32,
    a_offset: u32, // in elements of the bindings
    b_offset: u32,
    c_offset: u32,
    bias_offset: u32,
    partials_offset: u32,
    splits: u32, // parts of K that different groups sum (tiled kernel and its reduction; 1 elsewhere)
    split_k: u32, // k of each part
    k_first: u32, // of codes, of which whole rows are bound: the first k of this dispatch
    a_block: u32, // elements that share a scale; 0: there are none; WHOLE_TENSOR: one for all
    a_bits: u32, // of the element, as lib/element.wgsl has it
    a_fraction: u32,
    a_bias: u32,
    a_max_code: u32,
    a_infinity: u32,
    a_scale_ld: u32, // words of scales from one row to the next
    a_scale_batch: u32, // and from one batch to the next
    a_scales_offset: u32,
    b_block: u32,
    b_bits: u32,
    b_fraction: u32,
    b_bias: u32,
    b_max_code: u32,
    b_infinity: u32,
    b_scale_ld: u32,
    b_scale_batch: u32,
    b_scales_offset: u32,
}

const BETA: u32 = 1u;
const BIAS_F32: u32 = 2u;
const BIAS_BF16: u32 = 4u;
const RELU: u32 = 8u;
const C_BF16: u32 = 16u;
const FIRST: u32 = 32u; // no partial sums before this part of K
const LAST: u32 = 64u; // none after it: write C

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(4) var<storage, read> bias: array<u32>;
@group(0) @binding(5) var<storage, read_write> c: array<u32>;
@group(0) @binding(6) var<storage, read_write> partials: array<u32>;

// Eight elements as f32.
struct Run {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

fn run_of_bf16(w: vec4<u32>) -> Run {
    // A bf16 is the upper half of an f32.
    let even = bitcast<vec4<f32>>(w << vec4<u32>(16u));
    let odd = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
    return Run(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

// Columns col .. col + 8 (col a multiple of eight) of a stored row of A.
fn run_a(batch: u32, row: u32, col: u32) -> Run {
    if A_CODED {
        return coded_a(batch, row, col);
    }
    let at = batch * params.a_batch + row * params.a_ld;
    if A_BF16 {
        return run_of_bf16(words_a(at + col / 2u));
    }
    return Run(bitcast<vec4<f32>>(words_a(at + col)), bitcast<vec4<f32>>(words_a(at + col + 4u)));
}

fn run_b(batch: u32, row: u32, col: u32) -> Run {
    if B_CODED {
        return coded_b(batch, row, col);
    }
    let at = batch * params.b_batch + row * params.b_ld;
    if B_BF16 {
        return run_of_bf16(words_b(at + col / 2u));
    }
    return Run(bitcast<vec4<f32>>(words_b(at + col)), bitcast<vec4<f32>>(words_b(at + col + 4u)));
}

// A run along K from k0 on, zero from K on.
fn masked_run(run: Run, k0: u32, whole: bool) -> Run {
    if whole {
        return run;
    }
    let lo = vec4<u32>(k0) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.k);
    let hi = vec4<u32>(k0) + vec4<u32>(4u, 5u, 6u, 7u) < vec4<u32>(params.k);
    return Run(select(vec4<f32>(), run.lo, lo), select(vec4<f32>(), run.hi, hi));
}

// A run along M or N for one k, zero from K on.
fn masked_row(run: Run, k: u32, whole: bool) -> Run {
    if whole || k < params.k {
        return run;
    }
    return Run(vec4<f32>(), vec4<f32>());
}

// Eight rows (or columns) by eight k: entries 2 k and 2 k + 1 hold the eight values of one k.
alias Block = array<vec4<f32>, 16>;

fn transpose(p: Run, q: Run, r: Run, s: Run, t: Run, u: Run, v: Run, w: Run) -> Block {
    return Block(
        vec4<f32>(p.lo.x, q.lo.x, r.lo.x, s.lo.x), vec4<f32>(t.lo.x, u.lo.x, v.lo.x, w.lo.x),
        vec4<f32>(p.lo.y, q.lo.y, r.lo.y, s.lo.y), vec4<f32>(t.lo.y, u.lo.y, v.lo.y, w.lo.y),
        vec4<f32>(p.lo.z, q.lo.z, r.lo.z, s.lo.z), vec4<f32>(t.lo.z, u.lo.z, v.lo.z, w.lo.z),
        vec4<f32>(p.lo.w, q.lo.w, r.lo.w, s.lo.w), vec4<f32>(t.lo.w, u.lo.w, v.lo.w, w.lo.w),
        vec4<f32>(p.hi.x, q.hi.x, r.hi.x, s.hi.x), vec4<f32>(t.hi.x, u.hi.x, v.hi.x, w.hi.x),
        vec4<f32>(p.hi.y, q.hi.y, r.hi.y, s.hi.y), vec4<f32>(t.hi.y, u.hi.y, v.hi.y, w.hi.y),
        vec4<f32>(p.hi.z, q.hi.z, r.hi.z, s.hi.z), vec4<f32>(t.hi.z, u.hi.z, v.hi.z, w.hi.z),
        vec4<f32>(p.hi.w, q.hi.w, r.hi.w, s.hi.w), vec4<f32>(t.hi.w, u.hi.w, v.hi.w, w.hi.w),
    );
}

fn stack(p: Run, q: Run, r: Run, s: Run, t: Run, u: Run, v: Run, w: Run) -> Block {
    return Block(
        p.lo, p.hi, q.lo, q.hi, r.lo, r.hi, s.lo, s.hi, t.lo, t.hi, u.lo, u.hi, v.lo, v.hi, w.lo, w.hi,
    );
}

// Rows i .. i + 8 of op(A) by k0 .. k0 + 8; `whole` says that no k is past K.
fn block_a(batch: u32, i: u32, k0: u32, whole: bool) -> Block {
    if A_TRANSPOSED {
        return stack(
            masked_row(run_a(batch, k0, i), k0, whole),
            masked_row(run_a(batch, k0 + 1u, i), k0 + 1u, whole),
            masked_row(run_a(batch, k0 + 2u, i), k0 + 2u, whole),
            masked_row(run_a(batch, k0 + 3u, i), k0 + 3u, whole),
            masked_row(run_a(batch, k0 + 4u, i), k0 + 4u, whole),
            masked_row(run_a(batch, k0 + 5u, i), k0 + 5u, whole),
            masked_row(run_a(batch, k0 + 6u, i), k0 + 6u, whole),
            masked_row(run_a(batch, k0 + 7u, i), k0 + 7u, whole),
        );
    }
    let last = params.m - 1u;
    return transpose(
        masked_run(run_a(batch, min(i, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 1u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 2u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 3u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 4u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 5u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 6u, last), k0), k0, whole),
        masked_run(run_a(batch, min(i + 7u, last), k0), k0, whole),
    );
}

// Columns j .. j + 8 of op(B) by k0 .. k0 + 8.
fn block_b(batch: u32, j: u32, k0: u32, whole: bool) -> Block {
    if !B_TRANSPOSED {
        return stack(
            masked_row(run_b(batch, k0, j), k0, whole),
            masked_row(run_b(batch, k0 + 1u, j), k0 + 1u, whole),
            masked_row(run_b(batch, k0 + 2u, j), k0 + 2u, whole),
            masked_row(run_b(batch, k0 + 3u, j), k0 + 3u, whole),
            masked_row(run_b(batch, k0 + 4u, j), k0 + 4u, whole),
            masked_row(run_b(batch, k0 + 5u, j), k0 + 5u, whole),
            masked_row(run_b(batch, k0 + 6u, j), k0 + 6u, whole),
            masked_row(run_b(batch, k0 + 7u, j), k0 + 7u, whole),
        );
    }
    let last = params.n - 1u;
    return transpose(
        masked_run(run_b(batch, min(j, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 1u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 2u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 3u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 4u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 5u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 6u, last), k0), k0, whole),
        masked_run(run_b(batch, min(j + 7u, last), k0), k0, whole),
    );
}

// Eight rows by eight columns of sums: entries 2 i and 2 i + 1 hold row i. Indices are constants everywhere, so
// that compilers keep it in registers.
alias Sums = array<vec4<f32>, 16>;

// Adds the products of eight rows and eight columns for one k.
fn rank_one(sums: ptr<function, Sums>, a_lo: vec4<f32>, a_hi: vec4<f32>, b_lo: vec4<f32>, b_hi: vec4<f32>) {
    (*sums)[0] += a_lo.x * b_lo;
    (*sums)[1] += a_lo.x * b_hi;
    (*sums)[2] += a_lo.y * b_lo;
    (*sums)[3] += a_lo.y * b_hi;
    (*sums)[4] += a_lo.z * b_lo;
    (*sums)[5] += a_lo.z * b_hi;
    (*sums)[6] += a_lo.w * b_lo;
    (*sums)[7] += a_lo.w * b_hi;
    (*sums)[8] += a_hi.x * b_lo;
    (*sums)[9] += a_hi.x * b_hi;
    (*sums)[10] += a_hi.y * b_lo;
    (*sums)[11] += a_hi.y * b_hi;
    (*sums)[12] += a_hi.z * b_lo;
    (*sums)[13] += a_hi.z * b_hi;
    (*sums)[14] += a_hi.w * b_lo;
    (*sums)[15] += a_hi.w * b_hi;
}

// Row (or column) i of a block. Called with constants: folds to single components.
fn along_k(x: ptr<function, Block>, i: u32) -> Run {
    return Run(
        vec4<f32>(
            pick((*x)[0], (*x)[1], i), pick((*x)[2], (*x)[3], i),
            pick((*x)[4], (*x)[5], i), pick((*x)[6], (*x)[7], i),
        ),
        vec4<f32>(
            pick((*x)[8], (*x)[9], i), pick((*x)[10], (*x)[11], i),
            pick((*x)[12], (*x)[13], i), pick((*x)[14], (*x)[15], i),
        ),
    );
}

fn pick(v: vec4<f32>, w: vec4<f32>, i: u32) -> f32 {
    let half = select(w, v, i < 4u);
    return half[i & 3u];
}

// Adds the products of row v's eight k with a block of eight columns. One row's sums and its eight values fit
// the registers of a CPU, which takes the block from memory.
fn add_row(sums: ptr<function, Sums>, w: ptr<function, Block>, v: u32, x: Run) {
    var lo = (*sums)[2u * v];
    var hi = (*sums)[2u * v + 1u];
    lo += x.lo.x * (*w)[0];
    hi += x.lo.x * (*w)[1];
    lo += x.lo.y * (*w)[2];
    hi += x.lo.y * (*w)[3];
    lo += x.lo.z * (*w)[4];
    hi += x.lo.z * (*w)[5];
    lo += x.lo.w * (*w)[6];
    hi += x.lo.w * (*w)[7];
    lo += x.hi.x * (*w)[8];
    hi += x.hi.x * (*w)[9];
    lo += x.hi.y * (*w)[10];
    hi += x.hi.y * (*w)[11];
    lo += x.hi.z * (*w)[12];
    hi += x.hi.z * (*w)[13];
    lo += x.hi.w * (*w)[14];
    hi += x.hi.w * (*w)[15];
    (*sums)[2u * v] = lo;
    (*sums)[2u * v + 1u] = hi;
}

// Columns col .. col + 8 (a multiple of eight; cut at N) of one row of outputs: partial sums where K is split,
// then alpha, beta C, bias, ReLU and the rounding. Words of packed outputs are written whole, the last odd
// column's with a zero high half.
fn emit(batch: u32, row: u32, col: u32, sums: Run) {
    if row >= params.m || col >= params.n {
        return;
    }
    var v = array<f32, 8>(
        sums.lo.x, sums.lo.y, sums.lo.z, sums.lo.w, sums.hi.x, sums.hi.y, sums.hi.z, sums.hi.w,
    );
    let end = min(params.n, col + 8u);
    if (params.flags & (FIRST | LAST)) != (FIRST | LAST) {
        let at = params.partials_offset + (batch * params.m + row) * params.n;
        if (params.flags & FIRST) == 0u {
            for (var j = col; j < end; j++) {
                v[j - col] += bitcast<f32>(partials[at + j]);
            }
        }
        if (params.flags & LAST) == 0u {
            for (var j = col; j < end; j++) {
                partials[at + j] = bitcast<u32>(v[j - col]);
            }
            return;
        }
    }
    let to = params.c_offset + batch * params.c_batch + row * params.c_ld;
    let index = batch * params.index_batch + row * params.index_row;
    let packed = (params.flags & C_BF16) != 0u;
    var draw = vec4<u32>();
    var word = 0u;
    for (var j = col; j < end; j++) {
        var x = bitcast<f32>(params.alpha) * v[j - col];
        if (params.flags & BETA) != 0u {
            // An odd column's word has not been written yet.
            var old = c[to + select(j, j / 2u, packed)];
            if packed {
                old = select(old << 16u, old & 0xffff0000u, (j & 1u) == 1u);
            }
            x += bitcast<f32>(params.beta) * bitcast<f32>(old);
        }
        if (params.flags & (BIAS_F32 | BIAS_BF16)) != 0u {
            if (params.flags & BIAS_F32) != 0u {
                x += bitcast<f32>(bias[params.bias_offset + j]);
            } else {
                let pair = bias[params.bias_offset + j / 2u];
                x += bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (j & 1u) == 1u));
            }
        }
        if (params.flags & RELU) != 0u {
            x = select(x, 0.0, x < 0.0);
        }
        if !packed {
            c[to + j] = bitcast<u32>(x);
            continue;
        }
        var code: u32;
        if STOCHASTIC {
            let local = index + j;
            let lo = params.base_lo + local;
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if j == col || (lo & 7u) == 0u {
                draw = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            code = bf16_round_stochastic(bitcast<u32>(x), half_word(draw, lo & 7u));
        } else {
            code = bf16_round_nearest(bitcast<u32>(x));
        }
        if (j & 1u) == 0u {
            word = code;
            if j + 1u == end {
                c[to + j / 2u] = word;
            }
        } else {
            c[to + j / 2u] = word | (code << 16u);
        }
    }
}
