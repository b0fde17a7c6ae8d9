//! `fmac`: what bf16 accumulators cost, against how many products they take between two roundings. After the FMAC units of
//! Zamirai et al. (2020), whose chunk is 1.

use fewbit::format::random::{Draw, stream};
use fewbit::format::{Rounding, bf16};
use fewbit::kernels::FmacMatmul;
use fewbit::nn::train::{Augment, TrainOptions};
use fewbit::nn::{Recipe, Stored};
use fewbit::tensor::{DType, View};

use super::super::Stop;
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::claims::Claim;
use super::lab::{Lab, Of};
use super::rates;

/// Products from one rounding to the next; the last is all of any sum.
const CHUNKS: [usize; 5] = [1, 8, 32, 128, usize::MAX];

/// A chunk, trained with and measured in both roundings: to nearest, then stochastically.
struct Chunk {
    size: usize,
    trained: [Of; 2],
    /// The relative error of the first layer's product.
    error: [f64; 2],
}

const ROUNDINGS: [(&str, Rounding); 2] = [
    ("nearest", Rounding::Nearest),
    ("stochastic", Rounding::Stochastic),
];

/// How its networks are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    let model = lab.known("mlp-small")?;
    Ok(lab.options(model, rates::FMAC, Augment::Shift1))
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let options = options(lab)?;
    lab.network(&options)?;
    let mut first: Option<Stored> = None;
    let mut bases = Vec::new();
    for recipe in [Recipe::f32(), Recipe::bf16_nearest(), Recipe::bf16_sr()] {
        let of = lab.each(&recipe, &options, |trainer| {
            // The first layer of the first seed's bf16-sr.
            if recipe.name == "bf16-sr" && first.is_none() {
                first = trainer.weights_blocking()?.into_iter().next();
            }
            Ok(())
        })?;
        bases.push(of);
    }
    let Some(weights) = first else {
        return Err(Stop::Input("the network has no weights".into()));
    };
    let product = Product::new(lab, weights, options.batch);
    let mut chunks = Vec::new();
    for size in CHUNKS {
        let recipes = [Recipe::bf16_fmac(size), Recipe::bf16_pure(size)];
        let [nearest, stochastic] = recipes.map(|recipe| lab.each(&recipe, &options, |_| Ok(())));
        let error = ROUNDINGS.map(|(_, rounding)| product.error(lab, size, rounding));
        let [a, b] = error;
        let chunk = Chunk {
            size,
            trained: [nearest?, stochastic?],
            error: [a?, b?],
        };
        for ((rounding, _), error) in ROUNDINGS.iter().zip(chunk.error) {
            let what = format!("first layer, chunk {}, {rounding}", name(size));
            lab.measured(&what, "relative_rms_error", error);
        }
        chunks.push(chunk);
    }
    table(lab, &bases, &chunks);
    charts(lab, &bases, &chunks, product.depth())?;
    let claims = claims(lab, &bases, &chunks);
    lab.conclude(&claims);
    Ok(())
}

fn name(size: usize) -> String {
    match size {
        usize::MAX => "k".into(),
        size => size.to_string(),
    }
}

/// The first layer's product `X W^T` of one batch, in bf16, and what f64 makes of it.
struct Product {
    /// Images, outputs, pixels.
    extents: [usize; 3],
    images: Vec<u32>,
    weights: Stored,
    exact: Vec<f64>,
}

impl Product {
    fn new(lab: &Lab<'_>, weights: Stored, batch: usize) -> Self {
        let (split, pixels) = (lab.data.set.test(), weights.cols);
        let batch = batch.min(split.len());
        let view = View::new(DType::Bf16, batch, pixels, pixels.next_multiple_of(2));
        let mut images = vec![0; view.words() as usize];
        for row in 0..batch {
            for col in 0..pixels {
                let pixel = f32::from(split.images[row * pixels + col]) / 255.0;
                view.store_bits(&mut images, row, col, bf16::from_f32(pixel).into());
            }
        }
        let rows = |words: &[u32], view: View, count: usize| -> Vec<Vec<f64>> {
            let row = |row| (0..pixels).map(|col| view.load(words, row, col)).collect();
            (0..count).map(row).collect()
        };
        let (x, w) = (
            rows(&images, view, batch),
            rows(&weights.words, weights.view(), weights.rows),
        );
        let dot = |x: &[f64], w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum();
        let exact = x.iter().flat_map(|x| w.iter().map(move |w| dot(x, w))).collect();
        Self {
            extents: [batch, weights.rows, pixels],
            images,
            weights,
            exact,
        }
    }

    /// Products of a sum.
    fn depth(&self) -> usize {
        self.extents[2]
    }

