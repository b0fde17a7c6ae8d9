//! `revisiting-bf16` (Zamirai et al., "Revisiting BFloat16 Training", 2020): updates of bf16 weights rounded to nearest
//! stall; rounded stochastically, or with what is lost kept beside them (Kahan), they do not.

use fewbit::nn::Recipe;
use fewbit::nn::train::{Augment, TrainOptions};

use super::super::Stop;
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::super::seeds::Mean;
use super::claims::Claim;
use super::lab::{Lab, Of};
use super::least_squares::{Descent, LAST, Problem, Update};
use super::rates;

/// The floor of nearest is to be so many times as high as that of stochastic rounding, to count as a stall.
const STALL: f64 = 10.0;
/// The share of updates that is to vanish where a stall is put down to that.
const VANISHED: f64 = 0.9;
/// Points of a curve.
const PIECES: usize = 100;

/// How its networks are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    let model = lab.known("lenet-5")?;
    Ok(lab.options(model, rates::LENET, Augment::Shift1))
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let mut claims = least_squares(lab)?;
    let options = options(lab)?;
    lab.network(&options)?;
    let recipes = [
        Recipe::f32(),
        Recipe::bf16_nearest(),
        Recipe::bf16_sr(),
        Recipe::bf16_kahan(),
    ];
    let mut all = Vec::new();
    for recipe in &recipes {
        all.push(lab.each(recipe, &options, |_| Ok(()))?);
    }
    let header = ["Updates", "Accuracy (%)", "Less f32"];
    let lines: Vec<_> = all
        .iter()
        .map(|of| {
            let less = lab.difference(of, &all[0]).filter(|_| of.name != "f32");
            let less = less.map_or("-".into(), |less| less.to_string());
            vec![of.name.clone(), of.accuracy(), less]
        })
        .collect();
    lab.output.table(&header, &header[1..], &lines);
    let drawn: Vec<_> = all.iter().collect();
    lab.curves(
        "revisiting-bf16-lenet-5.svg",
        "LeNet-5: updates of bf16 weights",
        &drawn,
    )?;
    claims.extend(networks(lab, &all));
    lab.conclude(&claims);
    Ok(())
}

fn networks(lab: &Lab<'_>, all: &[Of]) -> Vec<Claim> {
    let [base, nearest, stochastic, kahan] = all else {
        return Vec::new();
    };
    vec![
        lab.worse("lenet-5: updates to nearest fall behind f32", nearest, base),
        lab.as_good("lenet-5: stochastic updates keep up with f32", stochastic, base),
        lab.as_good("lenet-5: Kahan's updates keep up with f32", kahan, base),
    ]
}

