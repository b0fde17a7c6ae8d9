//! Drawing: one chart with a legend beside it, as an SVG text. Axes are logarithmic unless their ticks say otherwise.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One chart. Values on logarithmic axes are positive.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The device, and what else a reader must know.
    pub(crate) subtitle: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Vertical lines with their labels.
    pub(crate) marks: Vec<(f64, String)>,
}

/// An axis: its label with the unit, and how its numbers are written.
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) ticks: Ticks,
}

/// Where an axis has numbers, and how they read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ticks {
    /// 1, 2 and 5 of each power of ten.
    Decimal,
    /// Powers of two.
    Size,
    /// Powers of four, in KiB, MiB and GiB.
    Bytes,
    /// 1, 2 and 5 of each power of ten, in percent.
    Percent,
    /// Even steps on a linear axis.
    Linear,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) style: Style,
    /// Its place in the order of colours.
    pub(crate) colour: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    /// Marks joined by a line.
    Curve,
    /// Marks alone.
    Points,
    /// A ceiling or another level: a dashed line.
    Level,
}

const WIDTH: u32 = 1040;
const HEIGHT: u32 = 600;
const LEGEND: u32 = 290;
const FONT: &str = "sans-serif";
const SMALL: i32 = 13;
const GREY: RGBColor = RGBColor(110, 110, 110);

/// Colours that are told apart without red and green; marks differ as well.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 90, 20),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
    RGBColor(140, 86, 200),
    RGBColor(150, 150, 30),
];

impl Ticks {
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Decimal | Self::Linear => number(value),
            Self::Size => format!("{value:.0}"),
            Self::Percent => format!("{} %", number(100.0 * value)),
            Self::Bytes => bytes(value),
        }
    }

    /// The places of the ticks within a range, thinned until there are at most `most`.
    fn places(self, [low, high]: [f64; 2], most: usize) -> Vec<f64> {
        if self == Self::Linear {
            return even([low, high], most);
        }
        let within = |value: &f64| (low * 0.999..=high * 1.001).contains(value);
        let powers = |base: f64, steps: &[f64]| -> Vec<f64> {
            let (first, last) = (low.log(base).floor() as i32 - 1, high.log(base).ceil() as i32 + 1);
            (first..=last)
                .flat_map(|power| steps.iter().map(move |step| step * base.powi(power)))
                .filter(within)
                .collect()
        };
        let finer_first: &[(f64, &[f64])] = match self {
            Self::Decimal | Self::Percent => &[(10.0, &[1.0, 2.0, 5.0]), (10.0, &[1.0, 3.0]), (10.0, &[1.0])],
            Self::Size => &[(2.0, &[1.0])],
            Self::Bytes => &[(2.0, &[1.0]), (4.0, &[1.0]), (16.0, &[1.0])],
            Self::Linear => &[],
        };
        let mut places = Vec::new();
        for (base, steps) in finer_first {
            places = powers(*base, steps);
            if places.len() <= most {
                break;
            }
        }
        places
    }
}

/// At most so many places in steps of 1, 2 or 5 of a power of ten.
fn even([low, high]: [f64; 2], most: usize) -> Vec<f64> {
    let least = (high - low) / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    // Whole numbers times the step: a sum of steps would drift.
    (first..=last).map(|place| place as f64 * step).collect()
}

pub(super) fn bytes(value: f64) -> String {
    match value {
        v if v >= (1u64 << 30) as f64 => format!("{} GiB", number(v / (1u64 << 30) as f64)),
        v if v >= (1u64 << 20) as f64 => format!("{} MiB", number(v / (1u64 << 20) as f64)),
        v if v >= 1024.0 => format!("{} KiB", number(v / 1024.0)),
        v => format!("{v:.0} B"),
    }
}

/// Three digits, no trailing zeros.
fn number(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-12).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// An axis with the ticks of [`Ticks`].
struct Scale {
    range: [f64; 2],
    ticks: Ticks,
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let [first, last] = self.range;
        let share = match self.ticks {
            Ticks::Linear => (value - first) / (last - first),
            _ => (value.max(first * 1e-6) / first).ln() / (last / first).ln(),
        };
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks.places(self.range, hint.max_num_points())
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range[0]..self.range[1]
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.text(*value)
    }
}

