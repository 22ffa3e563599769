//! One chart: drawn as SVG, and its numbers as a table.
//!
//! Charts are drawn small, 480 units wide, so that two stand side by side on a desk and one is still legible on a phone.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::fmt::Write;
use std::io;
use std::ops::Range;

const SIZE: (u32, u32) = (480, 300);
/// plotters draws text smaller than it is told, by 1.24: this gives 13 units.
const TEXT: f64 = 16.0;
const INK: RGBColor = RGBColor(60, 64, 72);
const GRID: RGBColor = RGBColor(228, 231, 236);

/// More than so many times between the least and the most, and a scale is logarithmic.
const LINEAR: f64 = 8.0;

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) axis: Axis,
    pub(crate) shape: Shape,
    pub(crate) series: Vec<Series>,
}

/// What is drawn for a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The axis goes from left to right; each series is a line.
    Lines,
    /// The axis goes from top to bottom; each series is a dot in its rows, the first one full, the others hollow.
    Rows,
}

/// Where values are, and what stands there.
pub(crate) struct Axis {
    pub(crate) label: String,
    places: Vec<f64>,
    pub(crate) names: Vec<String>,
}

pub(crate) struct Series {
    pub(crate) name: String,
    /// One for each place of the axis.
    pub(crate) values: Vec<f64>,
}

impl Axis {
    /// Numbers on a logarithmic scale; those that follow each other and are equal are one.
    pub(crate) fn log(label: &str, numbers: impl Iterator<Item = usize>) -> Axis {
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.dedup();
        Axis {
            label: label.to_owned(),
            places: numbers.iter().map(|&n| (n as f64).log10()).collect(),
            names: numbers.iter().map(|&n| round(n as f64)).collect(),
        }
    }

    /// Names at equal distances; those that follow each other and are equal are one.
    pub(crate) fn names(label: &str, names: impl Iterator<Item = String>) -> Axis {
        let mut names: Vec<String> = names.collect();
        names.dedup();
        Axis {
            label: label.to_owned(),
            places: (0..names.len()).map(|place| place as f64).collect(),
            names,
        }
    }

    fn ruler(&self) -> Ruler {
        let (first, last) = (self.places[0], self.places[self.places.len() - 1]);
        let margin = ((last - first) * 0.06).max(0.2);
        let names = self.names.iter().cloned();
        Ruler {
            ends: (first - margin, last + margin),
            ticks: self.places.iter().copied().zip(names).collect(),
        }
    }
}

/// The scale of values: linear from 0, or logarithmic.
struct Scale {
    log: bool,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Scale {
    fn fit(values: impl Iterator<Item = f64> + Clone, never_linear: bool) -> Scale {
        let positive = values.filter(|value| *value > 0.0);
        let least = positive.clone().fold(f64::INFINITY, f64::min).min(1e12);
        let most = positive.fold(0.0, f64::max).max(least);
        if never_linear || most / least > LINEAR {
            let (low, high) = ((least * 0.8).log10(), (most * 1.25).log10());
            let steps: &[f64] = match high - low {
                decades if decades < 1.5 => &[1.0, 2.0, 3.0, 5.0],
                decades if decades < 3.0 => &[1.0, 3.0],
                _ => &[1.0],
            };
            let ticks = (low.floor() as i32..=high.ceil() as i32)
                .flat_map(|decade| steps.iter().map(move |step| decade as f64 + step.log10()))
                .filter(|tick| (low..=high).contains(tick))
                .collect();
            Scale {
                log: true,
                low,
                high,
                ticks,
            }
        } else {
            let rough = most / 5.0;
            let decade = 10_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * decade);
            let step = step.into_iter().find(|step| *step >= rough);
            let step = step.unwrap_or(10.0 * decade);
            Scale {
                log: false,
                low: 0.0,
                high: most * 1.1,
                ticks: (0..=5)
                    .map(|n| n as f64 * step)
                    .filter(|tick| *tick <= most * 1.1)
                    .collect(),
            }
        }
    }

    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn ruler(self) -> Ruler {
        let value = |tick: f64| if self.log { 10_f64.powf(tick) } else { tick };
        let named = |&tick: &f64| (tick, round(value(tick)));
        Ruler {
            ends: (self.low, self.high),
            ticks: self.ticks.iter().map(named).collect(),
        }
    }
}

/// One side of a chart: what lies between its ends, and what is written where.
struct Ruler {
    ends: (f64, f64),
    ticks: Vec<(f64, String)>,
}

impl Ruler {
    fn reversed(self) -> Ruler {
        Ruler {
            ends: (self.ends.1, self.ends.0),
            ..self
        }
    }
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        let part = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        pixels.0 + (part * f64::from(pixels.1 - pixels.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(place, _)| place == value);
        tick.map_or(String::new(), |(_, name)| name.clone())
    }
}

type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Ruler, Ruler>>;

impl Chart {
    fn scale(&self) -> Scale {
        let values = self.series.iter().flat_map(|series| series.values.iter());
        Scale::fit(values.copied(), self.shape == Shape::Rows)
    }