/// The descents, the first seed's in a chart.
fn least_squares(lab: &mut Lab<'_>) -> Result<Vec<Claim>, Stop> {
    let steps = if lab.quick { 2000 } else { 20_000 };
    lab.output.line(&format!(
        "Least squares: 10 features from N(0, 1), weights from 0 to 100, no noise, one sample a step, learning rate 0.01, {steps} steps"
    ));
    let mut floors = Vec::new();
    let mut drawn = Vec::new();
    for update in Update::ALL {
        let mut own = Vec::new();
        for (i, &seed) in lab.seeds.clone().iter().enumerate() {
            let bar = lab.output.bar(steps as u64, update.name());
            let descent = Problem::new(seed).descend(lab.device, update, steps, &bar);
            bar.finish_and_clear();
            let descent = descent?;
            lab.measured(
                &format!("least squares, {}, seed {seed}", update.name()),
                "loss_floor",
                descent.floor(),
            );
            own.push(descent.floor());
            if i == 0 {
                drawn.push((update, descent));
            }
        }
        floors.push(Mean::of(&own).mean);
    }
    let first = Problem::new(lab.seeds[0]);
    let gone = |descent: &Descent| last_share(descent);
    let lines: Vec<_> = drawn
        .iter()
        .zip(&floors)
        .map(|((update, descent), floor)| {
            vec![
                update.name().to_string(),
                format!("{floor:.3e}"),
                format!("{:.1}", 100.0 * gone(descent)),
            ]
        })
        .collect();
    let header = [
        "Updates",
        "Loss, last 1,000 steps",
        "Updates below half a bf16 ulp there (%)",
    ];
    lab.output.table(&header, &header[1..], &lines);
    lab.output.line(&format!(
        "In theory updates of bf16 weights vanish from a loss of {:.3} down: there a feature of 1 moves a weight by half an ulp. Below it large samples alone get through.",
        first.vanishing_loss()
    ));
    chart(lab, &first, &drawn)?;
    let [exact, nearest, stochastic, kahan] = floors[..] else {
        return Ok(Vec::new());
    };
    let text = |what: &str, ratio: f64| (what.to_string(), format!("{ratio:.3} times"));
    let nearest_of = drawn.iter().find(|(update, _)| *update == Update::Nearest);
    let lost = nearest_of.map_or(0.0, |(_, descent)| last_share(descent));
    let (stall, measured) = text(
        "least squares: nearest stalls at 10 times the loss of stochastic, or more",
        nearest / stochastic,
    );
    Ok(vec![
        Claim::new(stall, measured, nearest >= STALL * stochastic),
        Claim::new(
            "least squares: nearest stalls above stochastic, with nine of ten updates below half an ulp",
            format!(
                "{nearest:.3} and {stochastic:.3}; {:.1} % of the updates",
                100.0 * lost
            ),
            nearest > stochastic && lost >= VANISHED,
        ),
        Claim::new(
            "least squares: Kahan's updates get below a tenth of nearest's loss",
            format!("{kahan:.3e} of {nearest:.3e}"),
            STALL * kahan <= nearest,
        ),
        Claim::new(
            "least squares: f32 gets below all of them",
            format!("{exact:.3e}"),
            [nearest, stochastic, kahan].iter().all(|floor| exact <= *floor),
        ),
    ])
}

/// The share of updates that vanish in the last steps.
fn last_share(descent: &Descent) -> f64 {
    let last = &descent.vanishing[descent.vanishing.len().saturating_sub(LAST)..];
    Mean::of(last).mean
}

fn chart(lab: &Lab<'_>, problem: &Problem, drawn: &[(Update, Descent)]) -> Result<(), Stop> {
    let mut series = Vec::new();
    let mut marks = Vec::new();
    for (colour, (update, descent)) in drawn.iter().enumerate() {
        let pieces = descent.pieces(PIECES);
        if *update == Update::Nearest {
            let half = pieces.iter().find(|(_, _, share)| *share >= 0.5);
            marks.extend(half.map(|(step, ..)| (*step, "half of nearest's updates vanish".to_string())));
        }
        // A loss of 0 has no place on a logarithmic axis.
        let points = pieces.into_iter().filter(|(_, loss, _)| *loss > 0.0);
        series.push(Series {
            name: format!("{}, at last {:.2e}", update.name(), descent.floor()),
            points: points.map(|(step, loss, _)| (step, loss)).collect(),
            style: Style::Curve,
            colour,
        });
    }
    let steps = drawn.first().map_or(1, |(_, descent)| descent.losses.len()) as f64;
    let level = problem.vanishing_loss();
    series.push(Series {
        name: format!("theory: updates vanish, {level:.2e}"),
        points: vec![(1.0, level), (steps, level)],
        style: Style::Level,
        colour: 7,
    });
    lab.chart(
        "revisiting-bf16-least-squares.svg",
        Chart {
            title: "Least squares: updates of bf16 weights".into(),
            subtitle: String::new(),
            x: Axis {
                label: "step",
                ticks: Ticks::Whole,
            },
            y: Axis {
                label: "loss (mean of a hundredth of the steps)",
                ticks: Ticks::Decimal,
            },
            series,
            marks,
        },
    )
}
