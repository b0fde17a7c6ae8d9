// f32 or packed bf16 -> codes of a format in one dispatch: a group encodes 512 columns of one row, which are whole blocks,
// whole words of scales and whole words of codes; each lane eight columns, which lie in one block.
// Constants: SRC_BF16, STOCHASTIC, and those of params.wgsl. src/kernels/encode/gpu.rs counts the turns of its loops.

//!use encode/params.wgsl
//!use $src

const LANES: u32 = 64u;

// The largest magnitude of each lane's columns; then, behind a barrier, the scale of its block.
var<workgroup> largest: array<u32, LANES>;
var<workgroup> bytes: array<u32, LANES>;
// Eight codes of m bits are m bytes: four words of each lane hold them.
var<workgroup> octets: array<u32, 4u * LANES>;

// The f32 bits of eight columns, 0 past the row's end.
fn load(row: u32, col: u32) -> array<u32, 8> {
    let at = row * params.src_ld;
    var lo: vec4<u32>;
    var hi: vec4<u32>;
    if SRC_BF16 {
        let w = src_words(at + col / 2u);
        lo = vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u);
        hi = vec4<u32>(w.z << 16u, w.z & 0xffff0000u, w.w << 16u, w.w & 0xffff0000u);
    } else {
        lo = src_words(at + col);
        hi = src_words(at + col + 4u);
    }
    let four = vec4<u32>(0u, 1u, 2u, 3u) + vec4<u32>(col);
    lo = select(vec4<u32>(), lo, four < vec4<u32>(params.cols));
    hi = select(vec4<u32>(), hi, four + vec4<u32>(4u) < vec4<u32>(params.cols));
    return array<u32, 8>(lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunks = (params.cols + 511u) / 512u;
    let index = linear_group(group, groups);
    let row = index / chunks;
    if row >= params.rows {
        return;
    }
    let chunk = index % chunks;
    let col = chunk * 512u + lane * 8u;
    var u = load(row, col);
    var most = 0u;
    for (var i = 0u; i < 8u; i++) {
        most = max(most, u[i] & 0x7fffffffu);
    }
    largest[lane] = most;
    workgroupBarrier();

    // Blocks are powers of two of lanes, 1 to 16.
    let across = params.block / 8u;
    var byte = common_scale();
    if params.block > 0u {
        let first = lane & ~(across - 1u);
        for (var i = 0u; i < across; i++) {
            most = max(most, largest[first + i]);
        }
        byte = block_scale(most);
    }
    bytes[lane] = byte;

    var draws: EightDraws;
    if STOCHASTIC {
        let local = row * params.cols + col;
        let lo = params.base_lo + local;
        let hi = params.base_hi + select(0u, 1u, lo < local);
        draws = draw_eight(step.seed, lo, hi, params.stream, step.number);
    }
    let d = draws.low;
    let e = draws.high;
    let r = array<u32, 8>(d.x, d.y, d.z, d.w, e.x, e.y, e.z, e.w);
    let m = params.bits;
    let element = element();
    var packed = array<u32, 4>();
    for (var i = 0u; i < 8u; i++) {
        let code = element_encode(u[i], byte, element, params.rounding, r[i]);
        let bit = i * m;
        packed[bit / 32u] |= code << (bit & 31u);
        if (bit & 31u) + m > 32u {
            packed[bit / 32u + 1u] |= code >> (32u - (bit & 31u));
        }
    }
    octets[4u * lane] = packed[0];
    octets[4u * lane + 1u] = packed[1];
    octets[4u * lane + 2u] = packed[2];
    octets[4u * lane + 3u] = packed[3];
    workgroupBarrier();

    if params.block > 0u {
        let scale = chunk * (128u / params.block) + lane;
        if lane < 128u / params.block && scale < params.scales_ld {
            let at = 4u * lane * across;
            scales[params.scales_offset + row * params.scales_ld + scale] = bytes[at]
                | (bytes[at + across] << 8u)
                | (bytes[at + 2u * across] << 16u)
                | (bytes[at + 3u * across] << 24u);
        }
    }
    for (var i = lane; i < 16u * m; i += LANES) {
        let to = chunk * 16u * m + i;
        if to < params.codes_ld {
            codes[params.codes_offset + row * params.codes_ld + to] = code_byte(4u * i)
                | (code_byte(4u * i + 1u) << 8u)
                | (code_byte(4u * i + 2u) << 16u)
                | (code_byte(4u * i + 3u) << 24u);
        }
    }
}

// Byte i of the group's codes.
fn code_byte(i: u32) -> u32 {
    let octet = i / params.bits;
    let byte = i % params.bits;
    return (octets[4u * octet + byte / 4u] >> (8u * (byte & 3u))) & 0xffu;
}
