//! Layers against the definition: the loss of small networks against loops over pixels in f64, and every gradient
//! against finite differences of that loss.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use fewbit::Device;
use fewbit::format::random::{Draw, stream};
use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::train::{TrainOptions, Trainer};
use fewbit::nn::{Layer, Model, Recipe};
use fewbit::tensor::View;

/// A power of two: the loss is divided by it in f32.
const IMAGES: usize = 4;
const SIDES: [usize; 2] = [9, 8];
const CLASSES: usize = 4;
const SEED: u64 = 5;

/// Images of noise, and labels.
fn data() -> Dataset {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let split = Split {
        images: (0..IMAGES * SIDES[0] * SIDES[1]).map(|_| byte()).collect(),
        labels: (0..IMAGES).map(|i| (i % CLASSES) as u8).collect(),
    };
    Dataset::new(split.clone(), split, SIDES[0], SIDES[1], CLASSES).expect("a data set")
}

fn conv(filters: usize, window: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Layer {
    Layer::Conv2d {
        filters,
        window,
        stride,
        padding,
    }
}

/// Every layer below and above every other that it may meet.
fn models() -> Vec<Model> {
    let model = |name: &str, layers: Vec<Layer>| {
        let empty = Model::new(name, [SIDES[0], SIDES[1], 1]);
        let linear = Layer::Linear { outputs: CLASSES };
        layers.into_iter().fold(empty, Model::with).with(linear)
    };
    vec![
        model("linear", vec![]),
        model("perceptron", vec![Layer::Linear { outputs: 7 }, Layer::Relu]),
        model(
            "lenet",
            vec![
                conv(3, [3, 3], [1, 1], [0, 0]),
                Layer::Relu,
                Layer::max_pool(2),
                conv(5, [2, 2], [1, 1], [0, 0]),
                Layer::Relu,
                Layer::max_pool(2),
                Layer::Linear { outputs: 6 },
                Layer::Relu,
            ],
        ),
        model(
            "strides and padding",
            vec![
                conv(3, [3, 2], [2, 1], [1, 2]),
                conv(2, [2, 3], [1, 3], [0, 1]),
                Layer::Relu,
            ],
        ),
        model(
            "pooled first",
            vec![
                Layer::MaxPool { window: [2, 1] },
                Layer::Relu,
                conv(3, [2, 2], [1, 2], [0, 0]),
                Layer::max_pool(2),
                Layer::Relu,
                Layer::MaxPool { window: [1, 1] },
            ],
        ),
        // Of the input, of what lies by pixels, between a product and its ReLU, and of rows.
        model(
            "dropout",
            vec![
                Layer::Dropout { p: 0.2 },
                conv(3, [3, 3], [2, 2], [0, 0]),
                Layer::Dropout { p: 0.25 },
                Layer::Relu,
                Layer::Linear { outputs: 9 },
                Layer::Relu,
                Layer::Dropout { p: 0.5 },
            ],
        ),
    ]
}

fn trainer(device: &Device, model: &Model, rate: f32) -> Trainer {
    let mut options = TrainOptions::default();
    options.model = model.clone();
    options.batch = IMAGES;
    options.learning_rate = rate;
    options.momentum = 0.0;
    options.weight_decay = 0.0;
    options.seed = SEED;
    options.report_every = 1;
    Trainer::new(device, &Recipe::f64(), &options).expect("a trainer")
}

/// The loss of one step, before its update.
fn loss(trainer: &mut Trainer, data: &Dataset) -> f64 {
    let mut loss = f64::NAN;
    let step = |progress: &fewbit::nn::train::Progress| {
        loss = progress.loss.expect("a loss");
        ControlFlow::Continue(())
    };
    trainer.epoch_blocking(data, step).expect("an epoch");
    loss
}

fn words(trainer: &Trainer, id: usize) -> Vec<u32> {
    let parameter = &trainer.parameters()[id];
    let read = pollster::block_on(trainer.read_parameter(parameter)).expect("a parameter");
    read.words().to_vec()
}

/// The numbers of parameter `id`, row by row.
fn numbers(trainer: &Trainer, id: usize) -> Vec<f64> {
    let words = words(trainer, id);
    let parameter = &trainer.parameters()[id];
    let view = View::new(parameter.dtype, parameter.rows, parameter.cols, parameter.ld);
    let cols = parameter.cols;
    (0..parameter.rows * cols)
        .map(|i| view.load(&words, i / cols, i % cols))
        .collect()
}

fn write(trainer: &mut Trainer, id: usize, values: &[f64]) {
    let parameter = trainer.parameters()[id].clone();
    let view = View::new(parameter.dtype, parameter.rows, parameter.cols, parameter.ld);
    let mut words = words(trainer, id);
    for (i, value) in values.iter().enumerate() {
        view.store_f64(&mut words, i / parameter.cols, i % parameter.cols, *value);
    }
    trainer.write_parameter(&parameter, &words).expect("a write");
}

/// An image between layers: height, width, channels, and its numbers with the channels of a pixel beside one another.
struct Image([usize; 3], Vec<f64>);

impl Image {
    /// Zero outside.
    fn at(&self, row: isize, col: isize, channel: usize) -> f64 {
        let [height, width, channels] = self.0;
        match (usize::try_from(row), usize::try_from(col)) {
            (Ok(row), Ok(col)) if row < height && col < width => {
                self.1[(row * width + col) * channels + channel]
            }
            _ => 0.0,
        }
    }

    fn of(extents: [usize; 3], value: impl Fn(usize, usize, usize) -> f64) -> Self {
        let [height, width, channels] = extents;
        let all = 0..height * width * channels;
        let each = |i: usize| value(i / channels / width, i / channels % width, i % channels);
        Self(extents, all.map(each).collect())
    }
}

/// What dropout number `layer` of a model leaves of the image at a place in the first batch.
fn drop(p: f32, layer: usize, place: usize, image: &Image) -> Image {
    let draw = Draw {
        seed: SEED,
        stream: stream(7, layer as u32),
        step: 1,
        ..Draw::default()
    };
    let threshold = (f64::from(p) * 65536.0).round();
    let first = (place * image.1.len()) as u64;
    let kept = (first..)
        .zip(&image.1)
        .map(|(index, value)| match f64::from(draw.bits(index)) < threshold {
            true => 0.0,
            false => value * (65536.0 / (65536.0 - threshold)),
        });
    Image(image.0, kept.collect())
}

/// What a layer makes of an image, by its definition.
fn apply(layer: &Layer, image: &Image, w: &[f64], b: &[f64]) -> Image {
    let [height, width, channels] = image.0;
    match *layer {
        Layer::Linear { outputs } => {
            let inputs = image.1.len();
            Image::of([1, 1, outputs], |_, _, o| {
                b[o] + (0..inputs).map(|i| w[o * inputs + i] * image.1[i]).sum::<f64>()
            })
        }
        Layer::Conv2d {
            filters,
            window: [kh, kw],
            stride,
            padding,
        } => {
            let places = |len: usize, side: usize, window: usize| {
                (len + 2 * padding[side] - window) / stride[side] + 1
            };
            let extents = [places(height, 0, kh), places(width, 1, kw), filters];
            Image::of(extents, |row, col, filter| {
                let mut sum = b[filter];
                for y in 0..kh {
                    for x in 0..kw {
                        for channel in 0..channels {
                            let weight = w[((filter * kh + y) * kw + x) * channels + channel];
                            let at_row = (row * stride[0] + y) as isize - padding[0] as isize;
                            let at_col = (col * stride[1] + x) as isize - padding[1] as isize;
                            sum += weight * image.at(at_row, at_col, channel);
                        }
                    }
                }
                sum
            })
        }
        Layer::MaxPool { window: [kh, kw] } => {
            Image::of([height / kh, width / kw, channels], |row, col, channel| {
                let of_window = (0..kh * kw).map(|i| {
                    let (y, x) = (row * kh + i / kw, col * kw + i % kw);
                    image.at(y as isize, x as isize, channel)
                });
                of_window.fold(f64::NEG_INFINITY, f64::max)
            })
        }
        Layer::Relu => Image::of(image.0, |row, col, channel| {
            image.at(row as isize, col as isize, channel).max(0.0)
        }),
        _ => unreachable!("a layer that this test does not know"),
    }
}

/// The mean cross-entropy of the data in the first step, by the definition of every layer, with the images in this order.
fn defined(model: &Model, parameters: &[Vec<f64>], data: &Dataset, order: [usize; IMAGES]) -> f64 {
    let split = data.train();
    let losses = order.iter().enumerate().map(|(place, &image)| {
        let label = split.labels[image];
        let pixels = &split.images[image * data.pixels()..][..data.pixels()];
        let mut flow = Image(
            model.input,
            pixels.iter().map(|&byte| f64::from(byte) / 255.0).collect(),
        );
        let mut next = parameters.iter();
        for (number, layer) in model.layers.iter().enumerate() {
            if let Layer::Dropout { p } = *layer {
                flow = drop(p, number, place, &flow);
                continue;
            }
            let (mut w, mut b): (&[f64], &[f64]) = (&[], &[]);
            if matches!(layer, Layer::Linear { .. } | Layer::Conv2d { .. }) {
                w = next.next().expect("weights");
                b = next.next().expect("a bias");
            }
            flow = apply(layer, &flow, w, b);
        }
        let logits = flow.1;
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
        sum.ln() + most - logits[usize::from(label)]
    });
    losses.sum::<f64>() / split.len() as f64
}

/// Whether a model draws bits.
fn drawn(model: &Model) -> bool {
    let dropout = |layer: &Layer| matches!(layer, Layer::Dropout { .. });
    model.layers.iter().any(dropout)
}

const ORDERS: usize = 24;

/// Every order of the images.
fn orders() -> impl Iterator<Item = [usize; IMAGES]> {
    let all = (0..IMAGES.pow(IMAGES as u32)).map(|mut number| {
        [(); IMAGES].map(|()| {
            let image = number % IMAGES;
            number /= IMAGES;
            image
        })
    });
    all.filter(|order| (0..IMAGES).all(|image| order.contains(&image)))
}

#[test]
fn losses_are_those_of_the_definition() {
    let data = data();
    for device in [Device::reference(), Device::cpu()] {
        for model in models() {
            let mut trainer = trainer(&device, &model, 0.0);
            // Biases too.
            let ids = 0..trainer.parameters().len();
            for id in ids.clone().filter(|id| id % 2 == 1) {
                let bias: Vec<_> = (0..numbers(&trainer, id).len())
                    .map(|i| 0.1 * i as f64 - 0.15)
                    .collect();
                write(&mut trainer, id, &bias);
            }
            let parameters: Vec<_> = ids.map(|id| numbers(&trainer, id)).collect();
            let got = loss(&mut trainer, &data);
            // Dropout depends on the order, which is shuffled; nothing else does.
            let wanted = orders().map(|order| defined(&model, &parameters, &data, order));
            let right = wanted.map(|want| (got - want).abs() < 1e-12 * want);
            let right = right.filter(|right| *right).count();
            let drawn = drawn(&model);
            assert_eq!(
                right,
                if drawn { 1 } else { ORDERS },
                "{} on {}: {got}",
                model.name,
                device.describe()
            );
        }
    }
}

/// Of every parameter, on the reference: a step of rate r takes `r g` off, and a step of rate 0 tells the loss.
/// Each loss is that of the first step, whose draws they share. Differences over 2 h see a kink or a tie with a chance of about h times the number of units, and none is seen here.
#[test]
fn gradients_are_those_of_finite_differences() {
    const RATE: f64 = 0.5;
    const STEP: f64 = 1e-5;
    let (data, device) = (data(), Device::reference());
    for model in models() {
        let mut still = trainer(&device, &model, 0.0);
        let mut moved = trainer(&device, &model, RATE as f32);
        loss(&mut moved, &data);
        let drawn = drawn(&model);
        let mut seen = 0;
        for id in 0..still.parameters().len() {
            let before = numbers(&still, id);
            let after = numbers(&moved, id);
            // Some of each matrix, all of each bias.
            let stride = before.len().div_ceil(40);
            for i in (0..before.len()).step_by(stride) {
                let mut at = |value: f64| {
                    if drawn {
                        still = trainer(&device, &model, 0.0);
                    }
                    let mut changed = before.clone();
                    changed[i] = value;
                    write(&mut still, id, &changed);
                    loss(&mut still, &data)
                };
                let slope = (at(before[i] + STEP) - at(before[i] - STEP)) / (2.0 * STEP);
                let gradient = (before[i] - after[i]) / RATE;
                // Third derivatives of a cross-entropy are of the order of one; a loss of about 1 has sixteen digits.
                let allowed = 1e-9 + 1e-8 * gradient.abs();
                assert!(
                    (slope - gradient).abs() < allowed,
                    "{}: parameter {id}, number {i}: {gradient}, differences say {slope}",
                    model.name
                );
                seen += usize::from(gradient != 0.0);
            }
            write(&mut still, id, &before);
        }
        assert!(seen > 20, "{}: {seen} gradients that are not zero", model.name);
    }
}
