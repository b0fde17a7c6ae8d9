//! `fast` (Zhang, McDanel and Kung, "FAST: DNN Training Under Variable Precision Block Floating Point", 2021): operands of
//! products with 2 mantissa bits, with 4, and with as many as are needed.

use fewbit::nn::Recipe;
use fewbit::nn::train::{Augment, TrainOptions, Trainer};

use super::super::Stop;
use super::super::seeds::Mean;
use super::claims::Claim;
use super::lab::{Lab, Of};
use super::rates;

/// Points that variable precision may lose to f32.
const MOST: f64 = 0.5;

/// How its networks are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    let model = lab.known("mlp-small")?;
    Ok(lab.options(model, rates::SMALL, Augment::Shift1))
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let options = options(lab)?;
    lab.network(&options)?;
    let named =
        |name: &str| Recipe::named(name).ok_or_else(|| Stop::Input(format!("there is no recipe {name}")));
    let mut all = Vec::new();
    let mut shares = Vec::new();
    for name in ["f32", "bfp-3", "bfp-5", "fast"] {
        let mut own = Vec::new();
        let of = lab.each(&named(name)?, &options, |trainer| {
            own.push(share(trainer));
            Ok(())
        })?;
        let share: Option<Vec<f64>> = own.into_iter().collect();
        let share = share.map(|all| Mean::of(&all).mean);
        if let Some(share) = share {
            lab.measured(name, "work_share", share);
        }
        shares.push(share);
        all.push(of);
    }
    let lines: Vec<_> = all
        .iter()
        .zip(&shares)
        .map(|(of, share)| {
            let less = lab.difference(of, &all[0]).filter(|_| of.name != "f32");
            vec![
                of.name.clone(),
                of.accuracy(),
                less.map_or("-".into(), |less| less.to_string()),
                share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share)),
            ]
        })
        .collect();
    let header = ["Operands", "Accuracy (%)", "Less f32", "Work (%)"];
    lab.output.table(&header, &header[1..], &lines);
    lab.output.line(
        "bfp-3 and bfp-5: 2 and 4 mantissa bits beside the sign, 16 to a block. Work: passes of 2-bit chunks of mantissas, of as many as 4 bits in every operand take.",
    );
    let drawn: Vec<_> = all.iter().collect();
    lab.curves(
        "fast.svg",
        "Block floating point of 2, 4 and variable bits",
        &drawn,
    )?;
    let claims = claims(lab, &all, &shares);
    lab.conclude(&claims);
    Ok(())
}

/// The work of a training: that of formats which do not vary is what their bits say.
fn share(trainer: &Trainer) -> Option<f64> {
    match trainer.recipe().name.as_str() {
        "bfp-3" => Some(0.25),
        "bfp-5" => Some(1.0),
        _ => trainer.work_share(),
    }
}

fn claims(lab: &Lab<'_>, all: &[Of], shares: &[Option<f64>]) -> Vec<Claim> {
    let [base, coarse, fine, fast] = all else {
        return Vec::new();
    };
    let work = shares.last().copied().flatten();
    let less = lab.difference(fast, base);
    vec![
        lab.as_good("4 mantissa bits keep up with f32", fine, base),
        lab.worse("2 mantissa bits fall behind f32", coarse, base),
        lab.as_good("variable precision keeps up with f32", fast, base),
        Claim::new(
            format!("variable precision loses less than {MOST} points, beyond chance"),
            less.map_or("it diverged".into(), |less| less.to_string()),
            less.is_some_and(|less| less.mean - less.half > -MOST),
        ),
        Claim::new(
            "variable precision does less work than 4 bits throughout",
            work.map_or("nothing was counted".into(), |share| {
                format!("{:.1} % of it", 100.0 * share)
            }),
            work.is_some_and(|share| share < 1.0),
        ),
    ]
}
