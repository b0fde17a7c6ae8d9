//! Curves of trainings: loss and accuracy after each epoch, and how much of their updates arrived.

use super::chart::{Axis, Chart, Series, Style, Ticks};

/// A training's curves.
pub(crate) struct Run {
    /// Runs of one name, which differ by their seeds, are drawn alike.
    pub(crate) name: String,
    /// Epoch from 1, the mean loss in it, and percent of the test images that were right after it.
    pub(crate) epochs: Vec<(usize, f64, f64)>,
    /// Epoch from 1, and its applied ratio, where one was measured.
    pub(crate) applied: Vec<(usize, f64)>,
}

/// The charts of all runs, of the loss, of the accuracy and of the applied ratio; nothing where there is nothing to
/// draw.
pub(crate) fn charts(title: &str, subtitle: &str, runs: &[Run]) -> Result<[Option<String>; 3], String> {
    let mut names: Vec<&str> = Vec::new();
    let mut series = [const { Vec::new() }; 3];
    for run in runs {
        let colour = names
            .iter()
            .position(|name| *name == run.name)
            .unwrap_or_else(|| {
                names.push(&run.name);
                names.len() - 1
            });
        let losses = run.epochs.iter().map(|&(epoch, loss, _)| (epoch as f64, loss));
        let right = run.epochs.iter().map(|&(epoch, _, right)| (epoch as f64, right));
        // No place on a logarithmic axis.
        let losses: Vec<_> = losses
            .filter(|(_, loss)| loss.is_finite() && *loss > 0.0)
            .collect();
        let applied = run
            .applied
            .iter()
            .map(|&(epoch, ratio)| (epoch as f64, ratio))
            .collect();
        for (series, points) in series.iter_mut().zip([losses, right.collect(), applied]) {
            series.push(Series {
                name: run.name.clone(),
                points,
                style: Style::Curve,
                colour,
            });
        }
    }
    let chart = |what, label, ticks, series| Chart {
        title: format!("{title}: {what}"),
        subtitle: subtitle.to_string(),
        x: Axis {
            label: "epoch",
            ticks: Ticks::Whole,
        },
        y: Axis { label, ticks },
        series,
        marks: Vec::new(),
    };
    let [losses, right, applied] = series;
    let loss = chart("loss", "mean loss of the epoch", Ticks::Decimal, losses);
    let accuracy = chart("accuracy", "right (%)", Ticks::Linear, right);
    let applied = chart("updates", "applied ratio", Ticks::Linear, applied);
    Ok([loss.svg()?, accuracy.svg()?, applied.svg()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_name_share_a_line_of_the_legend() {
        let run = |name: &str, right: f64| Run {
            name: name.into(),
            epochs: vec![(1, 0.5, right), (2, 0.0, right + 1.0)],
            applied: vec![(1, 0.9), (2, 1.0)],
        };
        let runs = [run("f32", 97.0), run("f32", 97.5), run("bf16-sr", 96.0)];
        let [loss, accuracy, applied] = charts("a network", "a device", &runs).unwrap_or_default();
        for chart in [loss, accuracy, applied] {
            let text = chart.unwrap_or_default();
            assert_eq!(text.matches("f32").count(), 1, "{text}");
            assert_eq!(text.matches("bf16-sr").count(), 1);
        }
        assert_eq!(charts("t", "s", &[]), Ok([None, None, None]));
    }
}
