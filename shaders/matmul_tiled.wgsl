// Matmul through workgroup memory: a group makes TILE by TILE outputs, each lane eight rows by eight columns.
// After matmul_common.wgsl and what it needs. Constants: TILE (64 or 128), TILE_K (16).
// Edges have no path of their own: loads are clamped and masked, stores are guarded.

const ACROSS: u32 = TILE / 8u; // lanes, and runs of eight, along one side
const LANES: u32 = ACROSS * ACROSS;
const UNITS: u32 = TILE * TILE_K / 32u; // pieces of 32 elements in one operand's slab

// One slab of each operand, k by k. A run of eight values is stored as two vectors, the lower halves of all
// runs before the upper ones: neighbouring lanes then read neighbouring vectors, and no banks collide.
var<workgroup> slab_a: array<vec4<f32>, TILE * TILE_K / 4u>;
var<workgroup> slab_b: array<vec4<f32>, TILE * TILE_K / 4u>;

fn slot(k: u32, run: u32, half: u32) -> u32 {
    return k * (TILE / 4u) + half * ACROSS + run;
}

// Loads 32 elements of A: four runs of eight.
fn fill_a(unit: u32, batch: u32, first: u32, k0: u32) {
    let whole = k0 + TILE_K <= params.k;
    if A_TRANSPOSED {
        let run = unit % ACROSS;
        let k = unit / ACROSS * 4u;
        for (var t = 0u; t < 4u; t++) {
            let at = k0 + k + t;
            let x = masked_row(run_a(batch, at, first + run * 8u), at, whole);
            slab_a[slot(k + t, run, 0u)] = x.lo;
            slab_a[slot(k + t, run, 1u)] = x.hi;
        }
        return;
    }
    let k = unit % (TILE_K / 8u) * 8u;
    let four = unit / (TILE_K / 8u);
    let i = first + four * 4u;
    let last = params.m - 1u;
    let at = k0 + k;
    let p = masked_run(run_a(batch, min(i, last), at), at, whole);
    let q = masked_run(run_a(batch, min(i + 1u, last), at), at, whole);
    let r = masked_run(run_a(batch, min(i + 2u, last), at), at, whole);
    let s = masked_run(run_a(batch, min(i + 3u, last), at), at, whole);
    let to = slot(k, four / 2u, four % 2u);
    slab_a[to] = vec4<f32>(p.lo.x, q.lo.x, r.lo.x, s.lo.x);
    slab_a[to + TILE / 4u] = vec4<f32>(p.lo.y, q.lo.y, r.lo.y, s.lo.y);
    slab_a[to + TILE / 2u] = vec4<f32>(p.lo.z, q.lo.z, r.lo.z, s.lo.z);
    slab_a[to + TILE / 4u * 3u] = vec4<f32>(p.lo.w, q.lo.w, r.lo.w, s.lo.w);
    slab_a[to + TILE] = vec4<f32>(p.hi.x, q.hi.x, r.hi.x, s.hi.x);
    slab_a[to + TILE / 4u * 5u] = vec4<f32>(p.hi.y, q.hi.y, r.hi.y, s.hi.y);
    slab_a[to + TILE / 4u * 6u] = vec4<f32>(p.hi.z, q.hi.z, r.hi.z, s.hi.z);
    slab_a[to + TILE / 4u * 7u] = vec4<f32>(p.hi.w, q.hi.w, r.hi.w, s.hi.w);
}

// The same of B.
fn fill_b(unit: u32, batch: u32, first: u32, k0: u32) {
    let whole = k0 + TILE_K <= params.k;
    if !B_TRANSPOSED {
        let run = unit % ACROSS;
        let k = unit / ACROSS * 4u;
        for (var t = 0u; t < 4u; t++) {
            let at = k0 + k + t;
            let x = masked_row(run_b(batch, at, first + run * 8u), at, whole);
            slab_b[slot(k + t, run, 0u)] = x.lo;
            slab_b[slot(k + t, run, 1u)] = x.hi;
        }
        return;
    }
    let k = unit % (TILE_K / 8u) * 8u;
    let four = unit / (TILE_K / 8u);
    let j = first + four * 4u;
    let last = params.n - 1u;
    let at = k0 + k;
    let p = masked_run(run_b(batch, min(j, last), at), at, whole);
    let q = masked_run(run_b(batch, min(j + 1u, last), at), at, whole);
    let r = masked_run(run_b(batch, min(j + 2u, last), at), at, whole);
    let s = masked_run(run_b(batch, min(j + 3u, last), at), at, whole);
    let to = slot(k, four / 2u, four % 2u);
    slab_b[to] = vec4<f32>(p.lo.x, q.lo.x, r.lo.x, s.lo.x);
    slab_b[to + TILE / 4u] = vec4<f32>(p.lo.y, q.lo.y, r.lo.y, s.lo.y);
    slab_b[to + TILE / 2u] = vec4<f32>(p.lo.z, q.lo.z, r.lo.z, s.lo.z);
    slab_b[to + TILE / 4u * 3u] = vec4<f32>(p.lo.w, q.lo.w, r.lo.w, s.lo.w);
    slab_b[to + TILE] = vec4<f32>(p.hi.x, q.hi.x, r.hi.x, s.hi.x);
    slab_b[to + TILE / 4u * 5u] = vec4<f32>(p.hi.y, q.hi.y, r.hi.y, s.hi.y);
    slab_b[to + TILE / 4u * 6u] = vec4<f32>(p.hi.z, q.hi.z, r.hi.z, s.hi.z);
    slab_b[to + TILE / 4u * 7u] = vec4<f32>(p.hi.w, q.hi.w, r.hi.w, s.hi.w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.z;
    let row = group.x * TILE;
    let col = group.y * TILE;
    let x = lane % ACROSS;
    let y = lane / ACROSS;
    var sums = Sums();
    for (var k0 = 0u; k0 < params.k; k0 += TILE_K) {
        for (var unit = lane; unit < 2u * UNITS; unit += LANES) {
            if unit < UNITS {
                fill_a(unit, batch, row, k0);
            } else {
                fill_b(unit - UNITS, batch, col, k0);
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            rank_one(
                &sums,
                slab_a[slot(k, y, 0u)],
                slab_a[slot(k, y, 1u)],
                slab_b[slot(k, x, 0u)],
                slab_b[slot(k, x, 1u)],
            );
        }
        workgroupBarrier();
    }
    var rows = sums;
    for (var i = 0u; i < 8u; i++) {
        emit(batch, row + y * 8u + i, col + x * 8u, Run(rows[2u * i], rows[2u * i + 1u]));
    }
}