/// From the smallest to the largest, with a little room.
fn range(values: impl Iterator<Item = f64>, room: f64) -> Option<[f64; 2]> {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::INFINITY, 0.0f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    (high > 0.0).then(|| [low / room, (high * room).max(low * 2.0)])
}

/// The same on a linear axis.
fn linear_range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    let room = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    (low <= high).then_some([low - room, high + room])
}

impl Axis {
    /// What it must show.
    fn range(&self, values: impl Iterator<Item = f64>, room: f64) -> Option<[f64; 2]> {
        match self.ticks {
            Ticks::Linear => linear_range(values),
            _ => range(values, room),
        }
    }
}

impl Chart {
    /// The chart as SVG; nothing if no series has a point.
    pub(crate) fn svg(&self) -> Result<Option<String>, String> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (Some(x), Some(y)) = (
            self.x.range(points().map(|point| point.0), 1.15),
            self.y.range(points().map(|point| point.1), 1.35),
        ) else {
            return Ok(None);
        };
        let mut text = String::new();
        self.draw(&mut text, x, y).map_err(|error| error.to_string())?;
        Ok(Some(text))
    }

    fn draw<'a>(
        &'a self,
        text: &'a mut String,
        x: [f64; 2],
        y: [f64; 2],
    ) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let root = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.as_str(), (16, 12), (FONT, 20).into_font()))?;
        root.draw(&Text::new(
            self.subtitle.as_str(),
            (16, 38),
            (FONT, SMALL).into_font().color(&GREY),
        ))?;
        let (plot, legend) = root.margin(64, 8, 8, 8).split_horizontally(WIDTH - 16 - LEGEND);
        let mut chart = ChartBuilder::on(&plot)
            .margin_right(12)
            .margin_top(8)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(
                Scale {
                    range: x,
                    ticks: self.x.ticks,
                },
                Scale {
                    range: y,
                    ticks: self.y.ticks,
                },
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .x_labels(12)
            .y_labels(12)
            .x_label_formatter(&|value| self.x.ticks.text(*value))
            .y_label_formatter(&|value| self.y.ticks.text(*value))
            .max_light_lines(0)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_desc_style((FONT, 15))
            .label_style((FONT, SMALL))
            .draw()?;
        for (index, (at, label)) in self.marks.iter().enumerate() {
            let line = vec![(*at, y[0]), (*at, y[1])];
            chart.draw_series(DashedLineSeries::new(line, 2, 4, GREY.stroke_width(1)))?;
            // Neighbours stand one below the other.
            let height = y[1] / (y[1] / y[0]).powf(0.02 + 0.045 * (index % 4) as f64);
            let style = (FONT, SMALL)
                .into_font()
                .color(&GREY)
                .pos(Pos::new(HPos::Right, VPos::Top));
            let text = Text::new(format!("{label} "), (*at, height), style);
            chart.draw_series(std::iter::once(text))?;
        }
        for series in &self.series {
            let colour = series.colour();
            if series.style == Style::Level {
                chart.draw_series(DashedLineSeries::new(
                    series.points.iter().copied(),
                    7,
                    5,
                    colour.stroke_width(2),
                ))?;
                continue;
            }
            if series.style == Style::Curve {
                chart.draw_series(LineSeries::new(
                    series.points.iter().copied(),
                    colour.stroke_width(2),
                ))?;
            }
            let mark = series.colour;
            chart.draw_series(
                series
                    .points
                    .iter()
                    .map(|&at| EmptyElement::at(at) + Mark { shape: mark, colour }.polygon()),
            )?;
        }
        self.legend(&legend)?;
        root.present()?;
        Ok(())
    }

    /// The names of the series, each beside its mark.
    fn legend<B: DrawingBackend>(
        &self,
        legend: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        // Several curves of one name are one line.
        let mut named: Vec<&Series> = Vec::new();
        for series in &self.series {
            if named.iter().all(|other| other.name != series.name) {
                named.push(series);
            }
        }
        for (row, series) in named.into_iter().enumerate() {
            let (middle, colour) = (20 + 22 * row as i32, series.colour());
            if series.style == Style::Level {
                for start in [8, 20, 32] {
                    legend.draw(&PathElement::new(
                        vec![(start, middle), (start + 7, middle)],
                        colour.stroke_width(2),
                    ))?;
                }
            } else {
                if series.style == Style::Curve {
                    legend.draw(&PathElement::new(
                        vec![(8, middle), (39, middle)],
                        colour.stroke_width(2),
                    ))?;
                }
                let mark = Mark {
                    shape: series.colour,
                    colour,
                };
                legend.draw(&(EmptyElement::at((23, middle)) + mark.polygon()))?;
            }
            let style = (FONT, SMALL)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(HPos::Left, VPos::Center));
            legend.draw(&Text::new(series.name.as_str(), (48, middle), style))?;
        }
        Ok(())
    }
}

