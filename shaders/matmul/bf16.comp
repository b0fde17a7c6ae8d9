// The sums of a product of two bf16 operands on bf16 matrix units with f32 sums (VK_KHR_shader_bfloat16): one part
// of K for TILE by TILE outputs per group of eight subgroups, each four by two of the unit's matrices, into f32
// partial sums. reduce.wgsl adds the parts and does what `emit` of common.wgsl does.
//
// The one kernel that is not WGSL, which has no bf16: GLSL, compiled beforehand by scripts/spirv.sh, which also says
// how it is checked. STAND_IN compiles it for f16 operands and the units of Mesa's software driver, which has no bf16:
// everything but the name of a type is tested there. The host sets A_TRANSPOSED (stored [K, M]) and B_TRANSPOSED
// (stored [N, K]) in the compiled words.
//
// WHY IT IS WITHIN THE BOUND. Products of bf16 are exact in f32 but for those below 2^-126, which may be flushed or
// lose bits (the contract's term F: 2^-124 each), and operands below 2^-126, which a unit may take for zero (F
// again). Of the unit's additions the same is assumed as in coop.wgsl, whose argument with L = 0 outliers
// gives at most 2 K roundings by u; a part of K that is split off starts at zero like the first, and adding it is
// one rounding more for at least one step less: 2 K + 4 holds with alpha, C and bias. No sum on the way passes
// (1 + gamma) sum |a b|, and where that passes the largest f32 the contract does not compare.
// NaN and Inf reach the outputs of their own row or column, whose sums have them. Zeros stand for what is past the
// edges, on both sides of each product past K.
//
// What WGSL would check is argued here: every read of `a` and `b` is of a run of eight elements that begins before
// M, N or K, and operands are backed up to whole runs (kernels/matmul/mod.rs); every write is to row < m, column < n of a
// part that exists. Work past the edges happens in workgroup memory, at indices below its sizes.

#version 460
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require

#ifdef STAND_IN
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define SCALAR float16_t
#define DECODE(code) unpackHalf2x16(code).x
const uint UNIT = 8; // rows, columns and depth of a matrix
const uint SUBGROUP = 8; // lanes that hold it
#else
#extension GL_EXT_bfloat16 : require
#define SCALAR bfloat16_t
#define DECODE(code) uintBitsToFloat((code) << 16)
const uint UNIT = 16;
const uint SUBGROUP = 32;
#endif

layout(constant_id = 0) const bool A_TRANSPOSED = false;
layout(constant_id = 1) const bool B_TRANSPOSED = false;

const uint SUBGROUPS = 8;
const uint LANES = SUBGROUPS * SUBGROUP;
const uint TILE = 8 * UNIT;
const uint TILE_K = 32;
const uint RUNS = TILE * TILE_K / 8; // runs of eight in one operand's slab
const uint EACH = RUNS / LANES; // of which one lane loads this many
const uint FIRST = 32;

layout(local_size_x = LANES) in;

// Params of common.wgsl.
layout(set = 0, binding = 0, std140) uniform Params {
    uint m; // rows, columns and products of this dispatch
    uint n;
    uint k;
    uint a_ld; // words from one stored row to the next
    uint b_ld;
    uint c_ld;
    uint a_batch; // words from one batch to the next
    uint b_batch;
    uint c_batch;
    uint alpha;
    uint beta;
    uint flags;
    uint base_lo;
    uint base_hi;
    uint index_row;
    uint index_batch;
    uint stream;
    uint a_offset; // in elements of the bindings
    uint b_offset;
    uint c_offset;
    uint bias_offset;
    uint partial_offset;
    uint splits; // parts of K that different groups sum
    uint split_k; // k of each part
} params;
layout(set = 0, binding = 2, std430) readonly buffer A { uvec4 words[]; } a;
layout(set = 0, binding = 3, std430) readonly buffer B { uvec4 words[]; } b;
layout(set = 0, binding = 6, std430) buffer Partials { float sums[]; } partials;

// Slabs in the operands' own order: rows of TILE_K elements along K, or of TILE for one k, each padded by 16 bytes,
// which spreads rows over the banks.
const uint ALONG_K = (TILE_K + 8) / 8; // vectors from row to row
const uint ALONG_TILE = (TILE + 8) / 8;
const uint A_PITCH = A_TRANSPOSED ? ALONG_TILE : ALONG_K;
const uint B_PITCH = B_TRANSPOSED ? ALONG_K : ALONG_TILE;
shared uvec4 slab_a[TILE * ALONG_K]; // the longer of the two orders
shared uvec4 slab_b[TILE * ALONG_K];
shared float sums_out[SUBGROUPS * UNIT * UNIT];

