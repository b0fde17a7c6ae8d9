//! `range`: what exponents are for (bf16 beside f16), and how many mantissa bits are enough.

use fewbit::nn::data::Dataset;
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Recipe, Stored};
use fewbit::{Device, Error};

use super::super::Stop;
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::claims::Claim;
use super::lab::{Lab, Of};
use super::rates;

/// f16 in all products, with the loss as it is.
const PLAIN: &str = "f16";

/// Powers of two that the first layer's outputs are multiplied by, and with them all that follow: logits are as many times
/// larger, and no answer of the network changes where every number is in range.
const SCALES: [i32; 3] = [0, 18, -26];

/// A trained network's share of right answers in one format, with its numbers scaled.
struct Scaled {
    recipe: String,
    exponent: i32,
    /// Percent; `None` where a logit is not finite.
    right: Option<f64>,
}

fn missing(name: &str) -> Stop {
    Stop::Input(format!("there is no recipe {name}"))
}

/// How its networks are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    let model = lab.known("mlp-small")?;
    Ok(lab.options(model, rates::SMALL, Augment::Shift1))
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let options = options(lab)?;
    lab.network(&options)?;
    let f16 = Recipe::f16_mixed().ok_or_else(|| missing("f16-mixed"))?;
    let mut plain = f16.clone();
    plain.name = PLAIN.into();
    plain.loss_scale = None;
    let formats = [Recipe::f32(), Recipe::bf16_mixed(), plain, f16];
    let mut trained: Option<Vec<Stored>> = None;
    let mut all = Vec::new();
    for recipe in &formats {
        let of = lab.each(recipe, &options, |trainer| {
            // The first seed's f32.
            if trained.is_none() {
                trained = Some(trainer.weights_blocking()?);
            }
            Ok(())
        })?;
        all.push(of);
    }
    let mut bits = Vec::new();
    for count in 2..=8 {
        let recipe = Recipe::bfp(count).ok_or_else(|| missing("bfp-N"))?;
        bits.push((count, lab.each(&recipe, &options, |_| Ok(()))?));
    }
    let scaled = scales(lab, &formats, &options, trained.as_deref().unwrap_or_default())?;
    tables(lab, &all, &bits, &scaled);
    chart(lab, &all, &bits)?;
    let claims = claims(lab, &all, &bits, &scaled);
    lab.conclude(&claims);
    Ok(())
}

/// The network of f32 in every format, its numbers scaled.
fn scales(
    lab: &mut Lab<'_>,
    formats: &[Recipe],
    options: &TrainOptions,
    weights: &[Stored],
) -> Result<Vec<Scaled>, Stop> {
    let mut all = Vec::new();
    // Both f16 evaluate alike: a loss is no part of it.
    for recipe in formats.iter().filter(|recipe| recipe.name != "f16-mixed") {
        for exponent in SCALES {
            let right = evaluate(lab.device, (recipe, options), weights, exponent, &lab.data.set)?;
            let what = format!("{} at 2^{exponent}", recipe.name);
            lab.measured(&what, "accuracy_percent", right.unwrap_or(f64::NAN));
            all.push(Scaled {
                recipe: recipe.name.clone(),
                exponent,
                right,
            });
        }
    }
    Ok(all)
}

