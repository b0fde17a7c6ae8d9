// Cross entropy with one class per row, and the divergence of a teacher's softened distribution from the student's, with
// their gradient for the student's logits, what the kernels share. With z, v the logits of student and teacher, q and p
// the softmax of z / T and of v / T, o that of z:
//     loss = alpha (log s - (z_label - max z)) + soft sum p h(log p - log q), soft = (1 - alpha) T^2, s = sum exp(z - max z)
//     grad = (alpha (o - onehot) + pull (q - p)) * scale, pull = (1 - alpha) T
// A row without a label (UNLABELLED) has no first term; any other label that is no class leaves its row out: loss and
// gradient are +0. h(d) = d + exp(-d) - 1 is never negative, where d alone cancels; sum p h = sum p d, as
// sum p exp(-d) = sum q = 1.
// Constants: GROUP, LOGITS_HALF, TEACHER_HALF, GRAD_HALF, STOCHASTIC, KEEP (also write the gradient before rounding).

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
    teacher_ld: u32,
    grad_ld: u32,
    base_lo: u32, // logical index of the first gradient element
    base_hi: u32,
    stream: u32,
    temperature: f32,
    alpha: f32,
    pull: f32,
    soft: f32,
    scale: f32,
    logits_offset: u32,
    teacher_offset: u32,
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
@group(0) @binding(3) var<storage, read> teacher: array<u32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<storage, read_write> loss: array<u32>;
@group(0) @binding(6) var<storage, read_write> grad: array<u32>;
@group(0) @binding(7) var<storage, read_write> kept: array<u32>;

const UNLABELLED: u32 = 0xfffffffeu;

// Of a row so far: the largest logits of student and teacher, and sums of exponentials.
struct Row {
    top: vec2<f32>,
    plain: f32, // of the student's logits
    sums: vec2<f32>, // of the softened ones
}

fn half(word: u32, col: u32) -> f32 {
    return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u));
}

fn student_logit(row: u32, col: u32) -> f32 {
    let start = params.logits_offset + row * params.logits_ld;
    if LOGITS_HALF {
        return half(logits[start + col / 2u], col);
    }
    return bitcast<f32>(logits[start + col]);
}

// Student and teacher.
fn both_logits(row: u32, col: u32) -> vec2<f32> {
    let start = params.teacher_offset + row * params.teacher_ld;
    var taught: f32;
    if TEACHER_HALF {
        taught = half(teacher[start + col / 2u], col);
    } else {
        taught = bitcast<f32>(teacher[start + col]);
    }
    return vec2<f32>(student_logit(row, col), taught);
}

// The largest of `count` columns and of what was there.
fn highest(row: u32, count: u32, before: vec2<f32>) -> vec2<f32> {
    var top = before;
    for (var col = 0u; col < count; col++) {
        top = max(top, both_logits(row, col));
    }
    return top;
}

// The sums with those of `count` columns more.
fn totals(row: u32, count: u32, before: Row) -> Row {
    var all = before;
    for (var col = 0u; col < count; col++) {
        let below = both_logits(row, col) - all.top;
        all.plain += exp(below.x);
        all.sums += exp(below / params.temperature);
    }
    return all;
}

// p h(d): the series where d is small, p d + (q - p) elsewhere.
fn divergence(q: f32, p: f32, d: f32) -> f32 {
    let series = 0.16666667 - d * (0.041666668 - d * (0.008333334 - d * (0.0013888889 - d * 0.0001984127)));
    let near = p * (d * d * (0.5 - d * series));
    // Where p is 0, d may be infinite.
    let far = select(p * d, 0.0, p == 0.0) + (q - p);
    return select(far, near, abs(d) < 0.25);
}

// Columns first .. end of a row's gradient; `first` is even. Returns the divergence with theirs.
fn differentiate(row: u32, label: u32, first: u32, end: u32, of_row: Row, before: f32) -> f32 {
    let to = params.grad_offset + row * params.grad_ld;
    let labelled = label < params.classes;
    let counts = labelled || label == UNLABELLED;
    let logs = log(of_row.sums);
    var total = before;
    var block = vec4<u32>();
    var word = 0u;
    for (var col = first; col < end; col++) {
        var bits = 0u;
        if counts {
            let below = both_logits(row, col - first) - of_row.top;
            let softened = below / params.temperature;
            let shares = exp(softened) / of_row.sums;
            let difference = (softened.y - logs.y) - (softened.x - logs.x);
            total += divergence(shares.x, shares.y, difference);
            var slope = params.pull * (shares.x - shares.y);
            if labelled {
                let share = exp(below.x) / of_row.plain;
                slope += params.alpha * (share - select(0.0, 1.0, col == label));
            }
            bits = bitcast<u32>(slope * (params.scale * step.loss_scale));
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
    return total;
}

// The row's loss, from its divergence and how far the label's logit is below the top.
fn put_loss(row: u32, label: u32, plain: f32, below: f32, divergence: f32) {
    var bits = 0u;
    if label < params.classes {
        bits = bitcast<u32>(params.alpha * (log(plain) - below) + params.soft * divergence);
    } else if label == UNLABELLED {
        bits = bitcast<u32>(params.soft * divergence);
    }
    loss[params.loss_offset + row] = bits;
}
