//! What the distillation loss is known to do: at high temperatures its gradient is that of matched logits.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use fewbit::Device;
use fewbit::kernels::Distillation;
use fewbit::op::{Arg, Args, Op as _};
use fewbit::tensor::DType::{F32, F64, U32};

const ROWS: usize = 64;
const CLASSES: usize = 10;

/// The logits of student and teacher: normal, of mean 0 and variance 9.
fn tables() -> [Vec<f64>; 2] {
    let lines = include_str!("distillation.txt").lines().skip(1);
    let value = |word: &str| f32::from_bits(u32::from_str_radix(word, 16).expect("hexadecimal bits")).into();
    let all: Vec<f64> = lines
        .flat_map(|line| line.split(' ').map(value).collect::<Vec<_>>())
        .collect();
    assert_eq!(all.len(), 2 * ROWS * CLASSES);
    let (student, teacher) = all.split_at(ROWS * CLASSES);
    [student.to_vec(), teacher.to_vec()]
}

/// Each row less its mean.
fn centred(values: &[f64]) -> Vec<f64> {
    let rows = values.chunks(CLASSES);
    let centred = rows.flat_map(|row| {
        let mean = row.iter().sum::<f64>() / CLASSES as f64;
        row.iter().map(move |value| value - mean)
    });
    centred.collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Losses and gradient of student and teacher logits without labels.
fn distill(device: &Device, z: &[f64], v: &[f64], temperature: f32) -> (Vec<f64>, Vec<f64>) {
    let shape = [ROWS, CLASSES];
    let logits = device.from_f32(&shape, &narrow(z)).expect("logits");
    let teacher = device.from_f32(&shape, &narrow(v)).expect("logits");
    let labels = vec![Distillation::UNLABELLED; ROWS];
    let labels = device
        .from_codes(fewbit::tensor::Layout::dense(U32, &[ROWS]), &[&labels])
        .expect("labels");
    let mut loss = device.from_f32(&[ROWS], &[0.0; ROWS]).expect("losses");
    let mut grad = device.from_f32(&shape, &narrow(z)).expect("a gradient");
    let op = Distillation::new(ROWS, CLASSES, F32, F32).with(temperature, 0.0);
    let mut operands = [
        (&logits).into(),
        (&teacher).into(),
        (&labels).into(),
        (&mut loss).into(),
        (&mut grad).into(),
    ];
    device.run(&op, &mut operands).expect("a run");
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    (
        wide(loss.read_blocking().expect("losses")),
        wide(grad.read_blocking().expect("a gradient")),
    )
}

/// The root of a mean square.
fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}

/// Hinton, Vinyals and Dean (2015), section 2.1: with zero-mean logits of N classes the gradient tends to (z - v) / N and
/// the loss to sum (z - v)^2 / 2 N, by another order in 1 / T.
#[test]
fn high_temperatures_match_logits() {
    let [z, v] = tables().map(|table| centred(&table));
    let apart: Vec<_> = z.iter().zip(&v).map(|(z, v)| z - v).collect();
    let limit = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>() / (2.0 * CLASSES as f64);
    let limits: Vec<_> = apart.chunks(CLASSES).map(limit).collect();
    for device in [Device::reference(), Device::cpu()] {
        for temperature in [1.0f32, 4.0, 20.0, 100.0, 1000.0] {
            let (loss, grad) = distill(&device, &z, &v, temperature);
            let of_limit = |(grad, apart): (&f64, &f64)| ROWS as f64 * grad - apart / CLASSES as f64;
            let error = rms(grad.iter().zip(&apart).map(of_limit));
            let relative = error / rms(apart.iter().map(|apart| apart / CLASSES as f64));
            assert!(
                relative <= 2.0 / f64::from(temperature),
                "{} at {temperature}: {relative}",
                device.describe()
            );
            assert!(loss.iter().all(|loss| *loss >= 0.0), "a negative divergence");
            for (loss, limit) in loss.iter().zip(&limits).filter(|_| temperature >= 100.0) {
                let allowed = limit * 10.0 / f64::from(temperature);
                assert!((loss - limit).abs() < allowed, "{loss}, not {limit}");
            }
        }
    }
}