impl Series {
    fn colour(&self) -> RGBColor {
        COLOURS[self.colour % COLOURS.len()]
    }
}

/// A small filled shape around a point.
#[derive(Clone, Copy)]
struct Mark {
    shape: usize,
    colour: RGBColor,
}

impl Mark {
    fn polygon(self) -> Polygon<(i32, i32)> {
        let corners: &[(i32, i32)] = match self.shape % 5 {
            0 => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
            1 => &[(0, -5), (5, 4), (-5, 4)],
            2 => &[(0, -6), (6, 0), (0, 6), (-6, 0)],
            3 => &[(0, 5), (5, -4), (-5, -4)],
            _ => &[
                (-5, -2),
                (-2, -5),
                (2, -5),
                (5, -2),
                (5, 2),
                (2, 5),
                (-2, 5),
                (-5, 2),
            ],
        };
        Polygon::new(corners.to_vec(), self.colour.filled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_read_well() {
        let texts = |ticks: Ticks, range, most| -> Vec<String> {
            let places = ticks.places(range, most);
            places.into_iter().map(|value| ticks.text(value)).collect()
        };
        assert_eq!(texts(Ticks::Decimal, [0.9, 12.0], 12), ["1", "2", "5", "10"]);
        assert_eq!(
            texts(Ticks::Decimal, [0.01, 1e4], 8),
            ["0.01", "0.1", "1", "10", "100", "1000", "10000"]
        );
        assert_eq!(
            texts(Ticks::Percent, [0.0009, 0.011], 12),
            ["0.1 %", "0.2 %", "0.5 %", "1 %"]
        );
        assert_eq!(
            texts(Ticks::Bytes, [4096.0, 70_000.0], 3),
            ["4 KiB", "16 KiB", "64 KiB"]
        );
        assert_eq!(
            texts(Ticks::Linear, [0.93, 4.07], 12),
            ["1", "1.5", "2", "2.5", "3", "3.5", "4"]
        );
        assert_eq!(texts(Ticks::Linear, [97.2, 98.9], 4), ["97.5", "98", "98.5"]);
        assert_eq!(bytes(1.5 * 1024.0 * 1024.0), "1.5 MiB");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        let mut chart = Chart {
            title: "t".into(),
            subtitle: "a <b>".into(),
            x: Axis {
                label: "x",
                ticks: Ticks::Size,
            },
            y: Axis {
                label: "y",
                ticks: Ticks::Decimal,
            },
            series: Vec::new(),
            marks: Vec::new(),
        };
        assert_eq!(chart.svg(), Ok(None));
        chart.series.push(Series {
            name: "one".into(),
            points: vec![(4.0, 2.0)],
            style: Style::Curve,
            colour: 0,
        });
        let svg = chart.svg();
        assert!(
            matches!(&svg, Ok(Some(text)) if text.contains("</svg>") && text.contains("a &lt;b&gt;")),
            "{svg:?}"
        );
    }
}