// Run `run` of a slab, zero past the edges. Eight elements lie side by side along `inner`, of which `inner_end` are.
uvec4 cut(uvec4 w, uint inner, uint inner_end) {
    if (inner + 8 <= inner_end) {
        return w;
    }
    const uvec4 i = uvec4(inner) + uvec4(0, 2, 4, 6);
    return (w & uvec4(0xffff) & -uvec4(lessThan(i, uvec4(inner_end)))) |
           (w & uvec4(0xffff0000) & -uvec4(lessThan(i + 1, uvec4(inner_end))));
}

uvec4 fetch_a(uint run, uint batch, uint first, uint k0, uint end) {
    uint inner, inner_end, row, row_end;
    if (A_TRANSPOSED) {
        inner = first + run % UNIT * 8;
        inner_end = params.m;
        row = k0 + run / UNIT;
        row_end = end;
    } else {
        inner = k0 + run % (TILE_K / 8) * 8;
        inner_end = end;
        row = first + run / (TILE_K / 8);
        row_end = params.m;
    }
    if (row >= row_end || inner >= inner_end) {
        return uvec4(0);
    }
    const uint word = batch * params.a_batch + row * params.a_ld + inner / 2;
    return cut(a.words[params.a_offset + word / 4], inner, inner_end);
}

uvec4 fetch_b(uint run, uint batch, uint first, uint k0, uint end) {
    uint inner, inner_end, row, row_end;
    if (!B_TRANSPOSED) {
        inner = first + run % UNIT * 8;
        inner_end = params.n;
        row = k0 + run / UNIT;
        row_end = end;
    } else {
        inner = k0 + run % (TILE_K / 8) * 8;
        inner_end = end;
        row = first + run / (TILE_K / 8);
        row_end = params.n;
    }
    if (row >= row_end || inner >= inner_end) {
        return uvec4(0);
    }
    const uint word = batch * params.b_batch + row * params.b_ld + inner / 2;
    return cut(b.words[params.b_offset + word / 4], inner, inner_end);
}

// Where a run lies in its slab.
uint place(uint run, bool along_tile) {
    return along_tile ? run / UNIT * ALONG_TILE + run % UNIT : run / (TILE_K / 8) * ALONG_K + run % (TILE_K / 8);
}

// For a group that the driver cut some other way than it announced, where no matrix would be whole.
float element(uvec4 run, uint t) {
    const uint word = run[t / 2];
    return DECODE((t & 1) == 0 ? word & 0xffff : word >> 16);
}

float plain(uint batch, uint i, uint j, uint begin, uint end) {
    float sum = 0;
    for (uint k = begin; k < end; k++) {
        const uint at_a = A_TRANSPOSED ? batch * params.a_batch + k * params.a_ld + i / 2
                                       : batch * params.a_batch + i * params.a_ld + k / 2;
        const uint at_b = B_TRANSPOSED ? batch * params.b_batch + j * params.b_ld + k / 2
                                       : batch * params.b_batch + k * params.b_ld + j / 2;
        sum += element(a.words[params.a_offset + at_a / 4], at_a % 4 * 2 + ((A_TRANSPOSED ? i : k) & 1)) *
               element(b.words[params.b_offset + at_b / 4], at_b % 4 * 2 + ((B_TRANSPOSED ? k : j) & 1));
    }
    return sum;
}

// Every group of rows and columns in bands of eight, as in tiled.wgsl: neighbours in time share operands.
uvec2 swizzled(uvec2 group, uvec2 groups) {
    const uint BAND = 8;
    const uint index = group.y * groups.x + group.x;
    const uint band = index / (BAND * groups.y);
    const uint height = min(BAND, groups.x - band * BAND);
    const uint inside = index - band * BAND * groups.y;
    return uvec2(band * BAND + inside % height, inside / height);
}

void put(uint at, float sum) {
    if ((params.flags & FIRST) == 0) {
        sum += partials.sums[at];
    }
    partials.sums[at] = sum;
}

