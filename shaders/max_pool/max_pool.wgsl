// The largest number of every window of an image (`forward`), and the gradient back to where it stood (`backward`), f32
// or packed bf16, one word of the output per invocation. Everything is u32: numbers are copied, never computed.
// Constants: GROUP, X_HALVES (packed bf16 images), HALVES (packed bf16 results, and dy).

//!use lib/index.wgsl

struct Params {
    images: u32,
    channels: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    window_height: u32,
    window_width: u32,
    stride_height: u32,
    stride_width: u32,
    x_ld: u32, // words from one pixel to the next
    dx_ld: u32,
    y_ld: u32, // words from one image of outputs to the next
    x_offset: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> src: array<u32>; // dy
@group(0) @binding(3) var<storage, read_write> dst: array<u32>; // y, or dx

// The bits of an f32, or those of a bf16 in the upper half.
fn pixel(row: u32, channel: u32) -> u32 {
    if X_HALVES {
        let word = x[params.x_offset + row * params.x_ld + channel / 2u];
        return select(word << 16u, word & 0xffff0000u, channel % 2u == 1u);
    }
    return x[params.x_offset + row * params.x_ld + channel];
}

// Ordered as the numbers are: zeros are equal, and a NaN is above all. No number has 0.
fn order(u: u32) -> u32 {
    let magnitude = u & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return 0xffffffffu;
    }
    if magnitude == 0u {
        return 0x80000000u;
    }
    return select(u | 0x80000000u, ~u, u >= 0x80000000u);
}

// A number and its pixel.
struct Largest {
    bits: u32,
    row: u32,
}

// The first of the largest numbers of a window.
fn largest(image: u32, window: vec2<u32>, channel: u32) -> Largest {
    var found = Largest(0u, 0u);
    var best = 0u;
    let top = image * params.height + window.y * params.stride_height;
    for (var i = 0u; i < params.window_height; i++) {
        let left = (top + i) * params.width + window.x * params.stride_width;
        for (var j = 0u; j < params.window_width; j++) {
            let bits = pixel(left + j, channel);
            let key = order(bits);
            if key > best {
                best = key;
                found = Largest(bits, left + j);
            }
        }
    }
    return found;
}

// Output `at` of an image, by window and channel.
fn output(image: u32, at: u32) -> u32 {
    let window = at / params.channels;
    let place = vec2<u32>(window % params.out_width, window / params.out_width);
    return largest(image, place, at % params.channels).bits;
}

// What reaches a channel of a pixel.
fn reached(row: u32, channel: u32) -> u32 {
    let image = row / (params.height * params.width);
    let at = row % (params.height * params.width);
    let place = vec2<u32>(at % params.width, at / params.width);
    let window = place / vec2<u32>(params.stride_width, params.stride_height);
    // Right of the last window, or below it. Where no window covers a pixel, it is none's largest.
    if any(window >= vec2<u32>(params.out_width, params.out_height)) {
        return 0u;
    }
    if largest(image, window, channel).row != row {
        return 0u;
    }
    let element = (window.y * params.out_width + window.x) * params.channels + channel;
    if HALVES {
        let word = src[params.src_offset + image * params.y_ld + element / 2u];
        return select(word << 16u, word & 0xffff0000u, element % 2u == 1u);
    }
    return src[params.src_offset + image * params.y_ld + element];
}

@compute @workgroup_size(GROUP)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let outputs = params.out_height * params.out_width * params.channels;
    let words = select(outputs, (outputs + 1u) / 2u, HALVES);
    let image = unit / words;
    if image >= params.images {
        return;
    }
    let word = unit % words;
    var bits: u32;
    if HALVES {
        bits = output(image, 2u * word) >> 16u;
        if 2u * word + 1u < outputs {
            bits |= output(image, 2u * word + 1u);
        }
    } else {
        bits = output(image, word);
    }
    dst[params.dst_offset + image * params.y_ld + word] = bits;
}

@compute @workgroup_size(GROUP)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let words = select(params.channels, (params.channels + 1u) / 2u, HALVES);
    let row = unit / words;
    if row >= params.images * params.height * params.width {
        return;
    }
    let word = unit % words;
    var bits: u32;
    if HALVES {
        bits = reached(row, 2u * word) >> 16u;
        if 2u * word + 1u < params.channels {
            bits |= reached(row, 2u * word + 1u);
        }
    } else {
        bits = reached(row, word);
    }
    dst[params.dst_offset + row * params.dx_ld + word] = bits;
}
