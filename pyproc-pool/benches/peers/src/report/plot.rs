//! Draws the rows: one SVG file with six charts.

mod chart;

use std::path::Path;

use crate::{
    plan::{Placement, Runtime, Work},
    row::Row,
};
use anyhow::Result;
use plotters::prelude::*;

use chart::{Bar, Line, failed};

const SIZE: (u32, u32) = (1360, 1370);
const CAPTION: &str = "Blue and solid: pyproc. Grey and dashed: others. Times are on logarithmic scales, CPU is not: \
    the client's part is dark, the workers' light.";

pub(crate) fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let drawing = SVGBackend::new(path, SIZE).into_drawing_area();
    drawing.fill(&WHITE).map_err(failed)?;
    let (charts, caption) = drawing.split_vertically(SIZE.1 - 30);
    for (panel, area) in panels(rows).iter().zip(charts.split_evenly((3, 2))) {
        match panel {
            Panel::Bars { title, bars } => chart::bars(&area, title, bars)?,
            Panel::Lines { title, axis, lines } => chart::lines(&area, title, axis, lines)?,
        }
    }
    let caption_style = ("sans-serif", 12);
    caption
        .draw(&Text::new(CAPTION, (20, 8), caption_style))
        .map_err(failed)?;
    drawing.present().map_err(failed)?;
    println!("drawn to {}", path.display());
    Ok(())
}

enum Panel {
    Bars {
        title: &'static str,
        bars: Vec<Bar>,
    },
    Lines {
        title: &'static str,
        axis: &'static str,
        lines: Vec<Line>,
    },
}

fn panels(rows: &[Row]) -> [Panel; 6] {
    let sequential = |work: Work| {
        let rows = rows
            .iter()
            .filter(move |row| row.work == work && row.in_flight == 1 && settled(row));
        rows.map(|row| Bar::new(label(row), vec![row.p50_us]))
    };
    [
        Panel::Bars {
            title: "W1 predict({\"value\": 42}), one after another: median, µs",
            bars: sequential(Work::Pingpong)
                .chain(sequential(Work::W1))
                .collect(),
        },
        Panel::Lines {
            title: "W1, one worker: calls a second",
            axis: "calls in flight",
            lines: lines(
                rows,
                |row| row.work == Work::W1 && row.workers == 1,
                |row| row.in_flight,
            ),
        },
        Panel::Bars {
            title: "W1, 64 in flight, one worker: CPU µs a call, client and worker",
            bars: rows
                .iter()
                .filter(|row| row.work == Work::W1 && row.in_flight == 64 && row.workers <= 1)
                .filter(|row| settled(row))
                .map(|row| Bar::new(label(row), vec![row.cpu_us_client, row.cpu_us_worker]))
                .collect(),
        },
        Panel::Lines {
            title: "a millisecond of Python, 16 in flight: calls a second",
            axis: "workers",
            lines: lines(rows, |row| row.work == Work::Burn, |row| row.workers),
        },
        Panel::Bars {
            title: "W2 100 kB of JSON echoed, one after another: median, µs",
            bars: sequential(Work::W2).collect(),
        },
        Panel::Bars {
            title: "W3 one million float64 summed, one after another: median, µs",
            bars: sequential(Work::W3).collect(),
        },
    ]
}

/// Whether a row is pinned, or has nothing to pin.
fn settled(row: &Row) -> bool {
    row.rate_per_s == 0 && (row.placement == Placement::Apart || row.workers == 0)
}

fn lines(rows: &[Row], wanted: fn(&Row) -> bool, x: fn(&Row) -> usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| wanted(row) && row.rate_per_s == 0) {
        if row.work == Work::W1 && !settled(row) {
            continue;
        }
        let (label, point) = (label(row), (x(row) as f64, row.calls_per_s));
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label,
                points: vec![point],
            }),
        }
    }
    lines
}

fn label(row: &Row) -> String {
    match row.runtime {
        Runtime::MultiThread => format!("{}, multi-thread", row.peer),
        _ => row.peer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::row;

    #[test]
    fn a_drawing_names_every_peer_and_escapes_its_titles() {
        let mut rows = Vec::new();
        for (peer, in_flight) in [("alpha", 1), ("alpha", 64), ("beta", 64)] {
            let mut row = row(peer, Work::W1, in_flight);
            (row.p50_us, row.calls_per_s) = (45.0, 20_000.0);
            (row.cpu_us_client, row.cpu_us_worker) = (1.0, 2.0);
            rows.push(row);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        draw(&rows, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("alpha") && text.contains("beta"));
        assert!(text.contains("&quot;value&quot;"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }
}
