//! A perceptron in plain Rust, only as fast as the tests of the data need: momentum SGD, two threads.

use fewbit::nn::data::{Dataset, Split};

const BATCH: usize = 64;
const MOMENTUM: f32 = 0.9;
/// Fixed, not the machine's number of cores: the sums, hence the result, depend on it.
const THREADS: usize = 2;

/// One layer: weights `inputs x outputs` row-major, then `outputs` biases.
#[derive(Clone)]
struct Layer {
    outputs: usize,
    values: Vec<f32>,
}

impl Layer {
    fn zeros(inputs: usize, outputs: usize) -> Self {
        Self {
            outputs,
            values: vec![0.0; (inputs + 1) * outputs],
        }
    }

    fn biases(&mut self) -> &mut [f32] {
        let start = self.values.len() - self.outputs;
        &mut self.values[start..]
    }
}

/// Uniform He start: plain multiplicative noise is plenty here.
fn random(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / 8_388_608.0 - 1.0
}

fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Values after each layer, the image first; ReLU on all but the last.
fn forward(net: &[Layer], image: &[u8]) -> Vec<Vec<f32>> {
    let mut values = vec![
        image
            .iter()
            .map(|&pixel| f32::from(pixel) / 255.0)
            .collect::<Vec<f32>>(),
    ];
    for (i, layer) in net.iter().enumerate() {
        let n = layer.outputs;
        let mut out = layer.values[layer.values.len() - n..].to_vec();
        // Most inputs are paper or a silent unit: skip them.
        for (k, &x) in values[i].iter().enumerate().filter(|(_, x)| **x != 0.0) {
            axpy(&mut out, x, &layer.values[k * n..(k + 1) * n]);
        }
        if i + 1 < net.len() {
            out.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        values.push(out);
    }
    values
}

/// Adds the gradient of one sample's cross-entropy, times `scale`.
fn backward(net: &[Layer], image: &[u8], label: u8, scale: f32, gradients: &mut [Layer]) {
    let values = forward(net, image);
    let top = &values[net.len()];
    let most = top.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = top.iter().map(|x| (x - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    let mut delta: Vec<f32> = powers.iter().map(|p| scale * p / sum).collect();
    delta[usize::from(label)] -= scale;
    for (i, layer) in net.iter().enumerate().rev() {
        let n = layer.outputs;
        let mut below = vec![0.0; values[i].len()];
        for (k, &x) in values[i].iter().enumerate().filter(|(_, x)| **x != 0.0) {
            axpy(&mut gradients[i].values[k * n..(k + 1) * n], x, &delta);
            if i > 0 {
                below[k] = dot(&layer.values[k * n..(k + 1) * n], &delta);
            }
        }
        axpy(gradients[i].biases(), 1.0, &delta);
        delta = below;
    }
}

fn accuracy(net: &[Layer], split: &Split, pixels: usize) -> f64 {
    let right = |(image, &label): (&[u8], &u8)| {
        let values = forward(net, image);
        let top = &values[net.len()];
        (0..top.len()).all(|i| i == usize::from(label) || top[i] < top[usize::from(label)])
    };
    let hits = split
        .images
        .chunks(pixels)
        .zip(&split.labels)
        .filter(|&sample| right(sample))
        .count();
    hits as f64 / split.len() as f64
}

/// Trains a net of these widths for some epochs, the rate falling to zero over the second half; returns the
/// share of test images classified rightly.
pub(crate) fn train(set: &Dataset, widths: &[usize], epochs: usize, rate: f32) -> f64 {
    let (train, pixels) = (set.train(), set.pixels());
    let mut state = 1;
    let mut net: Vec<Layer> = widths.windows(2).map(|w| Layer::zeros(w[0], w[1])).collect();
    let mut speed = net.clone();
    if net.len() > 1 {
        for (layer, &inputs) in net.iter_mut().zip(widths) {
            let most = (6.0 / inputs as f32).sqrt();
            let weights = inputs * layer.outputs;
            layer.values[..weights]
                .iter_mut()
                .for_each(|x| *x = most * random(&mut state));
        }
    }
    let mut order: Vec<usize> = (0..train.len()).collect();
    let steps = epochs * train.len().div_ceil(BATCH);
    let mut step = 0;
    for _ in 0..epochs {
        for i in (1..order.len()).rev() {
            order.swap(
                i,
                ((f64::from(random(&mut state)) + 1.0) / 2.0 * (i + 1) as f64) as usize,
            );
        }
        for batch in order.chunks(BATCH) {
            let scale = 1.0 / batch.len() as f32;
            let parts: Vec<Vec<Layer>> = std::thread::scope(|scope| {
                let part = |samples: &[usize]| {
                    let mut gradients: Vec<Layer> =
                        widths.windows(2).map(|w| Layer::zeros(w[0], w[1])).collect();
                    for &s in samples {
                        let image = &train.images[s * pixels..(s + 1) * pixels];
                        backward(&net, image, train.labels[s], scale, &mut gradients);
                    }
                    gradients
                };
                let threads: Vec<_> = batch
                    .chunks(batch.len().div_ceil(THREADS))
                    .map(|samples| scope.spawn(move || part(samples)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            step += 1;
            let rate = rate * (2.0 * (steps - step) as f32 / steps as f32).min(1.0);
            for (i, layer) in net.iter_mut().enumerate() {
                speed[i].values.iter_mut().for_each(|x| *x *= MOMENTUM);
                for part in &parts {
                    axpy(&mut speed[i].values, 1.0, &part[i].values);
                }
                axpy(&mut layer.values, -rate, &speed[i].values);
            }
        }
    }
    accuracy(&net, set.test(), pixels)
}
