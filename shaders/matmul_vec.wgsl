// Matmul of at most eight rows or at most eight columns, where reading the thick operand once is the cost.
// After matmul_common.wgsl and what it needs.
// Constants: SWAP (at most eight columns: A is thick), VECTORS (rows of the thin operand, rounded up to 1, 2, 4
// or 8), OUT_LANES (lanes along the outputs, eight outputs each), K_LANES (lanes that share one output's sum, a
// power of two; with 1 there is no workgroup memory and no barrier).

const LANES: u32 = OUT_LANES * K_LANES;

var<workgroup> shared_lo: array<vec4<f32>, LANES>;
var<workgroup> shared_hi: array<vec4<f32>, LANES>;

fn pick(v: vec4<f32>, w: vec4<f32>, i: u32) -> f32 {
    // Called with constants: folds to one component.
    let half = select(w, v, i < 4u);
    return half[i & 3u];
}

// Eight k of vector v of the thin operand.
fn thin(batch: u32, v: u32, k0: u32, whole: bool) -> Run {
    if SWAP {
        if B_TRANSPOSED {
            return masked_run(run_b(batch, min(v, params.n - 1u), k0), k0, whole);
        }
        var y = block_b(batch, 0u, k0, whole);
        return Run(
            vec4<f32>(
                pick(y[0], y[1], v), pick(y[2], y[3], v), pick(y[4], y[5], v), pick(y[6], y[7], v),
            ),
            vec4<f32>(
                pick(y[8], y[9], v), pick(y[10], y[11], v), pick(y[12], y[13], v), pick(y[14], y[15], v),
            ),
        );
    }
    if !A_TRANSPOSED {
        return masked_run(run_a(batch, min(v, params.m - 1u), k0), k0, whole);
    }
    var x = block_a(batch, 0u, k0, whole);
    return Run(
        vec4<f32>(pick(x[0], x[1], v), pick(x[2], x[3], v), pick(x[4], x[5], v), pick(x[6], x[7], v)),
        vec4<f32>(pick(x[8], x[9], v), pick(x[10], x[11], v), pick(x[12], x[13], v), pick(x[14], x[15], v)),
    );
}

fn thick(batch: u32, first: u32, k0: u32, whole: bool) -> Block {
    if SWAP {
        return block_a(batch, first, k0, whole);
    }
    return block_b(batch, first, k0, whole);
}

// Adds the products of one vector with eight outputs' eight k.
fn add_vector(sums: ptr<function, Sums>, w: ptr<function, Block>, v: u32, x: Run) {
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

fn slab(sums: ptr<function, Sums>, batch: u32, first: u32, k0: u32) {
    let whole = k0 + 8u <= params.k;
    var w = thick(batch, first, k0, whole);
    add_vector(sums, &w, 0u, thin(batch, 0u, k0, whole));
    if VECTORS > 1u {
        add_vector(sums, &w, 1u, thin(batch, 1u, k0, whole));
    }
    if VECTORS > 2u {
        add_vector(sums, &w, 2u, thin(batch, 2u, k0, whole));
        add_vector(sums, &w, 3u, thin(batch, 3u, k0, whole));
    }
    if VECTORS > 4u {
        add_vector(sums, &w, 4u, thin(batch, 4u, k0, whole));
        add_vector(sums, &w, 5u, thin(batch, 5u, k0, whole));
        add_vector(sums, &w, 6u, thin(batch, 6u, k0, whole));
        add_vector(sums, &w, 7u, thin(batch, 7u, k0, whole));
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.z;
    // Neighbouring lanes read neighbouring memory: along K where the thick operand is contiguous in k.
    var out = lane % OUT_LANES;
    var part = lane / OUT_LANES;
    if select(B_TRANSPOSED, !A_TRANSPOSED, SWAP) {
        part = lane % K_LANES;
        out = lane / K_LANES;
    }
    let outputs = select(params.n, params.m, SWAP);
    let first = (group.x * OUT_LANES + out) * 8u;
    var sums = Sums();
    if first < outputs {
        for (var k0 = part * 8u; k0 < params.k; k0 += 8u * K_LANES) {
            slab(&sums, batch, first, k0);
        }
    }
    var rows = sums;
    if K_LANES > 1u {
        // A tree of fixed shape: the same bits on every run.
        let place = part * OUT_LANES + out;
        for (var v = 0u; v < VECTORS; v++) {
            shared_lo[place] = rows[2u * v];
            shared_hi[place] = rows[2u * v + 1u];
            for (var stride = K_LANES / 2u; stride > 0u; stride /= 2u) {
                workgroupBarrier();
                if part < stride {
                    shared_lo[place] += shared_lo[place + stride * OUT_LANES];
                    shared_hi[place] += shared_hi[place + stride * OUT_LANES];
                }
            }
            rows[2u * v] = shared_lo[place];
            rows[2u * v + 1u] = shared_hi[place];
            workgroupBarrier();
        }
    }
    if part > 0u {
        return;
    }
    if SWAP {
        for (var i = 0u; i < 8u; i++) {
            let h = i / 4u;
            let j = i % 4u;
            emit(
                batch,
                first + i,
                0u,
                Run(
                    vec4<f32>(rows[h][j], rows[2u + h][j], rows[4u + h][j], rows[6u + h][j]),
                    vec4<f32>(rows[8u + h][j], rows[10u + h][j], rows[12u + h][j], rows[14u + h][j]),
                ),
            );
        }
    } else {
        for (var v = 0u; v < VECTORS; v++) {
            emit(batch, v, first, Run(rows[2u * v], rows[2u * v + 1u]));
        }
    }
}
