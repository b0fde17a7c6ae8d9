// A matrix by a few vectors, sums shared through workgroup memory, or not shared (K_LANES 1).
// Constants: OUT_LANES (lanes along the outputs, eight outputs each), K_LANES (lanes that share one output's sum, a
// power of two; with 1 there is no workgroup memory and no barrier), and those of vec_common.wgsl.

//!use matmul/vec_common.wgsl

const LANES: u32 = OUT_LANES * K_LANES;

var<workgroup> shared_lo: array<vec4<f32>, LANES>;
var<workgroup> shared_hi: array<vec4<f32>, LANES>;

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
    emit_sums(batch, first, rows);
}
