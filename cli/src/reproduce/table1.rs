//! `table1`: memory, time and accuracy of four formats, beside those of the survey that fewbit follows.

use fewbit::nn::Recipe;
use fewbit::nn::train::{Augment, TrainOptions};

use super::super::Stop;
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::claims::Claim;
use super::lab::{Lab, Of};
use super::rates;

/// The survey's MB and seconds, of a format's bits.
fn article(recipe: &str) -> [f64; 2] {
    match recipe {
        "f64" => [77.3, 28.0],
        "f32" => [38.8, 22.0],
        _ => [19.1, 12.0],
    }
}

/// How far a ratio may be from the survey's, as a factor.
const NEAR: f64 = 1.1;

/// How its networks are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    let model = lab.model(TrainOptions::default().model);
    Ok(lab.options(model, rates::TABLE1, Augment::None))
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let options = options(lab)?;
    lab.network(&options)?;
    let mut all = Vec::new();
    for recipe in Recipe::all() {
        if recipe.uses_f64() && lab.device.as_gpu().is_some() {
            lab.output
                .line("f64 is left out: WGSL has none (--device cpu has)");
            continue;
        }
        all.push(lab.each(&recipe, &options, |_| Ok(()))?);
    }
    let header = [
        "Format",
        "Memory (MB)",
        "Article's",
        "Train time (s)",
        "Article's",
        "Accuracy (%)",
    ];
    let lines: Vec<_> = all
        .iter()
        .map(|of| {
            let [memory, seconds] = article(&of.name);
            vec![
                of.name.clone(),
                format!("{:.1}", megabytes(of)),
                format!("{memory:.1}"),
                format!("{:.1}", of.seconds()),
                format!("{seconds:.0}"),
                of.accuracy(),
            ]
        })
        .collect();
    lab.output.table(&header, &header[1..], &lines);
    lab.output
        .line("MB are 10^6 bytes: what the buffers of weights and biases hold. The article's seconds are its machine's.");
    chart(lab, &all)?;
    let claims = claims(lab, &all);
    lab.conclude(&claims);
    Ok(())
}

fn megabytes(of: &Of) -> f64 {
    of.memory().weights as f64 / 1e6
}

fn claims(lab: &Lab<'_>, all: &[Of]) -> Vec<Claim> {
    let find = |name: &str| all.iter().find(|of| of.name == name);
    let mut claims = Vec::new();
    for (small, large) in [("f32", "f64"), ("bf16-mixed", "f32"), ("bf16-sr", "f32")] {
        let (Some(small), Some(large)) = (find(small), find(large)) else {
            continue;
        };
        let memory = megabytes(small) / megabytes(large);
        claims.push(Claim::new(
            format!("{} weights take half the memory of {}", small.name, large.name),
            format!("{memory:.3} of it"),
            (memory - 0.5).abs() < 0.01,
        ));
        let ([_, own], [_, other]) = (article(&small.name), article(&large.name));
        let (time, want) = (small.seconds() / large.seconds(), own / other);
        claims.push(Claim::new(
            format!(
                "{} trains in {want:.2} of the time of {}, or less",
                small.name, large.name
            ),
            format!("{time:.2} of it; up to a tenth more would count"),
            time <= NEAR * want,
        ));
        let text = format!("{} is as accurate as {}", small.name, large.name);
        claims.push(lab.as_good(text, small, large));
    }
    claims
}

fn chart(lab: &Lab<'_>, all: &[Of]) -> Result<(), Stop> {
    let mut series = Vec::new();
    for (colour, of) in all.iter().enumerate() {
        series.push(Series {
            name: format!("{}: {} %", of.name, of.accuracy()),
            points: vec![(megabytes(of), of.seconds())],
            style: Style::Points,
            colour,
        });
    }
    let points = ["f64", "f32", "bf16"]
        .map(article)
        .map(|[memory, time]| (memory, time));
    series.push(Series {
        name: "the article's, on its machine".into(),
        points: points.to_vec(),
        style: Style::Level,
        colour: 7,
    });
    let axis = |label| Axis {
        label,
        ticks: Ticks::Decimal,
    };
    lab.chart(
        "table1.svg",
        Chart {
            title: "Memory and time of a training by format".into(),
            subtitle: String::new(),
            x: axis("weights and biases (MB)"),
            y: axis("training time (s)"),
            series,
            marks: Vec::new(),
        },
    )
}
