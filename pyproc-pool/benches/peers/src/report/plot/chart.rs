//! Bars and lines, both on logarithmic scales where values are orders of magnitude apart.

use super::svg::{Anchor, Svg};

const TITLE: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 385.0;
/// Where the bars begin: their labels are before.
const LEFT_OF_BARS: f64 = 210.0;
const RIGHT_OF_BARS: f64 = 570.0;
const LEFT_OF_LINES: f64 = 70.0;
const RIGHT_OF_LINES: f64 = 420.0;
const OURS: &str = "#1f6fb2";
const OURS_TOO: &str = "#7db4de";
const THEIRS: &str = "#8a8a8a";
const THEIRS_TOO: &str = "#c4c4c4";
const COLORS: [&str; 12] = [
    "#7f7f7f", "#bcbd22", "#8c564b", "#e377c2", "#ff7f0e", "#9467bd", "#17becf", "#d62728",
    "#2ca02c", "#1f6fb2", "#0b3d66", "#6b8e23",
];

/// A value, or several on top of each other.
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

/// One row for each bar. The scale is logarithmic for single values, and begins at zero
/// for sums, whose parts could not be compared otherwise.
pub(crate) fn bars(svg: &mut Svg, title: &str, bars: &[Bar]) {
    svg.title(0.0, TITLE, title);
    let values = || bars.iter().map(Bar::sum).filter(|value| *value > 0.0);
    let (least, most) = (
        values().fold(f64::MAX, f64::min),
        values().fold(0.0, f64::max),
    );
    if most == 0.0 {
        return svg.text(0.0, TOP + 20.0, Anchor::Start, "not measured");
    }
    let stacked = bars.iter().any(|bar| bar.parts.len() > 1);
    let scale = if stacked {
        Scale::Linear { most }
    } else {
        Scale::logarithmic(least / 2.0, most)
    };
    let step = ((BOTTOM - TOP) / bars.len() as f64).min(30.0);
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + number as f64 * step;
        let middle = y + step / 2.0 + 4.0;
        svg.text(LEFT_OF_BARS - 8.0, middle, Anchor::End, &bar.label);
        let colors = match is_ours(&bar.label) {
            true => [OURS, OURS_TOO],
            false => [THEIRS, THEIRS_TOO],
        };
        let mut from = LEFT_OF_BARS;
        let mut sum = 0.0;
        for (part, color) in bar.parts.iter().zip(colors) {
            sum += part;
            let to = scale.place(sum, LEFT_OF_BARS, RIGHT_OF_BARS).max(from);
            svg.bar(from, y + 2.0, to - from, step - 4.0, color);
            from = to;
        }
        svg.text(from + 6.0, middle, Anchor::Start, &short(bar.sum()));
    }
}

/// Points joined by a line.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) fn lines(svg: &mut Svg, title: &str, axis: &str, lines: &[Line]) {
    svg.title(0.0, TITLE, title);
    let points = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .filter(|point| point.1 > 0.0)
    };
    if points().next().is_none() {
        return svg.text(0.0, TOP + 20.0, Anchor::Start, "not measured");
    }
    let bounds = |value: fn(&(f64, f64)) -> f64| {
        let values = || points().map(value);
        (
            values().fold(f64::MAX, f64::min),
            values().fold(0.0, f64::max),
        )
    };
    let ((left, right), (low, high)) = (bounds(|point| point.0), bounds(|point| point.1));
    let across = Scale::logarithmic(left, right);
    let up = Scale::logarithmic(low / 1.2, high * 1.2);
    let x = |value| across.place(value, LEFT_OF_LINES, RIGHT_OF_LINES);
    let y = |value| up.place(value, BOTTOM, TOP);

    for tick in ticks(low / 1.2, high * 1.2) {
        svg.rule((LEFT_OF_LINES, y(tick)), (RIGHT_OF_LINES, y(tick)));
        svg.text(
            LEFT_OF_LINES - 8.0,
            y(tick) + 4.0,
            Anchor::End,
            &short(tick),
        );
    }
    let mut seen: Vec<f64> = points().map(|point| point.0).collect();
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    for value in seen {
        svg.rule((x(value), TOP), (x(value), BOTTOM));
        svg.text(x(value), BOTTOM + 16.0, Anchor::Middle, &short(value));
    }
    let middle = (LEFT_OF_LINES + RIGHT_OF_LINES) / 2.0;
    svg.text(middle, BOTTOM + 34.0, Anchor::Middle, axis);

    for (number, line) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let dashed = !is_ours(&line.label);
        let places: Vec<_> = line
            .points
            .iter()
            .filter(|point| point.1 > 0.0)
            .map(|point| (x(point.0), y(point.1)))
            .collect();
        svg.path(&places, color, dashed);
        let key = TOP + 12.0 + number as f64 * 22.0;
        let side = RIGHT_OF_LINES + 20.0;
        svg.path(&[(side, key), (side + 26.0, key)], color, dashed);
        svg.text(side + 34.0, key + 4.0, Anchor::Start, &line.label);
    }
}

fn is_ours(label: &str) -> bool {
    label.starts_with("pyproc-")
}

enum Scale {
    Linear { most: f64 },
    Logarithmic { least: f64, most: f64 },
}

impl Scale {
    /// One value alone still has a place.
    fn logarithmic(least: f64, most: f64) -> Self {
        let most = if most > least { most } else { least * 2.0 };
        Self::Logarithmic { least, most }
    }

    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        let part = match self {
            Self::Linear { most } => value / most,
            Self::Logarithmic { least, most } => (value / least).ln() / (most / least).ln(),
        };
        from + (to - from) * part
    }
}

/// 1, 2 and 5 of each power of ten, or the powers alone where they are many.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let steps: &[f64] = if last - first > 3 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    (first..=last)
        .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
        .filter(|tick| (least..=most).contains(tick))
        .collect()
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
    fn a_logarithmic_scale_gives_equal_ratios_equal_lengths() {
        let scale = Scale::logarithmic(1.0, 100.0);
        let places = [1.0, 10.0, 100.0].map(|value| scale.place(value, 0.0, 10.0));
        assert_eq!(places, [0.0, 5.0, 10.0]);
    }

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(ticks(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks(3.0, 60_000.0), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.174, 45.26, 938.4, 17_300.0, 1_830_000.0, 4.0].map(short);
        assert_eq!(texts, ["0.17", "45.3", "938", "17 k", "1.83 M", "4"]);
    }
}
