use super::Decide;
use crate::gpu::StepValues;
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill};
use crate::tensor::DType;

/// What is not finite.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Nothing,
    /// The last parameter, counted so often.
    Last(u32),
    /// Two, of different layers where there are some.
    Some,
    /// The first parameter alone.
    First,
    /// An infinite sum of finite numbers.
    Sum,
}

/// Exponent, clean steps, taken, and the step that failed.
type State = [u32; 4];

const GROWTH: u32 = 5;
/// Steps taken after which powers are near 1.
const LATE: u32 = 2000;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    use Broken::{First, Last, Nothing, Sum};
    let exponent = |exponent: i32| exponent.cast_unsigned();
    let mut cases = Vec::new();
    for (parameters, per_layer, effort) in [
        (0, 2, Effort::Quick),
        (7, 2, Effort::Quick),
        // Two turns of the loop over layers.
        (200, 3, Effort::Quick),
        (1 << 20, 2, Effort::Full),
    ] {
        let plain = Decide {
            step: StepValues::new(0, 77),
            ..Decide::new(parameters, per_layer, DType::F32)
        };
        let clipped = |clip: f32| Decide {
            clip: Some(clip.into()),
            ..plain.clone()
        };
        let scaled = |op: Decide| Decide {
            growth: Some(GROWTH),
            ..op
        };
        let corrected = |op: Decide, betas: [f32; 2]| Decide {
            betas: Some(betas.map(Into::into)),
            ..op
        };
        let wide = Decide {
            sums: DType::F64,
            ..corrected(scaled(clipped(0.01)), [0.9, 0.999])
        };
        let start = [0, 0, 0, 0];
        let all = [
            (plain.clone(), start, Nothing),
            (plain.clone(), start, Last(3)),
            (clipped(0.01), start, Nothing),
            (clipped(1e6), start, Nothing),
            (clipped(0.01), start, Sum),
            (clipped(0.01), [0, 0, 9, 0], Broken::Some),
            (clipped(0.01), [0, 0, 9, 5], Nothing),
            (scaled(plain.clone()), [16, 3, 9, 0], Nothing),
            (scaled(clipped(0.001)), [16, 4, 9, 0], Nothing),
            (scaled(clipped(0.001)), [exponent(-14), GROWTH, 9, 0], Nothing),
            (scaled(plain.clone()), [126, 4, 9, 0], Nothing),
            (scaled(plain.clone()), [16, 4, 9, 0], Broken::Some),
            (scaled(plain.clone()), [exponent(-13), 4, 9, 0], Last(1)),
            (scaled(plain.clone()), [exponent(-14), 4, 9, 0], Last(1)),
            (scaled(plain.clone()), [16, 4, 9, 33], Last(1)),
            (corrected(plain.clone(), [0.9, 0.999]), start, Nothing),
            (corrected(plain.clone(), [0.9, 0.999]), [0, 0, 1, 0], Nothing),
            (
                corrected(plain.clone(), [0.0, 0.999_999_94]),
                [0, 0, 1, 0],
                Nothing,
            ),
            (
                corrected(scaled(clipped(0.01)), [0.5, 0.25]),
                [3, 1, 2, 0],
                Nothing,
            ),
            (corrected(plain.clone(), [0.9, 0.999]), [0, 0, 4, 0], Last(1)),
            // Small betas have low words too.
            (corrected(plain.clone(), [1e-6, 3e-9]), [0, 0, 1, 0], Nothing),
            (corrected(plain.clone(), [7e-8, 2e-6]), [0, 0, 3, 0], Nothing),
            (
                corrected(plain.clone(), [0.999_999, 0.999_99]),
                [0, 0, LATE, 0],
                Nothing,
            ),
            (scaled(clipped(1.0)), [16, 1, 9, 0], First),
            (wide.clone(), [10, 1, 2, 0], Nothing),
            (wide, [10, 1, 2, 0], Broken::Some),
        ];
        // A few of nothing and of very many.
        let each = if (2..1000).contains(&parameters) { 1 } else { 6 };
        let chosen = all.into_iter().step_by(each);
        cases.extend(chosen.map(|(op, state, broken)| case(effort, op, state, broken)));
    }
    cases
}

fn case(effort: Effort, op: Decide, [exponent, clean, taken, failed]: State, broken: Broken) -> Case {
    let shape = op.clone();
    Case::new(effort, shape, move || {
        let mut source = Source::new((op.parameters * 7) as u64 + u64::from(exponent));
        let mut squares = Vec::with_capacity(op.slot() * op.parameters);
        for parameter in 0..op.parameters {
            let last = parameter + 1 == op.parameters;
            let count = match broken {
                Broken::Last(count) if last => count,
                Broken::First if parameter == 0 => 1,
                Broken::Some if parameter % 5 == 2 || last => 1 + source.below(3),
                _ => 0,
            };
            let sum = match (broken, last || parameter == 3) {
                (Broken::Sum, true) => f32::INFINITY,
                _ => (source.unit() + 1.0) * 2f32.powi(source.below(8) as i32),
            };
            match op.sums {
                DType::F64 => {
                    let bits = f64::from(sum).to_bits();
                    squares.extend([bits as u32, (bits >> 32) as u32, count]);
                }
                _ => squares.extend([sum.to_bits(), count]),
            }
        }
        let mut state = op.start(0);
        (state[0], state[1], state[2]) = (source.below(2), exponent, clean);
        (state[3], state[4], state[5]) = (source.below(9), taken, failed);
        for word in &mut state[6..Decide::STATE] {
            // Powers well below 1.
            *word = source.bits() & 0xbfff_ffff;
        }
        if taken == LATE {
            // And near it.
            state[7] |= 0xffff_0000;
            state[9] |= 0xffff_0000;
        }
        // Some layers have had a number that was not finite.
        for (layer, first) in state[Decide::STATE..].iter_mut().enumerate() {
            *first = if layer % 3 == 1 { 11 } else { 0 };
        }
        let values = (1..=4u32).map(|at| (at as f32).to_bits());
        vec![squares, state, values.collect()]
    })
}

/// What is measured at size `n`: as many parameters.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let op = Decide {
        clip: Some(1.0.into()),
        growth: Some(2000),
        ..Decide::new(n, 2, DType::F32)
    };
    vec![Case::timed(op, &[Fill::Labels(1), Fill::Labels(1), Fill::F32]).into()]
}
