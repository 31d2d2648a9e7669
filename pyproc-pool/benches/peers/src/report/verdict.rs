//! The bars that the project set itself, as ratios of rows of one run.

use std::fmt;

use crate::{
    plan::{
        Runtime::{self, CurrentThread, MultiThread},
        Work,
    },
    row::Row,
};

use crate::run::BARE_PYTHON;

const FLOOR: &str = "floor-uds-sleep";
const PUBLISHED: &str = "published-0.1.0";
const RIVALS: [&str; 5] = [
    "grpc-uds",
    "uvicorn-uds",
    "mosec",
    "multiprocessing",
    "pyzmq",
];

/// Whom a set of verdicts is about.
struct Ours {
    asleep: &'static str,
    spinning: Option<&'static str>,
}

/// The bars hold for the native core; how far the pure-Python loop gets is good to know.
const OURS: [Ours; 2] = [
    Ours {
        asleep: "pyproc-uds",
        spinning: Some("pyproc-uds-spin"),
    },
    Ours {
        asleep: "pyproc-pure",
        spinning: None,
    },
];

pub(crate) fn print_verdicts(rows: &[Row]) {
    for ours in &OURS {
        if rows.iter().any(|row| row.peer == ours.asleep) {
            for verdict in verdicts(ours, &Rows(rows)) {
                println!("{verdict}");
            }
            println!();
        }
    }
}

struct Verdict {
    what: String,
    /// None when a row is missing.
    value: Option<f64>,
    bar: Bar,
}

#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

use Bar::{AtLeast, AtMost};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bar) = match self.bar {
            AtMost(bar) => ("at most", bar),
            AtLeast(bar) => ("at least", bar),
        };
        let (value, verdict) = match (self.value, self.bar) {
            (None, _) => ("-".into(), "not measured"),
            (Some(value), AtMost(bar)) if value <= bar => (format!("{value:.3}"), "met"),
            (Some(value), AtLeast(bar)) if value >= bar => (format!("{value:.3}"), "met"),
            (Some(value), _) => (format!("{value:.3}"), "NOT MET"),
        };
        let what = &self.what;
        write!(f, "{verdict:<12} {value:>9}   {word:<8} {bar:<7} {what}")
    }
}

fn verdicts(ours: &Ours, rows: &Rows<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for runtime in [CurrentThread, MultiThread] {
        verdicts.extend(small_calls(ours.asleep, runtime, rows));
        verdicts.extend(ours.spinning.map(|peer| spinning(peer, runtime, rows)));
        verdicts.extend(large_calls(ours.asleep, runtime, rows));
        verdicts.push(scaling(ours.asleep, runtime, rows));
    }
    verdicts.extend(memory(ours.asleep, rows));
    verdicts.extend(
        [Some(ours.asleep), ours.spinning]
            .into_iter()
            .flatten()
            .map(|peer| idle(peer, rows)),
    );
    verdicts
}

fn small_calls(peer: &str, runtime: Runtime, rows: &Rows<'_>) -> [Verdict; 4] {
    let of = format!("{peer}, {}:", runtime.name());
    let busy = rows.find(peer, Work::W1, Some(runtime), 1, 64);
    let published = rows.find(PUBLISHED, Work::W1, None, 1, 64);
    let rivals = rows.rivals();
    let rival = best(&rivals);
    [
        Verdict {
            what: format!("{of} W1 one after another, p50 / {FLOOR}"),
            value: ratio(rows.sequential(peer, Work::W1, Some(runtime)), rows.floor()),
            bar: AtMost(1.1),
        },
        Verdict {
            what: format!("{of} W1 with 64 in flight, calls a second / {PUBLISHED}"),
            value: ratio(busy.map(throughput), published.map(throughput)),
            bar: AtLeast(8.0),
        },
        Verdict {
            what: format!(
                "{of} W1 with 64 in flight, calls a second / best of {} peers ({})",
                rivals.len(),
                rival.map_or("none", |row| &row.peer)
            ),
            value: ratio(busy.map(throughput), rival.map(throughput)),
            bar: AtLeast(4.0),
        },
        Verdict {
            what: format!("{of} W1 with 64 in flight, CPU µs a call, both sides"),
            value: busy.map(|row| row.cpu_us_client + row.cpu_us_worker),
            bar: AtMost(2.0),
        },
    ]
}

