// What a window holds of an image at every place (`forward`), and the sum over all places of what became of a pixel
// (`backward`), f32 or packed bf16, one word of the output per invocation. Patches are bits that are copied.
// Constants: GROUP, HALVES (packed bf16).

//!use lib/index.wgsl
//!use lib/bf16.wgsl

struct Params {
    images: u32,
    channels: u32,
    height: u32,
    width: u32,
    out_height: u32, // places of the window
    out_width: u32,
    window_height: u32,
    window_width: u32,
    stride_height: u32,
    stride_width: u32,
    pad_height: u32,
    pad_width: u32,
    pixel_ld: u32, // elements from one pixel of x to the next
    src_ld: u32, // words: from one image of x, or from one row of dy, to the next
    dst_ld: u32, // words: from one row of y, or of dx, to the next
    lines: u32, // rows of places, or of pixels, of every image; all of them where there are several images
    first_line: u32,
    first_read: u32, // the first row of dy of the image, of those that are bound
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>; // x, or dy
@group(0) @binding(2) var<storage, read_write> dst: array<u32>; // y, or dx

// The bits of an element of `src`: its `at`th from row `row` on.
fn element(row: u32, at: u32) -> u32 {
    let first = params.src_offset + row * params.src_ld;
    if HALVES {
        return bf16_half(src[first + at / 2u], at);
    }
    return src[first + at];
}

// Number `col` of a patch. Above the image and left of it the pixel wraps past its end.
fn held(image: u32, place: vec2<u32>, col: u32) -> u32 {
    let inside = col / params.channels;
    let pixel = place * vec2<u32>(params.stride_width, params.stride_height)
        + vec2<u32>(inside % params.window_width, inside / params.window_width)
        - vec2<u32>(params.pad_width, params.pad_height);
    if any(pixel >= vec2<u32>(params.width, params.height)) {
        return 0u;
    }
    return element(image, (pixel.y * params.width + pixel.x) * params.pixel_ld + col % params.channels);
}

@compute @workgroup_size(GROUP)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = linear_group(group, groups) * GROUP + lane;
    let cols = params.window_height * params.window_width * params.channels;
    let words = select(cols, (cols + 1u) / 2u, HALVES);
    let row = unit / words;
    let image = row / (params.lines * params.out_width);
    if image >= params.images {
        return;
    }
    let at = row % (params.lines * params.out_width);
    let place = vec2<u32>(at % params.out_width, params.first_line + at / params.out_width);
    let word = unit % words;
    var bits: u32;
    if HALVES {
        bits = held(image, place, 2u * word);
        if 2u * word + 1u < cols {
            bits |= held(image, place, 2u * word + 1u) << 16u;
        }
    } else {
        bits = held(image, place, word);
    }
    dst[params.dst_offset + row * params.dst_ld + word] = bits;
}

// The first place whose window reaches this far into the padded image, along one side.
fn first_place(at: u32, window: u32, stride: u32) -> u32 {
    if at < window {
        return 0u;
    }
    return (at - window) / stride + 1u;
}

// The sums of a channel of a pixel and, where `two`, of the next one, by place row by row.
fn reached(image: u32, pixel: vec2<u32>, channel: u32, two: bool) -> vec2<f32> {
    let at = pixel + vec2<u32>(params.pad_width, params.pad_height);
    let first = vec2<u32>(
        first_place(at.x, params.window_width, params.stride_width),
        first_place(at.y, params.window_height, params.stride_height),
    );
    let last = min(
        at / vec2<u32>(params.stride_width, params.stride_height),
        vec2<u32>(params.out_width, params.out_height) - 1u,
    );
    var sum = vec2<f32>();
    for (var y = first.y; y <= last.y; y++) {
        let above = (at.y - y * params.stride_height) * params.window_width;
        for (var x = first.x; x <= last.x; x++) {
            let row = (image * params.out_height + y) * params.out_width + x - params.first_read;
            let col = (above + at.x - x * params.stride_width) * params.channels + channel;
            sum.x += value(row, col);
            if two {
                sum.y += value(row, col + 1u);
            }
        }
    }
    return sum;
}

fn value(row: u32, col: u32) -> f32 {
    let bits = element(row, col);
    return bitcast<f32>(select(bits, bits << 16u, HALVES));
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
    let image = row / (params.lines * params.width);
    if image >= params.images {
        return;
    }
    let at = row % (params.lines * params.width);
    let pixel = vec2<u32>(at % params.width, params.first_line + at / params.width);
    let word = unit % words;
    var bits: u32;
    if HALVES {
        let two = 2u * word + 1u < params.channels;
        let sums = bitcast<vec2<u32>>(reached(image, pixel, 2u * word, two));
        bits = bf16_round_nearest(sums.x);
        if two {
            bits |= bf16_round_nearest(sums.y) << 16u;
        }
    } else {
        bits = bitcast<vec2<u32>>(reached(image, pixel, word, false)).x;
    }
    dst[params.dst_offset + row * params.dst_ld + word] = bits;
}
