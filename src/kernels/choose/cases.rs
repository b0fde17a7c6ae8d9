use super::Choose;
use crate::gpu::StepValues;
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for (pairs, layer, effort) in [
        (0, 0, Effort::Quick),
        (1, 0, Effort::Quick),
        (64, 3, Effort::Quick),
        (65, 1, Effort::Quick),
        // Two turns of a loop, and sums past 32 bits.
        (300, 0, Effort::Quick),
        (1500, 2, Effort::Quick),
        (1 << 20, 0, Effort::Full),
    ] {
        let all = [
            (0, Values::Alike, 0.55, 0.125),
            (1, Values::Apart, 1.0, 0.3),
            (2, Values::Apart, 0.3, 0.45),
            (1, Values::Equal, 0.75, 0.25),
            (2, Values::Equal, 0.75, 0.250_016),
            (0, Values::Last(0x7fc0_0000), -1.0, 0.0),
            (1, Values::Last(0x7f80_0000), 0.1, 0.0),
            (0, Values::Last(0), 0.0, 0.0),
            (2, Values::Last(1), 0.0, 0.0),
            (0, Values::Last(0), -0.5, 0.0),
            (1, Values::Apart, 1e9, -8192.0),
            (1, Values::Apart, f32::NEG_INFINITY, 0.0),
            (0, Values::Both([0.0, 1.0]), -0.5, 0.0),
            (1, Values::Both([1000.0, 1.0]), 5000.0, 0.0),
            (2, Values::Both([10_000.0, 1.0]), 1e9, 0.0),
            // Too small to count, and just not.
            (0, Values::Below(1.0), 0.5, 0.0),
            (1, Values::Below(16_384.0), 0.5, 0.0),
            // A quarter of a step of the threshold below it.
            (0, Values::Equal, 0.5 - 1.0 / 262_144.0, 0.0),
        ];
        // A few of nothing and of very many.
        let each = if (1..2000).contains(&pairs) { 1 } else { 5 };
        for (place, values, threshold, lower) in all.into_iter().step_by(each) {
            let step = StepValues::new(0, 1000).with(Choose::THRESHOLD, threshold);
            let op = Choose {
                lower: lower.into(),
                step,
                ..Choose::new(pairs, layer, place)
            };
            cases.push(case(effort, op, values));
        }
    }
    cases
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Of one magnitude, the first of a pair about half the other: near a threshold.
    Alike,
    /// Far apart, subnormals among them.
    Apart,
    /// Twice a number and four times it, as whole numbers: on the threshold, or a step of it below.
    Equal,
    /// These throughout.
    Both([f32; 2]),
    /// A pair on the threshold of a half, and below it pairs of this and nothing.
    Below(f32),
    /// Zeros, and these bits in the last pair alone.
    Last(u32),
}

fn case(effort: Effort, op: Choose, values: Values) -> Case {
    let shape = op.clone();
    Case::new(effort, shape, move || {
        let mut source = Source::new((op.pairs * 7 + op.layer) as u64);
        let mut sums = Vec::with_capacity(2 * op.pairs);
        for pair in 0..op.pairs {
            let size = match values {
                Values::Alike => 1.0,
                _ => 2f32.powi(source.below(60) as i32 - 30),
            };
            let mut next = || (source.unit() + 1.0) * size;
            sums.extend(match values {
                Values::Alike => [0.5 * next(), next()].map(f32::to_bits),
                Values::Apart => [next(), next()].map(|value| match pair % 5 {
                    4 => value.to_bits() & 0x003f_ffff,
                    _ => value.to_bits(),
                }),
                Values::Equal => {
                    let whole = (next() * 64.0).round().min(1e6);
                    [whole, 2.0 * whole].map(f32::to_bits)
                }
                Values::Below(_) if pair == 0 => [2f32.powi(33), 2f32.powi(34)].map(f32::to_bits),
                Values::Below(small) => [small.to_bits(), 0],
                Values::Both(both) => both.map(f32::to_bits),
                Values::Last(bits) if pair + 1 == op.pairs => [bits, 2 * (bits & 1)],
                Values::Last(_) => [0, 0],
            });
        }
        let mut state: Vec<u32> = (0..=op.layer)
            .flat_map(|layer| (0..Choose::STATE as u32).map(move |word| 100 * layer as u32 + word))
            .collect();
        state[op.layer * Choose::STATE] = source.below(8);
        vec![sums, state]
    })
}

/// What is measured at size `n`: as many rows of what was measured.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    vec![Case::timed(Choose::new(n, 0, 0), &[Fill::F32, Fill::Labels(8)]).into()]
}