fn spinning(peer: &str, runtime: Runtime, rows: &Rows<'_>) -> Verdict {
    Verdict {
        what: format!(
            "{peer}, {}: W1 one after another, p50 / {FLOOR}",
            runtime.name()
        ),
        value: ratio(rows.sequential(peer, Work::W1, Some(runtime)), rows.floor()),
        bar: AtMost(0.125),
    }
}

fn large_calls(peer: &str, runtime: Runtime, rows: &Rows<'_>) -> [Verdict; 4] {
    let of = format!("{peer}, {}:", runtime.name());
    let document = rows.sequential(peer, Work::W2, Some(runtime));
    let beside = |other: &str, work: Work, bar: f64| Verdict {
        what: format!("{of} {} one after another, p50 / {other}", work.name()),
        value: ratio(
            rows.sequential(peer, work, Some(runtime)),
            rows.sequential(other, work, None),
        ),
        bar: AtMost(bar),
    };
    let row = rows.find(peer, Work::W2, Some(runtime), 1, 1);
    [
        beside("uvicorn-uds", Work::W2, 0.8),
        beside("pyo3-pythonize", Work::W2, 0.65),
        Verdict {
            what: format!("{of} W2 one after another, p99 / p50"),
            value: ratio(row.map(|row| row.p99_us), document),
            bar: AtMost(1.3),
        },
        beside("pyzmq", Work::W3, 0.3),
    ]
}

fn scaling(peer: &str, runtime: Runtime, rows: &Rows<'_>) -> Verdict {
    let calls = |workers| {
        let row = rows.find(peer, Work::Burn, Some(runtime), workers, 16);
        row.map(throughput)
    };
    Verdict {
        what: format!(
            "{peer}, {}: burn1ms, calls a second of two workers / one",
            runtime.name()
        ),
        value: ratio(calls(2), calls(1)),
        bar: AtLeast(1.9),
    }
}

fn memory(peer: &str, rows: &Rows<'_>) -> [Verdict; 3] {
    let runtime = Some(CurrentThread);
    let worker = rows.find(peer, Work::Idle, runtime, 1, 0);
    let bare = rows.find(BARE_PYTHON, Work::Idle, None, 1, 0);
    let heap = |work, workers, calls| {
        let row = rows.find(peer, work, runtime, workers, calls);
        row.map(|row| row.heap_client_kib as f64)
    };
    [
        Verdict {
            what: format!("{peer}: worker's RSS above a bare interpreter's, KiB"),
            value: difference(
                worker.map(|row| row.rss_worker_kib as f64),
                bare.map(|row| row.rss_worker_kib as f64),
            ),
            bar: AtMost(4096.0),
        },
        Verdict {
            what: format!("{peer}: the pool's memory for each worker (of 4 beside 1), KiB"),
            value: difference(heap(Work::Idle, 4, 0), heap(Work::Idle, 1, 0)).map(|kib| kib / 3.0),
            bar: AtMost(64.0),
        },
        Verdict {
            what: format!("{peer}: memory for each of 4096 calls, their futures included, KiB"),
            value: difference(heap(Work::Held, 1, 4096), heap(Work::Held, 1, 0))
                .map(|kib| kib / 4096.0),
            bar: AtMost(1.0),
        },
    ]
}

/// `top` shows a tenth of a percent.
fn idle(peer: &str, rows: &Rows<'_>) -> Verdict {
    let row = rows.find(peer, Work::Idle, Some(CurrentThread), 4, 0);
    Verdict {
        what: format!("{peer}: idle, pool and 4 workers, CPU in percent of a core"),
        value: row.map(|row| (row.cpu_us_client + row.cpu_us_worker) / 1e4),
        bar: AtMost(0.1),
    }
}