void main() {
    const uint lane = gl_LocalInvocationIndex;
    const uint part = gl_WorkGroupID.z;
    const uint batch = part / params.splits;
    const uint begin = part % params.splits * params.split_k;
    const uint end = min(params.k, begin + params.split_k);
    const uvec2 tile = swizzled(gl_WorkGroupID.xy, gl_NumWorkGroups.xy);
    const uint row = tile.x * TILE;
    const uint col = tile.y * TILE;
    const uint to = params.partial_offset + part * params.m * params.n;

    if (gl_NumSubgroups != SUBGROUPS || gl_SubgroupSize != SUBGROUP) {
        for (uint at = lane; at < TILE * TILE; at += LANES) {
            const uint i = row + at / TILE;
            const uint j = col + at % TILE;
            if (i < params.m && j < params.n) {
                put(to + i * params.n + j, plain(batch, i, j, begin, end));
            }
        }
        return;
    }

    coopmat<float, gl_ScopeSubgroup, UNIT, UNIT, gl_MatrixUseAccumulator> sums[4][2];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        [[unroll]] for (uint j = 0; j < 2; j++) {
            sums[i][j] = coopmat<float, gl_ScopeSubgroup, UNIT, UNIT, gl_MatrixUseAccumulator>(0.0);
        }
    }
    // Within the tile, this subgroup's first row and column.
    const uint at_row = gl_SubgroupID / 4 * 4 * UNIT;
    const uint at_col = gl_SubgroupID % 4 * 2 * UNIT;

    // The next slab is on its way while one is multiplied.
    uvec4 coming_a[EACH];
    uvec4 coming_b[EACH];
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        coming_a[i] = fetch_a(lane + i * LANES, batch, row, begin, end);
        coming_b[i] = fetch_b(lane + i * LANES, batch, col, begin, end);
    }
    for (uint k0 = begin; k0 < end; k0 += TILE_K) {
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            slab_a[place(lane + i * LANES, A_TRANSPOSED)] = coming_a[i];
            slab_b[place(lane + i * LANES, !B_TRANSPOSED)] = coming_b[i];
        }
        barrier();
        if (k0 + TILE_K < end) {
            [[unroll]] for (uint i = 0; i < EACH; i++) {
                coming_a[i] = fetch_a(lane + i * LANES, batch, row, k0 + TILE_K, end);
                coming_b[i] = fetch_b(lane + i * LANES, batch, col, k0 + TILE_K, end);
            }
        }
        [[unroll]] for (uint k = 0; k < TILE_K; k += UNIT) {
            coopmat<SCALAR, gl_ScopeSubgroup, UNIT, UNIT, gl_MatrixUseA> ma[4];
            coopmat<SCALAR, gl_ScopeSubgroup, UNIT, UNIT, gl_MatrixUseB> mb[2];
            [[unroll]] for (uint i = 0; i < 4; i++) {
                const uint tall = at_row + i * UNIT;
                if (A_TRANSPOSED) {
                    coopMatLoad(ma[i], slab_a, k * A_PITCH + tall / 8, A_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                } else {
                    coopMatLoad(ma[i], slab_a, tall * A_PITCH + k / 8, A_PITCH, gl_CooperativeMatrixLayoutRowMajor);
                }
            }
            [[unroll]] for (uint j = 0; j < 2; j++) {
                const uint wide = at_col + j * UNIT;
                if (B_TRANSPOSED) {
                    coopMatLoad(mb[j], slab_b, wide * B_PITCH + k / 8, B_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                } else {
                    coopMatLoad(mb[j], slab_b, k * B_PITCH + wide / 8, B_PITCH, gl_CooperativeMatrixLayoutRowMajor);
                }
            }
            [[unroll]] for (uint i = 0; i < 4; i++) {
                [[unroll]] for (uint j = 0; j < 2; j++) {
                    sums[i][j] = coopMatMulAdd(ma[i], mb[j], sums[i][j]);
                }
            }
        }
        barrier();
    }

    const bool direct = (params.flags & FIRST) != 0 && row + TILE <= params.m && col + TILE <= params.n;
    const uint stage = gl_SubgroupID * UNIT * UNIT;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        [[unroll]] for (uint j = 0; j < 2; j++) {
            const uint first_row = row + at_row + i * UNIT;
            const uint first_col = col + at_col + j * UNIT;
            if (direct) {
                const uint at = to + first_row * params.n + first_col;
                coopMatStore(sums[i][j], partials.sums, at, params.n, gl_CooperativeMatrixLayoutRowMajor);
            } else {
                coopMatStore(sums[i][j], sums_out, stage, UNIT, gl_CooperativeMatrixLayoutRowMajor);
                barrier();
                for (uint at = gl_SubgroupInvocationID; at < UNIT * UNIT; at += SUBGROUP) {
                    const uint r = first_row + at / UNIT;
                    const uint c = first_col + at % UNIT;
                    if (r < params.m && c < params.n) {
                        put(to + r * params.n + c, sums_out[stage + at]);
                    }
                }
                barrier();
            }
        }
    }
}
