// dst[c, r] = src[r, c] on bits, f32 or packed bf16, in blocks: one f32, or two by two bf16, which are one word of each of
// two rows of `src` and of `dst`. `tiled` turns tiles of blocks in workgroup memory, so that neighbouring invocations
// read and write neighbouring words; `direct` needs no barrier.
// Constants: TILE (blocks along one side of a tile), LINES (those a group copies at a time), SIDE (blocks along one side
// of a group of `direct`), BLOCK (rows and columns of a block: 2 for packed bf16).

//!use lib/index.wgsl
//!use lib/bf16.wgsl

struct Params {
    rows: u32, // of src
    cols: u32,
    src_ld: u32, // words from one row to the next
    dst_ld: u32,
    across: u32, // groups along a row of src
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;

const HALVES: bool = BLOCK == 2u;
const PITCH: u32 = TILE + 1u; // a column of a tile then lies in as many banks as a row
const PLANE: u32 = TILE * PITCH;

// The words of a tile by their column and row in `src`: those of the first row of `dst` of every block, then, of bf16,
// those of the second.
var<workgroup> tile: array<u32, BLOCK * PLANE>;

// The words that a block is in `dst`; nothing of outside the matrix.
fn turned(row: u32, col: u32) -> vec2<u32> {
    if row * BLOCK >= params.rows || col * BLOCK >= params.cols {
        return vec2<u32>();
    }
    let at = params.src_offset + row * BLOCK * params.src_ld + col;
    let first = src[at];
    if !HALVES {
        return vec2<u32>(first, 0u);
    }
    // Beside the last number of an odd count of rows there is a zero.
    var second = 0u;
    if row * BLOCK + 1u < params.rows {
        second = src[at + params.src_ld];
    }
    return vec2<u32>(bf16_pack(first, second), bf16_pack(first >> 16u, second >> 16u));
}

fn put(row: u32, col: u32, words: vec2<u32>) {
    if row * BLOCK >= params.rows || col * BLOCK >= params.cols {
        return;
    }
    let at = params.dst_offset + col * BLOCK * params.dst_ld + row;
    dst[at] = words.x;
    if HALVES && col * BLOCK + 1u < params.cols {
        dst[at + params.dst_ld] = words.y;
    }
}

@compute @workgroup_size(TILE, LINES)
fn tiled(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let number = linear_group(group, groups);
    let top = number / params.across * TILE;
    let left = number % params.across * TILE;
    for (var line = lane.y; line < TILE; line += LINES) {
        let words = turned(top + line, left + lane.x);
        let at = lane.x * PITCH + line;
        tile[at] = words.x;
        if HALVES {
            tile[PLANE + at] = words.y;
        }
    }
    workgroupBarrier();
    for (var line = lane.y; line < TILE; line += LINES) {
        let at = line * PITCH + lane.x;
        var words = vec2<u32>(tile[at], 0u);
        if HALVES {
            words.y = tile[PLANE + at];
        }
        put(top + lane.x, left + line, words);
    }
}

@compute @workgroup_size(SIDE, SIDE)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let number = linear_group(group, groups);
    let row = number / params.across * SIDE + lane.x;
    let col = number % params.across * SIDE + lane.y;
    put(row, col, turned(row, col));
}