    /// The root of the mean square of what is wrong, over that of what is right.
    fn error(&self, lab: &Lab<'_>, chunk: usize, rounding: Rounding) -> Result<f64, Stop> {
        let [m, n, k] = self.extents;
        let draw = Draw {
            seed: lab.seeds[0],
            // No purpose of the library's has this number.
            stream: stream(201, 0),
            ..Draw::default()
        };
        let mut op = FmacMatmul::new(m, n, k).with_rounding(rounding, draw);
        op.trans_b = true;
        op.b_ld = self.weights.view().ld;
        op.chunk = chunk.min(k);
        let view = View::new(DType::Bf16, m, n, op.c_ld);
        let c = vec![0; view.words() as usize];
        let operands = [&self.images[..], &self.weights.words, &c];
        let written = lab.device.run_words_blocking(&op, &operands, None)?;
        let Some(words) = written.last() else {
            return Err(Stop::Input("the product wrote nothing".into()));
        };
        let places = (0..m).flat_map(|row| (0..n).map(move |col| (row, col)));
        let (mut wrong, mut right) = (0.0, 0.0);
        for ((row, col), exact) in places.zip(&self.exact) {
            wrong += (view.load(words, row, col) - exact).powi(2);
            right += exact.powi(2);
        }
        Ok((wrong / f64::max(right, f64::MIN_POSITIVE)).sqrt())
    }
}

fn table(lab: &Lab<'_>, bases: &[Of], chunks: &[Chunk]) {
    let less = |of: &Of, base: &Of| {
        let difference = lab.difference(of, base);
        difference.map_or("-".into(), |difference| difference.to_string())
    };
    let dash = || "-".to_string();
    let mut lines = Vec::new();
    for base in bases {
        lines.push(vec![base.name.clone(), dash(), base.accuracy(), dash(), dash()]);
    }
    for chunk in chunks {
        for (i, of) in chunk.trained.iter().enumerate() {
            lines.push(vec![
                of.name.clone(),
                name(chunk.size),
                of.accuracy(),
                // Updates to nearest beside updates to nearest, stochastic ones beside stochastic ones.
                less(of, &bases[1 + i]),
                format!("{:.2e}", chunk.error[i]),
            ]);
        }
    }
    let header = [
        "Recipe",
        "Chunk",
        "Accuracy (%)",
        "Less wide sums",
        "Error of a product",
    ];
    lab.output.table(&header, &header[1..], &lines);
    lab.output.line(
        "Less wide sums: than bf16-nearest for bf16-fmac, than bf16-sr for bf16-pure. Error: root mean square of the first layer's product of a batch, relative to f64.",
    );
}

fn claims(lab: &Lab<'_>, bases: &[Of], chunks: &[Chunk]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let of = |size| chunks.iter().find(|chunk| chunk.size == size);
    let (Some(one), Some(some), Some(all)) = (of(1), of(32), of(usize::MAX)) else {
        return claims;
    };
    for (i, (rounding, _)) in ROUNDINGS.iter().enumerate() {
        let errors: Vec<_> = chunks.iter().map(|chunk| chunk.error[i]).collect();
        claims.push(Claim::new(
            format!("the error of {rounding} sums falls as chunks grow"),
            format!("{:.2e} at 1, {:.2e} at k", one.error[i], all.error[i]),
            errors.windows(2).all(|pair| pair[1] <= pair[0]),
        ));
    }
    claims.push(lab.worse(
        "sums to nearest cost accuracy at chunk 1",
        &one.trained[0],
        &bases[0],
    ));
    for (chunk, words) in [(one, "1"), (some, "32")] {
        let text =
            format!("stochastic sums with stochastic updates (pure bf16) keep up with f32 at chunk {words}");
        claims.push(lab.as_good(text, &chunk.trained[1], &bases[0]));
    }
    claims
}

fn charts(lab: &Lab<'_>, bases: &[Of], chunks: &[Chunk], depth: usize) -> Result<(), Stop> {
    let mean = |of: &Of| {
        let all = of.accuracies()?;
        Some(all.iter().sum::<f64>() / all.len() as f64)
    };
    let at = |chunk: &Chunk| chunk.size.min(depth) as f64;
    let curve = |i: usize, value: &dyn Fn(&Chunk) -> Option<f64>| Series {
        name: format!("{} sums", ROUNDINGS[i].0),
        points: chunks
            .iter()
            .filter_map(|chunk| Some((at(chunk), value(chunk)?)))
            .collect(),
        style: Style::Curve,
        colour: i,
    };
    let mut accuracy: Vec<_> = [0, 1].map(|i| curve(i, &|chunk| mean(&chunk.trained[i]))).into();
    for (colour, base) in (2..).zip(bases) {
        if let Some(right) = mean(base) {
            accuracy.push(Series {
                // Lines may lie on each other.
                name: format!("{}: {} %", base.name, base.accuracy()),
                points: vec![(1.0, right), (depth as f64, right)],
                style: Style::Level,
                colour,
            });
        }
    }
    let error = [0, 1].map(|i| curve(i, &|chunk| Some(chunk.error[i]))).into();
    let chart = |what: &str, label, ticks, series| Chart {
        title: format!("bf16 accumulators: {what} against chunk"),
        subtitle: String::new(),
        x: Axis {
            label: "products from one rounding to the next",
            ticks: Ticks::Size,
        },
        y: Axis { label, ticks },
        series,
        marks: Vec::new(),
    };
    lab.chart(
        "fmac-accuracy.svg",
        chart("accuracy", "right (%)", Ticks::Linear, accuracy),
    )?;
    lab.chart(
        "fmac-error.svg",
        chart("error", "relative error of a product", Ticks::Decimal, error),
    )
}
