//! Bar charts and line charts. Scales are logarithmic where values differ by orders of magnitude.

use std::error::Error;

use anyhow::{Result, anyhow};
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const OURS: [RGBColor; 2] = [RGBColor(31, 111, 178), RGBColor(125, 180, 222)];
const OTHERS: [RGBColor; 2] = [RGBColor(138, 138, 138), RGBColor(196, 196, 196)];
const LABELS_WIDTH: u32 = 200;
/// Lengths in pixels of the dashes, and between them.
const DASH: u32 = 5;
const GAP: u32 = 3;
const FONT: (&str, i32) = ("sans-serif", 12);
const TITLE: (&str, i32) = ("sans-serif", 15);

/// A value, or the parts of a sum.
pub(crate) struct Bar {
    label: String,
    parts: Vec<f64>,
}

impl Bar {
    pub(crate) fn new(label: String, parts: Vec<f64>) -> Self {
        Self { label, parts }
    }

    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// One row for each bar. The scale is logarithmic for single values. It begins at zero for sums, so that their parts can
/// be compared.
pub(crate) fn bars(area: &Area<'_>, title: &str, bars: &[Bar]) -> Result<()> {
    let sums = bars.iter().map(Bar::sum).filter(|sum| *sum > 0.0);
    let Some((least, most)) = range(sums) else {
        return not_measured(area, title);
    };
    if bars.iter().any(|bar| bar.parts.len() > 1) {
        bars_on(area, title, bars, 0.0..most * 1.2, 0.0)
    } else {
        let scale = (least / 2.0..most * 1.5).log_scale();
        bars_on(area, title, bars, scale, least / 2.0)
    }
}

fn bars_on<S>(area: &Area<'_>, title: &str, bars: &[Bar], scale: S, origin: f64) -> Result<()>
where
    S: AsRangedCoord<Value = f64>,
    S::CoordDescType: ValueFormatter<f64>,
{
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(8)
        .set_label_area_size(LabelAreaPosition::Left, LABELS_WIDTH)
        .build_cartesian_2d(scale, rows..0.0)
        .map_err(failed)?;
    for (number, bar) in bars.iter().enumerate() {
        let (top, middle) = (number as f64, number as f64 + 0.5);
        let colors = if is_ours(&bar.label) { OURS } else { OTHERS };
        let mut from = origin;
        let mut sum = 0.0;
        for (part, color) in bar.parts.iter().zip(colors) {
            sum += part;
            let corners = [(from, top + 0.1), (sum, top + 0.9)];
            let rectangle = Rectangle::new(corners, color.filled());
            chart.draw_series([rectangle]).map_err(failed)?;
            from = sum;
        }
        let text = |text: String, x: f64, anchor| {
            Text::new(text, (x, middle), FONT.into_text_style(area).pos(anchor))
        };
        let [before, after] = [HPos::Right, HPos::Left].map(|side| Pos::new(side, VPos::Center));
        let texts = [
            text(format!("{} ", bar.label), origin, before),
            text(format!(" {}", short(bar.sum())), from, after),
        ];
        chart.draw_series(texts).map_err(failed)?;
    }
    Ok(())
}

/// Points joined by a line.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines on logarithmic scales: solid for this project, dashed for others.
pub(crate) fn lines(area: &Area<'_>, title: &str, axis: &str, lines: &[Line]) -> Result<()> {
    let points = || {
        let points = lines.iter().flat_map(|line| &line.points);
        points.filter(|point| point.1 > 0.0)
    };
    let ranges = range(points().map(|point| point.0)).zip(range(points().map(|point| point.1)));
    let Some(((left, right), (low, high))) = ranges else {
        return not_measured(area, title);
    };
    let across = (left..right.max(left * 2.0)).log_scale().base(2.0);
    let up = (low / 1.2..high * 1.2).log_scale();
    let (width, _) = area.dim_in_pixel();
    let (area, key) = area.split_horizontally(width - LABELS_WIDTH);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, TITLE)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(across, up)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style(FONT)
        .draw()
        .map_err(failed)?;
    for (number, line) in lines.iter().enumerate() {
        let style = Palette99::pick(number).stroke_width(2);
        let measured = line.points.iter().copied().filter(|point| point.1 > 0.0);
        let dots = measured.clone().map(|point| Circle::new(point, 3, style));
        chart.draw_series(dots).map_err(failed)?;
        let y = 50 + 22 * number as i32;
        let in_key = [(8, y), (34, y)];
        if is_ours(&line.label) {
            let series = LineSeries::new(measured, style);
            chart.draw_series(series).map_err(failed)?;
            key.draw(&PathElement::new(in_key, style)).map_err(failed)?;
        } else {
            let series = DashedLineSeries::new(measured, DASH, GAP, style);
            chart.draw_series(series).map_err(failed)?;
            let dashes = DashedPathElement::new(in_key, DASH, GAP, style);
            key.draw(&dashes).map_err(failed)?;
        }
        let label = Text::new(line.label.clone(), (42, y - 6), FONT);
        key.draw(&label).map_err(failed)?;
    }
    Ok(())
}

fn is_ours(label: &str) -> bool {
    label.starts_with("pyproc-")
}

/// The least and the largest value; `None` without values.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (least, most) = range.unwrap_or((value, value));
        Some((value.min(least), value.max(most)))
    })
}

fn not_measured(area: &Area<'_>, title: &str) -> Result<()> {
    let below = area.titled(title, TITLE).map_err(failed)?;
    let text = Text::new("not measured", (8, 8), FONT);
    below.draw(&text).map_err(failed)
}

pub(crate) fn failed(error: impl Error) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// Three digits, and a thousand as `k`.
fn short(value: f64) -> String {
    match value {
        _ if value >= 999_500.0 => format!("{:.2} M", value / 1e6),
        _ if value >= 9_950.0 => format!("{:.0} k", value / 1e3),
        _ if value >= 99.5 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if value >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.174, 45.26, 938.4, 17_300.0, 1_830_000.0, 4.0].map(short);
        assert_eq!(texts, ["0.17", "45.3", "938", "17 k", "1.83 M", "4"]);
    }
}
