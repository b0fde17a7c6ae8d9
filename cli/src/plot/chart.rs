//! Drawing: one chart with a legend beside it, as an SVG text. Axes are logarithmic unless their ticks say otherwise.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ticks::TICKS;
pub(crate) use super::ticks::Ticks;

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
    RGBColor(160, 200, 40),
];

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
            Ticks::Linear | Ticks::Whole => (value - first) / (last - first),
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
    // Of one value alone there is something to both sides.
    let room = match high > low {
        true => 0.05 * (high - low),
        false => (0.05 * high.abs()).max(1e-9),
    };
    (low <= high).then_some([low - room, high + room])
}

impl Axis {
    /// What it must show.
    fn range(&self, values: impl Iterator<Item = f64>, room: f64) -> Option<[f64; 2]> {
        match self.ticks {
            Ticks::Linear => linear_range(values),
            // A whole number to both sides of one alone.
            Ticks::Whole => linear_range(values).map(|[low, high]| match high - low < 1.0 {
                true => [low.floor() - 0.2, high.ceil() + 0.2],
                false => [low, high],
            }),
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
            .x_labels(TICKS)
            .y_labels(TICKS)
            .x_label_formatter(&|value| self.x.ticks.text_within(*value, x))
            .y_label_formatter(&|value| self.y.ticks.text_within(*value, y))
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
            // Where there is more room.
            let scale = Scale {
                range: x,
                ticks: self.x.ticks,
            };
            let (side, label) = match scale.map(at, (0, 100)) < 50 {
                true => (HPos::Left, format!(" {label}")),
                false => (HPos::Right, format!("{label} ")),
            };
            let style = (FONT, SMALL)
                .into_font()
                .color(&GREY)
                .pos(Pos::new(side, VPos::Top));
            let text = Text::new(label, (*at, height), style);
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
        // With as many series as colours twice over, another shape goes with a colour.
        let corners: &[(i32, i32)] = match (self.shape + self.shape / COLOURS.len()) % 5 {
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
    fn one_epoch_has_whole_numbers_to_both_sides() {
        let one = Axis {
            label: "epoch",
            ticks: Ticks::Whole,
        };
        let range = one.range(std::iter::once(1.0), 1.0);
        assert_eq!(
            range.map(texts_of),
            Some(vec!["0".into(), "1".into(), "2".into()])
        );
    }

    fn texts_of(range: [f64; 2]) -> Vec<String> {
        let places = Ticks::Whole.places(range, TICKS);
        places.into_iter().map(|value| Ticks::Whole.text(value)).collect()
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
