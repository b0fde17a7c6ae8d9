// Matmul through workgroup memory: a group makes TILE by TILE outputs, each lane eight rows by eight columns.
// Constants: TILE (64 or 128), TILE_K (8 or 16; at most as many units as lanes, see below), and those of common.wgsl.
// Edges have no path of their own: loads are clamped and masked, stores are guarded.

//!use matmul/common.wgsl

const ACROSS: u32 = TILE / 8u; // lanes, and runs of eight, along one side
const LANES: u32 = ACROSS * ACROSS;
const UNITS: u32 = TILE * TILE_K / 32u; // pieces of 32 elements in one operand's slab: one for each lane, or none
const SLAB: u32 = TILE * TILE_K / 4u; // vectors of a slab

// Two slabs of each operand, k by k: one is multiplied while the next is on its way, and one barrier per slab is
// enough. A run of eight values is stored as two vectors, the lower halves of all runs before the upper ones:
// neighbouring lanes then read neighbouring vectors, and no banks collide.
var<workgroup> slabs_a: array<vec4<f32>, 2u * SLAB>;
var<workgroup> slabs_b: array<vec4<f32>, 2u * SLAB>;

// Groups are started along x first. Taken as they come, those that run at the same time would share columns and
// need all rows; in bands of eight tiles of rows they share both, so that less passes the last cache.
const BAND: u32 = 8u;

fn swizzled(group: vec2<u32>, groups: vec2<u32>) -> vec2<u32> {
    let index = group.y * groups.x + group.x;
    let band = index / (BAND * groups.y);
    let within = index - band * BAND * groups.y;
    let tall = min(groups.x - band * BAND, BAND);
    return vec2<u32>(band * BAND + within % tall, within / tall);
}

fn slot(slab: u32, k: u32, run: u32, half: u32) -> u32 {
    return slab * SLAB + k * (TILE / 4u) + half * ACROSS + run;
}

// A unit on its way from memory to a slab: four runs of eight, along K for four rows (or columns), or along M (or
// N) for four k.
struct Unit {
    p: Run,
    q: Run,
    r: Run,
    s: Run,
}

fn load_a(unit: u32, batch: u32, first: u32, k0: u32) -> Unit {
    let whole = k0 + TILE_K <= params.k;
    if A_TRANSPOSED {
        let i = first + unit % ACROSS * 8u;
        let at = k0 + unit / ACROSS * 4u;
        return Unit(
            masked_row(run_a(batch, at, i), at, whole),
            masked_row(run_a(batch, at + 1u, i), at + 1u, whole),
            masked_row(run_a(batch, at + 2u, i), at + 2u, whole),
            masked_row(run_a(batch, at + 3u, i), at + 3u, whole),
        );
    }
    let at = k0 + unit % (TILE_K / 8u) * 8u;
    let i = first + unit / (TILE_K / 8u) * 4u;
    let last = params.m - 1u;
    return Unit(
        masked_run(run_a(batch, min(i, last), at), at, whole),
        masked_run(run_a(batch, min(i + 1u, last), at), at, whole),
        masked_run(run_a(batch, min(i + 2u, last), at), at, whole),
        masked_run(run_a(batch, min(i + 3u, last), at), at, whole),
    );
}

fn load_b(unit: u32, batch: u32, first: u32, k0: u32) -> Unit {
    let whole = k0 + TILE_K <= params.k;
    if !B_TRANSPOSED {
        let j = first + unit % ACROSS * 8u;
        let at = k0 + unit / ACROSS * 4u;
        return Unit(
            masked_row(run_b(batch, at, j), at, whole),
            masked_row(run_b(batch, at + 1u, j), at + 1u, whole),
            masked_row(run_b(batch, at + 2u, j), at + 2u, whole),
            masked_row(run_b(batch, at + 3u, j), at + 3u, whole),
        );
    }
    let at = k0 + unit % (TILE_K / 8u) * 8u;
    let j = first + unit / (TILE_K / 8u) * 4u;
    let last = params.n - 1u;
    return Unit(
        masked_run(run_b(batch, min(j, last), at), at, whole),
        masked_run(run_b(batch, min(j + 1u, last), at), at, whole),
        masked_run(run_b(batch, min(j + 2u, last), at), at, whole),
        masked_run(run_b(batch, min(j + 3u, last), at), at, whole),
    );
}

fn store_a(unit: u32, slab: u32, u: Unit) {
    if A_TRANSPOSED {
        let run = unit % ACROSS;
        let to = slot(slab, unit / ACROSS * 4u, run, 0u);
        slabs_a[to] = u.p.lo;
        slabs_a[to + ACROSS] = u.p.hi;
        slabs_a[to + TILE / 4u] = u.q.lo;
        slabs_a[to + TILE / 4u + ACROSS] = u.q.hi;
        slabs_a[to + TILE / 4u * 2u] = u.r.lo;
        slabs_a[to + TILE / 4u * 2u + ACROSS] = u.r.hi;
        slabs_a[to + TILE / 4u * 3u] = u.s.lo;
        slabs_a[to + TILE / 4u * 3u + ACROSS] = u.s.hi;
        return;
    }
    let four = unit / (TILE_K / 8u);
    let to = slot(slab, unit % (TILE_K / 8u) * 8u, four / 2u, four % 2u);
    slabs_a[to] = vec4<f32>(u.p.lo.x, u.q.lo.x, u.r.lo.x, u.s.lo.x);
    slabs_a[to + TILE / 4u] = vec4<f32>(u.p.lo.y, u.q.lo.y, u.r.lo.y, u.s.lo.y);
    slabs_a[to + TILE / 4u * 2u] = vec4<f32>(u.p.lo.z, u.q.lo.z, u.r.lo.z, u.s.lo.z);
    slabs_a[to + TILE / 4u * 3u] = vec4<f32>(u.p.lo.w, u.q.lo.w, u.r.lo.w, u.s.lo.w);
    slabs_a[to + TILE / 4u * 4u] = vec4<f32>(u.p.hi.x, u.q.hi.x, u.r.hi.x, u.s.hi.x);
    slabs_a[to + TILE / 4u * 5u] = vec4<f32>(u.p.hi.y, u.q.hi.y, u.r.hi.y, u.s.hi.y);
    slabs_a[to + TILE / 4u * 6u] = vec4<f32>(u.p.hi.z, u.q.hi.z, u.r.hi.z, u.s.hi.z);
    slabs_a[to + TILE / 4u * 7u] = vec4<f32>(u.p.hi.w, u.q.hi.w, u.r.hi.w, u.s.hi.w);
}

