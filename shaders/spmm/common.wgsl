// C = A B, A in compressed sparse rows, B and C dense and row-major: what the variants share; B is `src`, C `dst`.
// Constants: INDEX_U16, VALUES_BF16, B_BF16, C_BF16, ACROSS (lanes side by side along N, eight columns each).
//
// The lanes of a row of C read the row of B that an entry names side by side, and the entry itself all at once: what
// moves is one row of B per entry. Loads past N reach only outputs that are not stored.
//
// Where entries or rows of B pass a binding, they are cut into windows: each dispatch adds the products whose entry
// and row of B both lie in its own, and the sums so far wait in f32 beside C. Where a row has more entries than one
// dispatch may walk, each adds a part: of every row in the window it skips `skip` entries, and takes `take` of the
// rest. A row of more entries than all parts walk becomes NaN.

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/csr.wgsl
//!use $load
//!use $store

struct Params {
    rows: u32, // of C, in this dispatch
    n: u32,
    b_ld: u32, // words from one row to the next
    c_ld: u32,
    entry_base: u32, // windows of the entries and of the rows of B
    entry_count: u32,
    b_base: u32,
    b_count: u32,
    first: u32, // 1: no products before this dispatch's
    last: u32, // 1: none after them: write C
    row_ptr_offset: u32,
    col_idx_offset: u32,
    values_offset: u32,
    src_offset: u32,
    dst_offset: u32,
    partials_offset: u32,
    skip: u32,
    take: u32,
    most: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> row_ptr: array<u32>;
@group(0) @binding(4) var<storage, read> col_idx: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<u32>;
@group(0) @binding(6) var<storage, read_write> partials: array<u32>;

// Eight columns.
struct Run {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

fn ends_of(row: u32) -> vec2<u32> {
    return vec2<u32>(row_ptr[params.row_ptr_offset + row], row_ptr[params.row_ptr_offset + row + 1u]);
}

// A row's entries that are this dispatch's: first, and one past the last, counted from the window's start.
fn entries_of(row: u32) -> vec2<u32> {
    let ends = ends_of(row);
    let base = vec2<u32>(params.entry_base);
    let inside = min(max(ends, base) - base, vec2<u32>(params.entry_count));
    // Row ends that decrease are no matrix's; they make an empty row.
    let end = max(inside.x, inside.y);
    let first = inside.x + min(params.skip, end - inside.x);
    return vec2<u32>(first, first + min(params.take, end - first));
}

// Columns col .. col + 8 of a row of B.
fn b_run(row: u32, col: u32) -> Run {
    let at = row * params.b_ld;
    if B_BF16 {
        let w = src_words(at + col / 2u);
        let even = bitcast<vec4<f32>>(w << vec4<u32>(16u));
        let odd = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
        return Run(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
    }
    return Run(bitcast<vec4<f32>>(src_words(at + col)), bitcast<vec4<f32>>(src_words(at + col + 4u)));
}

// Adds an entry's products. Those whose row of B lies outside the window are another dispatch's; only stored
// entries are multiplied, so that an infinity in B reaches no row without an entry there.
fn add_products(sums: ptr<function, Run>, column: u32, value: f32, col: u32) {
    let row = column - params.b_base;
    if row < params.b_count {
        let b = b_run(row, col);
        (*sums).lo += value * b.lo;
        (*sums).hi += value * b.hi;
    }
}

fn emit(row: u32, col: u32, made: Run) {
    var sums = made;
    let n = params.n;
    if params.first == 0u || params.last == 0u {
        let at = params.partials_offset + row * n;
        var v = array<f32, 8>(sums.lo.x, sums.lo.y, sums.lo.z, sums.lo.w, sums.hi.x, sums.hi.y, sums.hi.z, sums.hi.w);
        for (var j = col; j < min(n, col + 8u); j++) {
            if params.first == 0u {
                v[j - col] += bitcast<f32>(partials[at + j]);
            }
            if params.last == 0u {
                partials[at + j] = bitcast<u32>(v[j - col]);
            }
        }
        if params.last == 0u {
            return;
        }
        sums = Run(vec4<f32>(v[0], v[1], v[2], v[3]), vec4<f32>(v[4], v[5], v[6], v[7]));
    }
    let left = n - col;
    let to = row * params.c_ld;
    let ends = ends_of(row);
    let spoiled = ends.y - ends.x > params.most;
    let lo = select(bitcast<vec4<u32>>(sums.lo), vec4<u32>(0x7fc00000u), spoiled);
    let hi = select(bitcast<vec4<u32>>(sums.hi), vec4<u32>(0x7fc00000u), spoiled);
    if C_BF16 {
        put_words(to + col / 2u, vec4<u32>(narrowed(lo, left), narrowed(hi, max(left, 4u) - 4u)), (left + 1u) / 2u);
        return;
    }
    put_words(to + col, lo, left);
    if left > 4u {
        put_words(to + col + 4u, hi, left - 4u);
    }
}

// Two words of bf16; the half beside the last column is zero.
fn narrowed(bits: vec4<u32>, count: u32) -> vec2<u32> {
    let xy = vec2<u32>(bf16_round_nearest(bits.x), bf16_round_nearest(bits.y));
    let zw = vec2<u32>(bf16_round_nearest(bits.z), bf16_round_nearest(bits.w));
    let kept = select(vec4<u32>(), vec4<u32>(xy, zw), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
    return kept.xz | (kept.yw << vec2<u32>(16u));
}