/// Logits that do not differ cost nothing, and what differs costs as much as its definition says, whichever of the
/// kernel's two forms takes it.
#[test]
fn divergences_are_those_of_the_definition() {
    let [z, v] = tables();
    let (loss, grad) = distill(&Device::cpu(), &z, &z, 3.0);
    assert!(loss.iter().chain(&grad).all(|value| *value == 0.0));
    for temperature in [0.1f32, 1.0, 5.0, 50.0] {
        let t = f64::from(temperature);
        let shares = |row: &[f64]| -> Vec<f64> {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let terms: Vec<_> = row.iter().map(|x| ((x - top) / t).exp()).collect();
            let sum: f64 = terms.iter().sum();
            terms
                .iter()
                .map(|term| (term / sum).max(f64::MIN_POSITIVE))
                .collect()
        };
        let (loss, _) = distill(&Device::cpu(), &z, &v, temperature);
        for ((loss, z), v) in loss.iter().zip(z.chunks(CLASSES)).zip(v.chunks(CLASSES)) {
            let (q, p) = (shares(z), shares(v));
            let want: f64 = p.iter().zip(&q).map(|(p, q)| t * t * p * (p / q).ln()).sum();
            assert!((loss - want).abs() < 1e-4 * want, "{loss}, not {want}");
        }
    }
}

/// Loss and gradient in f64 on the reference device.
fn exactly(op: &Distillation, z: &[f64], v: &[f64], labels: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let pack = |values: &[f64]| -> Vec<u32> {
        let words = values.iter().map(|value| value.to_bits());
        words
            .flat_map(|bits| [bits as u32, (bits >> 32) as u32])
            .collect()
    };
    let (z, v) = (pack(z), pack(v));
    let (mut loss, mut grad) = (vec![0; 2 * op.rows], vec![0; z.len()]);
    let args = vec![
        Arg::Read(&z),
        Arg::Read(&v),
        Arg::Read(labels),
        Arg::Write(&mut loss),
        Arg::Write(&mut grad),
    ];
    op.reference(Args::new(args, op.step_values())).expect("a run");
    let unpack = |words: &[u32]| -> Vec<f64> {
        let pairs = words.as_chunks::<2>().0.iter();
        pairs
            .map(|[low, high]| f64::from_bits(u64::from(*low) | u64::from(*high) << 32))
            .collect()
    };
    (unpack(&loss), unpack(&grad))
}

/// The gradient is the slope of the loss, with a label, without one, and of rows that are left out.
#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 1e-5;
    let [z, v] = tables().map(|table| table[..6 * CLASSES].to_vec());
    let labels = [
        3,
        Distillation::UNLABELLED,
        u32::MAX,
        0,
        9,
        Distillation::UNLABELLED,
    ];
    for (temperature, alpha) in [(1.0, 0.3), (2.5, 0.0), (0.5, 0.75), (20.0, 0.5), (3.0, 1.0)] {
        let op = Distillation::new(6, CLASSES, F64, F64).with(temperature, alpha);
        let (_, grad) = exactly(&op, &z, &v, &labels);
        for i in 0..z.len() {
            let at = |moved: f64| {
                let mut z = z.clone();
                z[i] += moved;
                exactly(&op, &z, &v, &labels).0.iter().sum::<f64>()
            };
            // The gradient is that of the mean.
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP) / 6.0;
            let allowed = 1e-8 * (1.0 + 1.0 / f64::from(temperature)) + 1e-8 * slope.abs();
            assert!(
                (grad[i] - slope).abs() < allowed,
                "{i}: {}, differences say {slope}",
                grad[i]
            );
        }
        let out = &grad[2 * CLASSES..][..CLASSES];
        assert!(out.iter().all(|value| value.to_bits() == 0));
        assert_eq!(
            alpha == 1.0,
            grad[CLASSES..][..CLASSES].iter().all(|value| *value == 0.0)
        );
    }
}