fn store_b(unit: u32, slab: u32, u: Unit) {
    if !B_TRANSPOSED {
        let run = unit % ACROSS;
        let to = slot(slab, unit / ACROSS * 4u, run, 0u);
        slabs_b[to] = u.p.lo;
        slabs_b[to + ACROSS] = u.p.hi;
        slabs_b[to + TILE / 4u] = u.q.lo;
        slabs_b[to + TILE / 4u + ACROSS] = u.q.hi;
        slabs_b[to + TILE / 4u * 2u] = u.r.lo;
        slabs_b[to + TILE / 4u * 2u + ACROSS] = u.r.hi;
        slabs_b[to + TILE / 4u * 3u] = u.s.lo;
        slabs_b[to + TILE / 4u * 3u + ACROSS] = u.s.hi;
        return;
    }
    let four = unit / (TILE_K / 8u);
    let to = slot(slab, unit % (TILE_K / 8u) * 8u, four / 2u, four % 2u);
    slabs_b[to] = vec4<f32>(u.p.lo.x, u.q.lo.x, u.r.lo.x, u.s.lo.x);
    slabs_b[to + TILE / 4u] = vec4<f32>(u.p.lo.y, u.q.lo.y, u.r.lo.y, u.s.lo.y);
    slabs_b[to + TILE / 4u * 2u] = vec4<f32>(u.p.lo.z, u.q.lo.z, u.r.lo.z, u.s.lo.z);
    slabs_b[to + TILE / 4u * 3u] = vec4<f32>(u.p.lo.w, u.q.lo.w, u.r.lo.w, u.s.lo.w);
    slabs_b[to + TILE / 4u * 4u] = vec4<f32>(u.p.hi.x, u.q.hi.x, u.r.hi.x, u.s.hi.x);
    slabs_b[to + TILE / 4u * 5u] = vec4<f32>(u.p.hi.y, u.q.hi.y, u.r.hi.y, u.s.hi.y);
    slabs_b[to + TILE / 4u * 6u] = vec4<f32>(u.p.hi.z, u.q.hi.z, u.r.hi.z, u.s.hi.z);
    slabs_b[to + TILE / 4u * 7u] = vec4<f32>(u.p.hi.w, u.q.hi.w, u.r.hi.w, u.s.hi.w);
}

fn load(unit: u32, batch: u32, row: u32, col: u32, k0: u32) -> Unit {
    if unit < UNITS {
        return load_a(unit, batch, row, k0);
    }
    return load_b(unit - UNITS, batch, col, k0);
}

fn store(unit: u32, slab: u32, u: Unit) {
    if unit < UNITS {
        store_a(unit, slab, u);
    } else {
        store_b(unit - UNITS, slab, u);
    }
}

// Where K is split, group.z counts the parts of every batch, and each part's sums go to a place of their own:
// `emit` sees the parts as batches. reduce.wgsl adds them up.
@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let batch = group.z / params.splits;
    let begin = group.z % params.splits * params.split_k;
    let end = min(params.k, begin + params.split_k);
    let tile = swizzled(group.xy, groups.xy);
    let row = tile.x * TILE;
    let col = tile.y * TILE;
    let x = lane % ACROSS;
    let y = lane / ACROSS;
    let loads = lane < 2u * UNITS;
    var sums = Sums();
    var slab = 0u;
    if loads && begin < end {
        store(lane, slab, load(lane, batch, row, col, begin));
    }
    workgroupBarrier();
    for (var k0 = begin; k0 < end; k0 += TILE_K) {
        let next = k0 + TILE_K;
        let more = loads && next < end;
        // Asked for before the multiplications and needed after them.
        var coming: Unit;
        if more {
            coming = load(lane, batch, row, col, next);
        }
        for (var k = 0u; k < TILE_K; k++) {
            rank_one(
                &sums,
                slabs_a[slot(slab, k, y, 0u)],
                slabs_a[slot(slab, k, y, 1u)],
                slabs_b[slot(slab, k, x, 0u)],
                slabs_b[slot(slab, k, x, 1u)],
            );
        }
        // The other slab was last read before the last barrier.
        slab = 1u - slab;
        if more {
            store(lane, slab, coming);
        }
        workgroupBarrier();
    }
    var rows = sums;
    for (var i = 0u; i < 8u; i++) {
        emit(group.z, row + y * 8u + i, col + x * 8u, Run(rows[2u * i], rows[2u * i + 1u]));
    }
}