fn throughput(row: &Row) -> f64 {
    row.calls_per_s
}

fn ratio(value: Option<f64>, base: Option<f64>) -> Option<f64> {
    Some(value? / base?)
}

fn difference(value: Option<f64>, base: Option<f64>) -> Option<f64> {
    Some(value? - base?)
}

struct Rows<'a>(&'a [Row]);

impl Rows<'_> {
    /// The closed loop, idle or held row of that kind, pinned if there is a pinned one.
    fn find(
        &self,
        peer: &str,
        work: Work,
        runtime: Option<Runtime>,
        workers: usize,
        in_flight: usize,
    ) -> Option<&Row> {
        let fits = |row: &&Row| {
            row.peer == peer
                && row.work == work
                && runtime.is_none_or(|runtime| row.runtime == runtime)
                // The in-process peers have no workers.
                && (row.workers == workers || row.workers == 0)
                && row.in_flight == in_flight
                && row.rate_per_s == 0
        };
        self.0.iter().filter(fits).min_by_key(|row| row.placement)
    }

    fn sequential(&self, peer: &str, work: Work, runtime: Option<Runtime>) -> Option<f64> {
        self.find(peer, work, runtime, 1, 1).map(|row| row.p50_us)
    }

    fn floor(&self) -> Option<f64> {
        self.sequential(FLOOR, Work::Pingpong, None)
    }

    /// Those that were measured.
    fn rivals(&self) -> Vec<&Row> {
        let row = |rival: &&str| self.find(rival, Work::W1, None, 1, 64);
        RIVALS.iter().filter_map(row).collect()
    }
}

fn best<'a>(rivals: &[&'a Row]) -> Option<&'a Row> {
    let by_calls = |a: &&&Row, b: &&&Row| a.calls_per_s.total_cmp(&b.calls_per_s);
    rivals.iter().max_by(by_calls).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::row;

    fn verdict(value: Option<f64>, bar: Bar) -> String {
        let what = "that".into();
        Verdict { what, value, bar }.to_string()
    }

    #[test]
    fn a_bar_is_met_on_its_own_side_only() {
        assert!(verdict(Some(1.1), AtMost(1.1)).starts_with("met"));
        assert!(verdict(Some(1.2), AtMost(1.1)).starts_with("NOT MET"));
        assert!(verdict(Some(8.0), AtLeast(8.0)).starts_with("met"));
        assert!(verdict(Some(7.9), AtLeast(8.0)).starts_with("NOT MET"));
        assert!(verdict(None, AtLeast(8.0)).starts_with("not measured"));
    }

    #[test]
    fn the_floor_is_compared_with_the_sequential_call() {
        let mut floor = row(FLOOR, Work::Pingpong, 1);
        floor.p50_us = 40.0;
        let mut ours = row("pyproc-uds", Work::W1, 1);
        ours.p50_us = 50.0;
        let rows = [floor, ours];
        let [sequential, ..] = small_calls("pyproc-uds", CurrentThread, &Rows(&rows));
        assert_eq!(sequential.value, Some(1.25));
        let [other, ..] = small_calls("pyproc-uds", MultiThread, &Rows(&rows));
        assert_eq!(other.value, None);
    }

    #[test]
    fn the_rival_is_the_fastest_of_the_peers() {
        let rival = |peer: &str, calls_per_s| {
            let mut row = row(peer, Work::W1, 64);
            row.calls_per_s = calls_per_s;
            row
        };
        let rows = [
            rival("mosec", 10.0),
            rival("pyzmq", 30.0),
            rival("grpc-uds", 20.0),
            rival("pyproc-pure", 90.0),
        ];
        let rows = Rows(&rows);
        let rivals = rows.rivals();
        assert_eq!(rivals.len(), 3);
        assert_eq!(best(&rivals).unwrap().peer, "pyzmq");
    }
}