fn evaluate(
    device: &Device,
    (recipe, options): (&Recipe, &TrainOptions),
    weights: &[Stored],
    exponent: i32,
    data: &Dataset,
) -> Result<Option<f64>, Stop> {
    let mut trainer = Trainer::new(device, recipe, options)?;
    for parameter in trainer.parameters().to_vec() {
        let name = parameter.name();
        let Some(stored) = weights.iter().find(|stored| stored.name == name) else {
            return Err(Stop::Input(format!("there are no {name}")));
        };
        // A ReLU passes factors on, and biases take the factor that reaches their layer.
        let factor = match parameter.layer == 0 || parameter.bias {
            true => f64::from(exponent).exp2(),
            false => 1.0,
        };
        let values: Vec<_> = stored.values().map(|value| factor * value).collect();
        trainer.set_parameter(&parameter, &values)?;
    }
    match trainer.accuracy_blocking(data) {
        Ok(right) => Ok(Some(100.0 * right)),
        Err(Error::Diverged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn tables(lab: &Lab<'_>, all: &[Of], bits: &[(u32, Of)], scaled: &[Scaled]) {
    let base = all.first();
    let less = |of: &Of| match base.and_then(|base| lab.difference(of, base)) {
        _ if of.name == "f32" => "-".into(),
        Some(difference) => difference.to_string(),
        None => "-".into(),
    };
    let lines: Vec<_> = all
        .iter()
        .chain(bits.iter().map(|(_, of)| of))
        .map(|of| vec![of.name.clone(), of.accuracy(), less(of)])
        .collect();
    let header = ["Format of products", "Accuracy (%)", "Less f32"];
    lab.output.table(&header, &header[1..], &lines);
    lab.output.line(
        "bfp-N: blocks of 16 with one exponent, a sign and N - 1 bits. f16: without loss scaling; f16-mixed: with it.",
    );
    let lines: Vec<_> = scaled
        .iter()
        .map(|scaled| {
            vec![
                scaled.recipe.clone(),
                format!("2^{}", scaled.exponent),
                right(scaled.right),
            ]
        })
        .collect();
    let header = ["Evaluated in", "Numbers times", "Accuracy (%)"];
    lab.output.table(&header, &header[1..], &lines);
    lab.output.line(
        "The network that f32 trained, with all it computes multiplied by a power of two: exact where exponents reach.",
    );
}

fn right(percent: Option<f64>) -> String {
    percent.map_or("not finite".into(), |percent| format!("{percent:.2}"))
}

fn claims(lab: &Lab<'_>, all: &[Of], bits: &[(u32, Of)], scaled: &[Scaled]) -> Vec<Claim> {
    let [base, bf16, plain, f16] = all else {
        return Vec::new();
    };
    let mut claims = vec![
        lab.as_good("bf16 keeps up with f32 at the same hyperparameters", bf16, base),
        lab.worse("f16 falls behind f32 without loss scaling", plain, base),
        lab.as_good("f16 keeps up with f32 with loss scaling", f16, base),
    ];
    let of = |recipe: &str, exponent| {
        let mut found = scaled.iter();
        let found = found.find(|scaled| scaled.recipe == recipe && scaled.exponent == exponent);
        found.and_then(|scaled| scaled.right)
    };
    for (exponent, text) in [
        (SCALES[1], "overflows where bf16 does not"),
        (SCALES[2], "vanishes where bf16 does not"),
    ] {
        let measured = ["f16", "bf16-mixed"].map(|recipe| [of(recipe, 0), of(recipe, exponent)]);
        let [half, brain] = measured;
        let lost = match half {
            [Some(before), Some(after)] => after < before - 1.0,
            [Some(_), None] => true,
            [None, _] => false,
        };
        let kept = brain[0].is_some() && brain[0] == brain[1];
        claims.push(Claim::new(
            format!("f16 {text}: numbers times 2^{exponent}"),
            format!(
                "f16 {} to {}, bf16 {} to {}",
                right(half[0]),
                right(half[1]),
                right(brain[0]),
                right(brain[1])
            ),
            lost && kept,
        ));
    }
    if let Some((_, eight)) = bits.last() {
        let text = "7 mantissa bits, those of bfp-8, keep up with f32";
        claims.push(lab.as_good(text, eight, base));
    }
    let enough = |of: &Of| lab.difference(of, base).is_some_and(|less| less.no_loss());
    // Enough, and so are all that have more.
    let least = bits.iter().rev().take_while(|(_, of)| enough(of)).last();
    claims.push(Claim::new(
        "fewer than 7 mantissa bits keep up with f32",
        match least {
            Some((count, _)) => format!("{} are the fewest that do", count - 1),
            None => "none of bfp-2 to bfp-8 do".into(),
        },
        least.is_some_and(|(count, _)| *count < 8),
    ));
    claims
}

fn chart(lab: &Lab<'_>, all: &[Of], bits: &[(u32, Of)]) -> Result<(), Stop> {
    let mean = |of: &Of| {
        of.accuracies()
            .map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    let points = bits
        .iter()
        .filter_map(|(count, of)| Some((f64::from(count - 1), mean(of)?)));
    let mut series = vec![Series {
        name: "bfp-N, blocks of 16".into(),
        points: points.collect(),
        style: Style::Curve,
        colour: 0,
    }];
    for (colour, of) in (1..).zip(all) {
        if let Some(right) = mean(of) {
            series.push(Series {
                // Lines may lie on each other.
                name: format!("{}: {} %", of.name, of.accuracy()),
                points: vec![(1.0, right), (7.0, right)],
                style: Style::Level,
                colour,
            });
        }
    }
    let axis = |label, ticks| Axis { label, ticks };
    lab.chart(
        "range.svg",
        Chart {
            title: "Accuracy against mantissa bits".into(),
            subtitle: String::new(),
            x: axis("bits beside the sign", Ticks::Whole),
            y: axis("right (%)", Ticks::Linear),
            series,
            marks: Vec::new(),
        },
    )
}