    /// The picture.
    pub(crate) fn svg(&self) -> io::Result<String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(io::Error::other)?;
        // The page gives it its size.
        let size = format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1);
        Ok(text.replacen(&size, "role=\"img\" ", 1))
    }

    fn draw(&self, text: &mut String) -> Result<(), String> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let (places, values) = (self.axis.ruler(), self.scale().ruler());
        let mut builder = ChartBuilder::on(&area);
        builder.margin(6).margin_right(14).x_label_area_size(46);
        let (left, x, y) = match self.shape {
            Shape::Lines => (58, places, values),
            Shape::Rows => (150, values, places.reversed()),
        };
        let mut context = builder
            .y_label_area_size(left)
            .build_cartesian_2d(x, y)
            .map_err(|error| error.to_string())?;
        self.grid(&mut context)?;
        match self.shape {
            Shape::Lines => self.lines(&mut context),
            Shape::Rows => self.rows(&mut context),
        }?;
        drop(context);
        area.present().map_err(|error| error.to_string())
    }

    /// Axes, and lines behind the values.
    fn grid(&self, context: &mut Context<'_>) -> Result<(), String> {
        let text = ("sans-serif", TEXT).into_font().color(&INK);
        context
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_desc(&self.axis.label)
            .draw()
            .map_err(|error| error.to_string())
    }

    fn lines(&self, context: &mut Context<'_>) -> Result<(), String> {
        let scale = self.scale();
        // The first ones last, on top of the others.
        for series in self.series.iter().rev() {
            let colour = rgb(colour(&series.name));
            let points = self.axis.places.iter().zip(&series.values);
            let points: Vec<(f64, f64)> = points
                .filter(|(_, value)| **value > 0.0)
                .map(|(&place, &value)| (place, scale.place(value)))
                .collect();
            let dots = points.iter().map(|&at| Circle::new(at, 4, colour.filled()));
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            context
                .draw_series(line)
                .map_err(|error| error.to_string())?;
            context
                .draw_series(dots)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn rows(&self, context: &mut Context<'_>) -> Result<(), String> {
        let scale = self.scale();
        for (number, series) in self.series.iter().enumerate().rev() {
            let rows = self.axis.places.iter().zip(&self.axis.names);
            let dots = series.values.iter().zip(rows);
            let dots = dots.filter(|(value, _)| **value > 0.0);
            let dots = dots.map(|(&value, (&place, name))| {
                let colour = rgb(colour(name));
                let style = match number {
                    0 => colour.filled(),
                    _ => colour.stroke_width(2),
                };
                Circle::new((scale.place(value), place), 5, style)
            });
            context
                .draw_series(dots)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The numbers: a row for each place of the axis, a column for each series.
    pub(crate) fn table(&self) -> String {
        let mut html = String::from("<div class=\"scroll\"><table><tr><th></th>");
        for series in &self.series {
            let _ = write!(html, "<th>{}</th>", series.name);
        }
        html.push_str("</tr>");
        for (row, name) in self.axis.names.iter().enumerate() {
            let _ = write!(html, "<tr><th>{name}</th>");
            for series in &self.series {
                let value = series.values.get(row).copied().unwrap_or(f64::NAN);
                let _ = write!(html, "<td>{}</td>", round(value));
            }
            html.push_str("</tr>");
        }
        html + "</table></div>"
    }

    /// What the colours and shapes mean.
    pub(crate) fn legend(&self) -> String {
        let entry = |(number, series): (usize, &Series)| match self.shape {
            Shape::Lines => format!(
                "<span><i style=\"background:{}\"></i>{}</span>",
                colour(&series.name),
                series.name
            ),
            Shape::Rows => {
                let class = if number == 0 { "full" } else { "hollow" };
                format!("<span><i class=\"{class}\"></i>{}</span>", series.name)
            }
        };
        let entries: String = self.series.iter().enumerate().map(entry).collect();
        format!("<p class=\"legend\">{entries}</p>")
    }
}

/// The same colour for the same candidate, on every chart: a set that the colour-blind can tell apart (Okabe and Ito),
/// and a dark shade of the first for a third number of threads.
pub(crate) fn colour(name: &str) -> &'static str {
    const COLOURS: [(&str, &str); 8] = [
        ("256 threads", "#7a3600"),
        ("64 threads", "#cc79a7"),
        ("thread", "#d55e00"),
        ("1 worker", "#56b4e9"),
        ("peu", "#0072b2"),
        ("mio", "#3c4048"),
        ("tokio", "#e69f00"),
        ("smol", "#009e73"),
    ];
    let found = COLOURS.iter().find(|(part, _)| name.contains(part));
    found.map_or("#888888", |(_, colour)| colour)
}

fn rgb(hex: &str) -> RGBColor {
    let part = |from: usize| u8::from_str_radix(&hex[from..from + 2], 16).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

/// Three digits, with a comma between thousands.
pub(crate) fn round(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part = part.trim_end_matches('0');
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match part {
        "" => grouped,
        part => format!("{grouped}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_commas() {
        let seen = [0.0, 0.256, 1.5, 23.45, 999.6, 12_345.6, 1e6, f64::NAN].map(round);
        let expected = [
            "0",
            "0.26",
            "1.5",
            "23.4",
            "1,000",
            "12,346",
            "1,000,000",
            "–",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_scale_is_logarithmic_where_values_lie_far_apart() {
        let near = Scale::fit([40.0, 100.0].into_iter(), false);
        assert!(!near.log);
        assert_eq!(near.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let far = Scale::fit([1.0, 10_000.0].into_iter(), false);
        assert_eq!(far.ticks, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(far.ruler().format_ext(&2.0), "100");
    }

    #[test]
    fn a_chart_shows_each_value_as_a_dot_and_as_a_number() {
        for shape in [Shape::Lines, Shape::Rows] {
            let chart = Chart {
                title: String::new(),
                unit: String::new(),
                axis: Axis::log("connections", [1, 1, 10].into_iter()),
                shape,
                series: vec![Series {
                    name: "peu".to_owned(),
                    values: vec![3.0, 7.5],
                }],
            };
            assert_eq!(chart.svg().unwrap().matches("<circle").count(), 2);
            let table = chart.table();
            assert!(table.contains("<td>3</td>") && table.contains("<td>7.5</td>"));
        }
    }
}
