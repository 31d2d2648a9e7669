//! What a line costs: `cargo bench -p pyproc-logging`.
//!
//! All peers take turns within each round, and write to a sink in the thread that logs, so that only the
//! way from event to bytes is measured; the table has medians over the rounds. Compare within one run only.
//! Ends with an error if a bar is missed.

use std::{hint::black_box, io, process::ExitCode, time::Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use pyproc_logging::{Levels, LogFormat, LoggingBuilder, LoggingGuard};
use tracing::{Dispatch, debug, info, info_span, level_filters::LevelFilter};
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

const ROUNDS: usize = 25;
const EVENTS: u32 = 10_000;

/// A subscriber, and what must live as long.
type Peer = (Dispatch, Option<LoggingGuard>);

struct Case {
    name: &'static str,
    peer: fn() -> Peer,
    /// Runs so many events and returns how long they took, in ns.
    work: fn(u32) -> f64,
}

const CASES: &[Case] = &[
    Case {
        name: "in a span: json",
        peer: json,
        work: in_a_span,
    },
    Case {
        name: "in a span: bunyan formatter",
        peer: bunyan,
        work: in_a_span,
    },
    Case {
        name: "in a span: tracing-subscriber json",
        peer: fmt_json,
        work: in_a_span,
    },
    Case {
        name: "in a span: text",
        peer: text,
        work: in_a_span,
    },
    Case {
        name: "in a traced span: json",
        peer: traced_json,
        work: in_a_span,
    },
    Case {
        name: "in a traced span: bunyan formatter",
        peer: traced_bunyan,
        work: in_a_span,
    },
    Case {
        name: "in a traced span: tracing-subscriber json",
        peer: traced_fmt_json,
        work: in_a_span,
    },
    Case {
        name: "no span: json",
        peer: json,
        work: no_span,
    },
    Case {
        name: "no span: bunyan formatter",
        peer: bunyan,
        work: no_span,
    },
    Case {
        name: "no span: tracing-subscriber json",
        peer: fmt_json,
        work: no_span,
    },
    Case {
        name: "record of another process: json",
        peer: json,
        work: handed_on,
    },
    Case {
        name: "record of another process: bunyan formatter",
        peer: bunyan,
        work: handed_on,
    },
    Case {
        name: "record of another process: tracing-subscriber",
        peer: fmt_json,
        work: handed_on,
    },
    Case {
        name: "through the queue: json",
        peer: queued_json,
        work: in_a_span,
    },
    Case {
        name: "span: json",
        peer: json,
        work: spans,
    },
    Case {
        name: "span: bunyan's storage layer alone",
        peer: storage,
        work: spans,
    },
    Case {
        name: "span: tracing-subscriber json",
        peer: fmt_json,
        work: spans,
    },
    Case {
        name: "disabled: json",
        peer: queued_json,
        work: disabled,
    },
    Case {
        name: "disabled: level filter alone",
        peer: level_filter,
        work: disabled,
    },
    Case {
        name: "disabled: no subscriber",
        peer: nothing,
        work: disabled,
    },
];

fn main() -> ExitCode {
    let mut times = vec![Vec::new(); CASES.len()];
    for round in 0..=ROUNDS {
        for (case, times) in CASES.iter().zip(&mut times) {
            let (dispatch, guard) = (case.peer)();
            let time = tracing::dispatcher::with_default(&dispatch, || (case.work)(EVENTS));
            assert_eq!(guard.map_or(0, |guard| guard.handle().stats().dropped), 0);
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    for (case, time) in CASES.iter().zip(&medians) {
        println!("{:<44} {time:>8.1} ns", case.name);
    }
    let of = |name| {
        let position = CASES.iter().position(|case| case.name == name);
        position.map_or(f64::NAN, |at| medians[at])
    };
    bars(of)
}

fn bars(of: impl Fn(&'static str) -> f64) -> ExitCode {
    let json = of("in a span: json");
    let disabled = of("disabled: json");
    let bars = [
        (
            "json / bunyan formatter",
            json / of("in a span: bunyan formatter"),
            1.0,
        ),
        (
            "json / tracing-subscriber json",
            json / of("in a span: tracing-subscriber json"),
            0.5,
        ),
        // Both are a few tenths of a nanosecond, so a ratio alone would measure chance.
        (
            "disabled: ns more than a level filter",
            disabled - of("disabled: level filter alone"),
            1.0,
        ),
        (
            "disabled: ns more than no subscriber",
            disabled - of("disabled: no subscriber"),
            1.0,
        ),
    ];
    println!();
    let mut code = ExitCode::SUCCESS;
    for (name, value, bar) in bars {
        // Not a number misses every bar.
        let verdict = if value <= bar { "holds" } else { "MISSED" };
        if verdict == "MISSED" {
            code = ExitCode::FAILURE;
        }
        println!("{name:<44} {value:>8.2}  at most {bar}: {verdict}");
    }
    code
}

fn in_a_span(events: u32) -> f64 {
    let span = info_span!(
        "request",
        request_id = "r-17",
        user_id = 42,
        tenant = "acme"
    );
    let _entered = span.enter();
    no_span(events)
}

fn no_span(events: u32) -> f64 {
    timed(events, |number| {
        info!(
            function_name = "predict",
            duration_ms = number,
            "request completed"
        );
    })
}

/// As the pool hands on what a worker logs; others than this crate leave `fields` as it is.
fn handed_on(events: u32) -> f64 {
    timed(events, |number| {
        info!(
            target: "pyproc::python",
            worker_id = number,
            function_name = "predict",
            logger = "shop.cart",
            time_unix_nano = 1_705_314_645_123_456_789_u64,
            trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
            span_id = "00f067aa0ba902b7",
            trace_flags = "01",
            fields = r#"{"request_id":"r-17","user_id":42,"tenant":"acme"}"#,
            "request completed"
        );
    })
}

fn spans(events: u32) -> f64 {
    timed(events, |number| {
        let span = info_span!(
            "request",
            request_id = "r-17",
            user_id = number,
            tenant = "acme"
        );
        black_box(&span);
    })
}

fn disabled(events: u32) -> f64 {
    // Far more of them, as each takes no time to speak of.
    timed(events * 100, |number| {
        debug!(
            function_name = "predict",
            duration_ms = number,
            "request completed"
        );
    })
}

fn timed(events: u32, event: impl Fn(u32)) -> f64 {
    let start = Instant::now();
    for number in 0..events {
        event(black_box(number));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(events)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ours(builder: LoggingBuilder, traced: bool) -> Peer {
    let made = builder.level(Levels::INFO).writer(io::sink()).layer();
    #[allow(
        clippy::expect_used,
        reason = "without a log there is nothing to measure"
    )]
    let (log, guard) = made.expect("the settings are right");
    (with(log, traced), Some(guard))
}

fn with(layer: Box<dyn Layer<Registry> + Send + Sync>, traced: bool) -> Dispatch {
    let registry = Registry::default().with(layer);
    if traced {
        // Samples everything and exports nothing.
        let tracer = SdkTracerProvider::builder().build().tracer("bench");
        Dispatch::new(registry.with(tracing_opentelemetry::layer().with_tracer(tracer)))
    } else {
        Dispatch::new(registry)
    }
}

fn direct() -> LoggingBuilder {
    LoggingBuilder::default().queue_lines(0)
}

fn json() -> Peer {
    ours(direct(), false)
}

fn traced_json() -> Peer {
    ours(direct(), true)
}

fn text() -> Peer {
    ours(direct().format(LogFormat::Text), false)
}

fn queued_json() -> Peer {
    ours(LoggingBuilder::default(), false)
}

fn bunyan_layer() -> Box<dyn Layer<Registry> + Send + Sync> {
    JsonStorageLayer
        .and_then(BunyanFormattingLayer::new("bench".into(), io::sink))
        .boxed()
}

fn bunyan() -> Peer {
    (with(bunyan_layer(), false), None)
}

fn traced_bunyan() -> Peer {
    (with(bunyan_layer(), true), None)
}

fn fmt_layer() -> Box<dyn Layer<Registry> + Send + Sync> {
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(io::sink)
        .boxed()
}

fn fmt_json() -> Peer {
    (with(fmt_layer(), false), None)
}

fn traced_fmt_json() -> Peer {
    (with(fmt_layer(), true), None)
}

fn storage() -> Peer {
    (
        Dispatch::new(Registry::default().with(JsonStorageLayer)),
        None,
    )
}

fn level_filter() -> Peer {
    (
        Dispatch::new(Registry::default().with(LevelFilter::INFO)),
        None,
    )
}

fn nothing() -> Peer {
    (Dispatch::none(), None)
}
