// Cross entropy of softmax(logits) with one class per row, and its gradient, what the kernels share:
//     m = max z, s = sum exp(z - m), loss = log s - (z_label - m), grad = (exp(z - m) / s - onehot) * scale
// A label that is no class leaves its row out: loss and gradient are +0.
// Constants: GROUP, LOGITS_HALF, GRAD_HALF, STOCHASTIC, KEEP (also write the gradient before rounding).

//!use lib/index.wgsl
//!use lib/bf16.wgsl
//!use lib/random.wgsl

struct Step {
    seed: vec2<u32>,
    number: u32,
    loss_scale: f32, // a power of two
}

struct Params {
    rows: u32,
    classes: u32,
    logits_ld: u32, // words from one row to the next
    grad_ld: u32,
    base_lo: u32, // logical index of the first gradient element
    base_hi: u32,
    stream: u32,
    scale: f32,
    logits_offset: u32,
    labels_offset: u32,
    loss_offset: u32,
    grad_offset: u32,
    kept_offset: u32,
    first: u32, // classes of this dispatch, where they are cut: the windows of logits, grad and kept begin at `first`
    end: u32,
    partial_offset: u32, // 0 where rows are whole
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> loss: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad: array<u32>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;

fn logit(at: u32, col: u32) -> f32 {
    if LOGITS_HALF {
        let word = logits[at + col / 2u];
        return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u));
    }
    return bitcast<f32>(logits[at + col]);
}

// Columns first .. end of a row's gradient; `first` is even.
fn differentiate(row: u32, label: u32, first: u32, end: u32, top: f32, sum: f32) {
    let start = params.logits_offset + row * params.logits_ld;
    let to = params.grad_offset + row * params.grad_ld;
    let counts = label < params.classes;
    var block = vec4<u32>();
    var word = 0u;
    for (var col = first; col < end; col++) {
        var bits = 0u;
        if counts {
            let p = exp(logit(start, col - first) - top) / sum;
            bits = bitcast<u32>((p - select(0.0, 1.0, col == label)) * (params.scale * step.loss_scale));
        }
        let local = row * params.classes + col;
        if KEEP {
            kept[params.kept_offset + local - first] = bits;
        }
        if !GRAD_HALF {
            grad[to + col - first] = bits;
            continue;
        }
        var code: u32;
        if STOCHASTIC {
            let lo = params.base_lo + local;
            let hi = params.base_hi + select(0u, 1u, lo < local);
            if col == first || (lo & 7u) == 0u {
                block = random_block(step.seed, draw_counter(lo, hi, params.stream, step.number));
            }
            code = bf16_round_stochastic(bits, half_word(block, lo & 7u));
        } else {
            code = bf16_round_nearest(bits);
        }
        if (col & 1u) == 0u {
            word = code;
            if col + 1u == end {
                grad[to + (col - first) / 2u] = word;
            }
        } else {
            grad[to + (col - first) / 2u] = word | (code << 16u);
        }
    }
}
