//! What a pool and its workers say, as `tracing` events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use events::{Events, listen};
use pyproc_pool::{
    Error, LogLevel, Pool, WorkerOutput,
    observe::{CallEnd, CallObserver, CallStart, Carried, Observer, Reporter, Wants, WorkerRecord},
    protocol::v2::{
        TraceContext,
        telemetry::{
            LogRecord, LostRecord, Metric, MetricData, MetricsRecord, Record, SpanId, TraceId,
        },
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sidecar::{Reply, serve_reporting};
use support::{LONG, Scratch, cores, odd, ours, pids, poll_once, until};
use tracing::{Instrument, Level};

const POOL: &str = "pyproc::pool";
const OUTPUT: &str = "pyproc::output";
const PYTHON: &str = "pyproc::python";

fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    fields
        .map(|(name, value)| (name, value.into()))
        .into_iter()
        .collect()
}

/// Calls that completed, as level, span and fields other than the duration.
fn completed(events: &Events) -> Vec<(Level, BTreeMap<&'static str, String>)> {
    let told = events.of(POOL).into_iter();
    told.filter(|it| it.message() == "call completed")
        .map(|it| {
            let millis: f64 = it.fields["duration_ms"].parse().unwrap();
            assert!(millis > 0.0, "{it:?}");
            (it.level, it.fields_without(&["duration_ms", "message"]))
        })
        .collect()
}

#[tokio::test]
async fn a_call_that_completed_is_said_in_the_span_of_its_caller() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).start().await.unwrap();
    let call = pool.call::<_, u8>("echo", &7);
    call.instrument(tracing::info_span!("of the caller"))
        .await
        .unwrap();
    let spans: Vec<_> = events.of(POOL).iter().map(|it| it.span).collect();
    assert_eq!(spans.last(), Some(&Some("of the caller")));
    let expected = fields([
        ("function_name", "echo"),
        ("worker_id", "0"),
        ("status", "success"),
    ]);
    assert_eq!(completed(&events), [(Level::DEBUG, expected)]);
}

/// Puts each call into the same span.
#[derive(Debug)]
struct InSpan;

impl Observer for InSpan {
    fn begin(&self, _: &CallStart<'_>) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(Self))
    }
}

impl CallObserver for InSpan {
    fn carry(&mut self, carried: &mut Carried<'_>) {
        carried.trace = Some(TraceContext {
            trace_id: [7; 16],
            span_id: [8; 8],
            flags: 1,
        });
        carried.caller_span_id = Some([9; 8]);
    }

    fn end(self: Box<Self>, _: &CallEnd<'_>) {}
}

#[tokio::test]
async fn a_call_that_has_a_span_is_said_with_its_ids() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).observer(Arc::new(InSpan)).start().await.unwrap();
    let _: u8 = pool.call("echo", &7).await.unwrap();
    let said = &completed(&events)[0].1;
    assert_eq!(said["trace_id"], "07".repeat(16));
    assert_eq!(said["span_id"], "09".repeat(8));
    assert_eq!(said["trace_flags"], "01");
}

#[tokio::test]
async fn calls_that_fail_are_warned_of_and_bodies_are_not_said() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    assert!(pool.call::<_, Value>("fail", &"no").await.is_err());
    assert!(pool.call::<_, u8>("echo", &"secret").await.is_err());
    let slow = pool.request("never", &1).timeout(Duration::from_millis(20));
    assert!(slow.call::<Value>().await.is_err());
    // The pool is full: that is said once, and not for each call.
    for _ in 0..3 {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    let said = completed(&events);
    let statuses: Vec<_> = said
        .iter()
        .map(|(level, it)| (*level, it["status"].as_str()))
        .collect();
    let expected = ["error", "decode", "timeout"].map(|status| (Level::WARN, status));
    assert_eq!(statuses, expected);
    assert_eq!(said[0].1["error"], "`fail` raised an error: no");
    assert_eq!(said[2].1["worker_id"], "0");
    assert!(!format!("{said:?}").contains("secret"));
    assert_eq!(rejected(&events)[0], 1);
}

/// The counts of the events that say that the pool is full.
fn rejected(events: &Events) -> Vec<usize> {
    let told = events.of(POOL).into_iter();
    told.filter(|it| it.message() == "queue full")
        .map(|it| it.fields["rejected"].parse().unwrap())
        .collect()
}

#[tokio::test]
async fn all_calls_that_are_refused_are_counted_soon_and_not_one_by_one() {
    const BURST: usize = 1000;
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    let mut running = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(running.as_mut()).is_pending());
    for _ in 0..BURST {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    let counted = || rejected(&events).iter().sum::<usize>();
    until("all are counted", || counted() == BURST).await;
    assert!(rejected(&events).len() < BURST / 10);
}

#[tokio::test]
async fn calls_that_are_refused_are_counted_before_the_pool_is_gone() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    let mut running = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(running.as_mut()).is_pending());
    for _ in 0..3 {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    drop(running);
    drop(pool);
    assert_eq!(rejected(&events).iter().sum::<usize>(), 3);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_said_to_be_abandoned() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).start().await.unwrap();
    let mut call = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    let expected = fields([
        ("function_name", "never"),
        ("worker_id", "0"),
        ("status", "abandoned"),
    ]);
    assert_eq!(completed(&events), [(Level::DEBUG, expected)]);
}

#[tokio::test]
async fn slow_calls_are_warned_of_and_the_level_of_others_is_the_users() {
    let (events, _guard) = listen(Level::TRACE);
    let one = odd(1).call_log(LogLevel::Info).start().await.unwrap();
    let _: u8 = one.call("echo", &1).await.unwrap();
    let all_slow = odd(1).slow_call(Duration::from_nanos(1)).start();
    let _: u8 = all_slow.await.unwrap().call("echo", &1).await.unwrap();
    let silent = odd(1).call_log(LogLevel::Off).start().await.unwrap();
    assert!(silent.call::<_, Value>("fail", &1).await.is_err());
    let levels: Vec<_> = completed(&events).iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::INFO, Level::WARN]);
}

#[tokio::test]
async fn the_life_of_a_worker_is_said_from_its_start_to_its_end() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).call_log(LogLevel::Off).start().await.unwrap();
    assert!(pool.call::<_, Value>("exit_with", &3).await.is_err());
    until("it is replaced", || pool.stats().restarts == 1).await;
    pool.shutdown(LONG).await;
    let expected = [
        "worker started",
        "worker ready",
        "worker died",
        "worker started",
        "worker restarted",
        "worker stopped",
    ];
    assert_eq!(events.messages(POOL), expected);
    let died = &events.of(POOL)[2];
    assert_eq!(died.level, Level::WARN);
    assert_eq!(died.fields["reason"], "worker_unavailable");
    let error = &died.fields["error"];
    assert!(error.contains("exit status: 3"), "{error}");
    assert_eq!(events.of(POOL)[4].fields["restarts"], "1");
}

#[tokio::test]
async fn what_a_worker_prints_comes_line_by_line() {
    let (events, _guard) = listen(Level::INFO);
    // A subscriber is there, so that this is what is done by default.
    let pool = odd(1).output(WorkerOutput::Auto).start().await.unwrap();
    let json = r#"{"levelname": "WARNING", "name": "shop", "message": "low", "left": 3}"#;
    let stdout = format!("one\n{json}\nhalf");
    let stderr =
        "ERROR:shop.cart:no\nTraceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'\n";
    let _: Value = pool
        .call("say", &json!({"1": stdout, "2": stderr}))
        .await
        .unwrap();
    until("all is said", || events.of(OUTPUT).len() == 5).await;
    let of = |stream: &str| {
        let told = events.of(OUTPUT).into_iter();
        told.filter(|it| it.fields["stream"] == stream)
            .map(|it| (it.level, it.fields_without(&["stream"])))
            .collect::<Vec<_>>()
    };
    let line = |text| (Level::INFO, fields([("message", text), ("worker_id", "0")]));
    let low = fields([
        ("message", "low"),
        ("worker_id", "0"),
        ("logger", "shop"),
        ("fields", r#"{"left":3}"#),
    ]);
    assert_eq!(
        of("stdout"),
        [line("one"), (Level::WARN, low), line("half")]
    );
    let no = fields([
        ("message", "no"),
        ("worker_id", "0"),
        ("logger", "shop.cart"),
    ]);
    let traceback = "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'";
    let raised = fields([
        ("message", "KeyError: 'x'"),
        ("worker_id", "0"),
        ("exception", traceback),
    ]);
    assert_eq!(of("stderr"), [(Level::ERROR, no), (Level::ERROR, raised)]);
}

#[tokio::test]
async fn json_that_is_deep_does_no_harm() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).output(WorkerOutput::Log).start().await.unwrap();
    // Serde reads no deeper than 127.
    let nested = |depth| {
        let value = "[".repeat(depth) + &"]".repeat(depth);
        format!("{{\"message\": \"deep\", \"value\": {value}}}\n")
    };
    let lines = nested(126) + &nested(30_000);
    let _: Value = pool.call("say", &json!({"1": lines})).await.unwrap();
    until("both are said", || events.of(OUTPUT).len() == 2).await;
    let told = events.of(OUTPUT);
    assert_eq!(told[0].message(), "deep");
    assert!(told[0].fields["fields"].len() > 250);
    assert!(told[1].message().starts_with(r#"{"message": "deep""#));
}

#[tokio::test]
async fn what_a_worker_wrote_before_it_died_is_said_before_its_death() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).output(WorkerOutput::Log).start().await.unwrap();
    let last = "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'";
    let error = pool.call::<_, Value>("say_and_die", &last).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(last),
        "it is kept for the error, too: {error}"
    );
    let all = events.all_messages();
    let order = ["worker ready", "KeyError: 'x'", "worker died"];
    assert_eq!(all[..3], order, "{all:?}");
}

#[tokio::test]
async fn of_a_flood_as_much_is_said_as_allowed_and_the_rest_is_counted() {
    const LINES: usize = 50_000;
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1)
        .output(WorkerOutput::Log)
        .log_rate(100)
        .start()
        .await
        .unwrap();
    let flood = json!({"2": "a line of some length\n", "times": LINES});
    let _: Value = pool.call("say", &flood).await.unwrap();
    let said = || events.of(OUTPUT).len();
    let dropped = || {
        let told = events.of(POOL).into_iter();
        let dropped = told.filter(|it| it.message() == "lines dropped");
        dropped
            .map(|it| it.fields["count"].parse::<usize>().unwrap())
            .sum::<usize>()
    };
    until("all is said or counted", || said() + dropped() == LINES).await;
    let (said, dropped) = (said(), dropped());
    assert!(said >= 100, "{said}");
    assert!(
        dropped > LINES / 2,
        "all was read in a moment: {said} said, {dropped} dropped"
    );
}

/// A sidecar that reports `records` with each call, and a pool that calls it.
async fn reporting(
    sockets: &Scratch,
    observers: Vec<Arc<dyn Observer>>,
    reply: impl Fn(&Value) -> Vec<Record> + Send + 'static,
) -> Pool {
    let socket = sockets.path().join("sidecar.sock");
    serve_reporting(&socket, move |request| {
        let body: Value = serde_json::from_slice(&request.body.bytes).unwrap();
        Reply {
            hang_up: body == json!("hang up"),
            ..Reply::echo(request, reply(&body))
        }
    });
    let mut builder = Pool::builder()
        .external_sockets([&socket])
        .output(WorkerOutput::Log);
    for observer in observers {
        builder = builder.observer(observer);
    }
    builder.start().await.unwrap()
}

fn log(message: &str) -> LogRecord {
    LogRecord {
        time: 5,
        level: 20,
        message: message.into(),
        ..LogRecord::default()
    }
}

#[tokio::test]
async fn a_record_of_logging_becomes_an_event_with_all_that_it_says() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let full = LogRecord {
        time: 1_795_262_400_000_000_007,
        level: 50,
        logger: "shop.cart".into(),
        thread: Some("MainThread".into()),
        exception: Some("Traceback ...".into()),
        function: Some("predict".into()),
        trace_id: TraceId::new([1; 16]),
        span_id: SpanId::new([2; 8]),
        trace_flags: Some(1),
        fields: json!({"left": 3}).as_object().unwrap().clone(),
        baggage: [("request_id".into(), "r-1".into())].into(),
        ..log("low")
    };
    let quiet = LogRecord {
        level: 10,
        ..log("not heard")
    };
    let records = vec![
        Record::Log(full),
        Record::Log(quiet),
        Record::Log(log("plain")),
    ];
    let pool = reporting(&sockets, vec![], move |_| records.clone()).await;
    let _: u8 = pool.call("listed", &1).await.unwrap();
    until("both are said", || events.of(PYTHON).len() == 2).await;
    let told = events.of(PYTHON);
    assert_eq!((told[0].level, told[1].level), (Level::ERROR, Level::INFO));
    assert_eq!(
        told[0].fields,
        fields([
            ("message", "low"),
            ("worker_id", "0"),
            ("function_name", "predict"),
            ("logger", "shop.cart"),
            ("thread", "MainThread"),
            ("exception", "Traceback ..."),
            ("trace_id", "01010101010101010101010101010101"),
            ("span_id", "0202020202020202"),
            ("trace_flags", "01"),
            ("time_unix_nano", "1795262400000000007"),
            ("fields", r#"{"left":3,"request_id":"r-1"}"#),
            ("python_level", "CRITICAL"),
        ])
    );
    let plain = [
        ("message", "plain"),
        ("worker_id", "0"),
        ("time_unix_nano", "5"),
    ];
    assert_eq!(told[1].fields, fields(plain));
}

#[tokio::test]
async fn lines_that_the_worker_itself_passes_on_are_output_with_the_ids_of_their_call() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let line = |text: &str| {
        Record::Log(LogRecord {
            stream: Some("stderr".into()),
            function: Some("predict".into()),
            trace_id: TraceId::new([1; 16]),
            ..log(text)
        })
    };
    let lines = ["Traceback (most recent call last):", "  File", "KeyError"];
    let records: Vec<_> = lines.map(line).into();
    let pool = reporting(&sockets, vec![], move |_| records.clone()).await;
    let _: u8 = pool.call("listed", &1).await.unwrap();
    until("it is said", || !events.of(OUTPUT).is_empty()).await;
    let told = &events.of(OUTPUT)[0];
    assert_eq!((told.level, told.message()), (Level::ERROR, "KeyError"));
    assert_eq!(told.fields["exception"], lines.join("\n"));
    assert_eq!(told.fields["function_name"], "predict");
    assert_eq!(told.fields["stream"], "stderr");
    assert_eq!(told.fields["trace_id"], "01010101010101010101010101010101");
}

#[tokio::test]
async fn what_a_worker_reported_before_it_was_gone_is_said_before_its_death() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let records = vec![Record::Log(log("last"))];
    let pool = reporting(&sockets, vec![], move |_| records.clone()).await;
    let answered: String = pool.call("listed", "hang up").await.unwrap();
    assert_eq!(answered, "hang up");
    until("its death is said", || events.has("worker died")).await;
    let all = events.all_messages();
    assert_eq!(all[..3], ["worker ready", "last", "worker died"], "{all:?}");
}

#[tokio::test]
async fn records_beyond_the_rate_are_counted() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    serve_reporting(&socket, |request| {
        Reply::echo(request, vec![Record::Log(log("again")); 1000])
    });
    let builder = Pool::builder().external_sockets([&socket]).log_rate(10);
    let pool = builder.start().await.unwrap();
    let _: u8 = pool.call("listed", &1).await.unwrap();
    let counted = || {
        let said = events.of(PYTHON).len();
        let lost = events.of(POOL).into_iter();
        let lost = lost.filter(|it| it.message() == "records lost");
        said + lost
            .map(|it| it.fields["count"].parse::<usize>().unwrap())
            .sum::<usize>()
    };
    until("all are said or counted", || counted() == 1000).await;
    assert!(events.of(PYTHON).len() < 100);
}

/// Keeps what it is told, after it was let to.
#[derive(Debug)]
struct Keeper {
    wants: Wants,
    told: Mutex<Vec<String>>,
    gate: Option<Mutex<mpsc::Receiver<()>>>,
}

impl Keeper {
    fn new(spans: bool, metrics: bool) -> Self {
        Self {
            wants: Wants { spans, metrics },
            told: Mutex::default(),
            gate: None,
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Observer for Keeper {
    fn begin(&self, _: &CallStart<'_>) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn wants(&self) -> Wants {
        self.wants
    }

    fn record(&self, from: Reporter, record: WorkerRecord) {
        if let Some(gate) = &self.gate {
            // It is closed by the end of the test at the latest.
            let _ = gate.lock().unwrap().recv();
        }
        let kind = match record {
            WorkerRecord::Span(span) => span.name,
            WorkerRecord::Metrics(metrics) => match metrics.metrics.first() {
                Some(metric) => counter(metric),
                None => "metrics".into(),
            },
            WorkerRecord::Lost(lost) => format!("{} lost", lost.logs + lost.spans),
            other => format!("{other:?}"),
        };
        assert_ne!(kind, "panic");
        self.told
            .lock()
            .unwrap()
            .push(format!("{}: {kind}", from.worker));
    }
}

/// A counter without labels, and its value.
fn counter(metric: &Metric) -> String {
    let value = match &metric.data {
        MetricData::Counter { series } => series.first().map_or(0.0, |it| it.value),
        _ => 0.0,
    };
    format!("{} {value}", metric.name)
}

fn span(name: &str) -> Record {
    let line = format!(
        r#"{{"type":"span","trace_id":"{}","span_id":"{}","name":"{name}","start":1,"end":2}}"#,
        "1".repeat(32),
        "2".repeat(16)
    );
    Record::read_line(line.as_bytes()).unwrap().unwrap()
}

#[tokio::test]
async fn each_observer_is_told_of_what_it_wants_and_a_panic_of_one_is_not_the_last() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let (spans, both, neither) = (
        Arc::new(Keeper::new(true, false)),
        Arc::new(Keeper::new(true, true)),
        Arc::new(Keeper::new(false, false)),
    );
    let observers: Vec<Arc<dyn Observer>> = vec![spans.clone(), neither.clone(), both.clone()];
    let pool = reporting(&sockets, observers, |_| {
        vec![
            span("one"),
            Record::Metrics(MetricsRecord::default()),
            span("panic"),
            Record::Lost(LostRecord { logs: 1, spans: 2 }),
        ]
    })
    .await;
    let _: u8 = pool.call("listed", &1).await.unwrap();
    until("all is told", || both.told().len() == 3).await;
    assert_eq!(spans.told(), ["0: one", "0: 3 lost"]);
    assert_eq!(both.told(), ["0: one", "0: metrics", "0: 3 lost"]);
    assert!(neither.told().is_empty());
    assert!(events.has("an observer or subscriber panicked"));
    assert!(events.has("records lost"));
}

#[tokio::test]
async fn a_worker_reports_nothing_that_nobody_wants() {
    let sockets = Scratch::new();
    let keeper = Arc::new(Keeper::new(false, true));
    // There is no subscriber either.
    let pool = reporting(&sockets, vec![keeper.clone()], |_| {
        vec![
            Record::Log(log("unheard")),
            span("unwanted"),
            Record::Metrics(MetricsRecord::default()),
        ]
    })
    .await;
    let _: u8 = pool.call("listed", &1).await.unwrap();
    until("the metrics are told", || !keeper.told().is_empty()).await;
    assert_eq!(keeper.told(), ["0: metrics"]);
}

#[tokio::test]
async fn an_observer_that_takes_its_time_holds_up_no_call_and_memory_is_bounded() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let (open, gate) = mpsc::channel();
    let keeper = Arc::new(Keeper {
        gate: Some(Mutex::new(gate)),
        ..Keeper::new(true, false)
    });
    let large = "x".repeat(100_000);
    let pool = reporting(&sockets, vec![keeper.clone()], move |_| vec![span(&large)]).await;
    for i in 0..100_u8 {
        let answer: u8 = pool.call("listed", &i).await.unwrap();
        assert_eq!(answer, i);
    }
    drop(open);
    until("what was lost is said", || events.has("records lost")).await;
    let lost = events.of(POOL).into_iter();
    let lost: usize = lost
        .filter(|it| it.message() == "records lost")
        .map(|it| it.fields["count"].parse::<usize>().unwrap())
        .sum();
    until("the others are told", || keeper.told().len() + lost == 100).await;
    // One batch was with the observer, and one waited.
    assert!(lost >= 100 - 2 * 10 - 1, "{lost}");
}

#[tokio::test]
async fn headers_that_are_carried_are_there_for_each_call() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let requests = serve_reporting(&socket, |request| Reply::echo(request, vec![]));
    let builder = Pool::builder().external_sockets([&socket]);
    let builder = builder.carry(|headers| {
        headers.insert("baggage".into(), "request_id=r-1".into());
    });
    let pool = builder.start().await.unwrap();
    let request = pool.request("listed", &1).header("tenant", "acme");
    let _: u8 = request.call().await.unwrap();
    let headers = requests.recv_timeout(LONG).unwrap().headers;
    assert_eq!(headers["baggage"], "request_id=r-1");
    assert_eq!(headers["tenant"], "acme");
}

#[tokio::test]
async fn a_weak_handle_does_not_keep_the_pool() {
    let pool = odd(1).start().await.unwrap();
    let weak = pool.downgrade();
    assert_eq!(weak.upgrade().unwrap().health().ready(), 1);
    drop(pool);
    assert!(weak.upgrade().is_none());
    let error = Pool::builder().start().await.unwrap_err();
    assert!(matches!(error, Error::Config(_)));
}

#[tokio::test]
async fn what_a_worker_of_ours_logs_and_prints_in_a_call_comes_with_its_function() {
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let builder = ours("telling.py", &core).output(WorkerOutput::Log);
        let pool = builder.start().await.unwrap();
        let _: Value = pool.call("log", &1).await.unwrap();
        let _: Value = pool.call("say", &1).await.unwrap();
        until("both are said", || events.has("low") && events.has("said")).await;
        let low = &events.of(PYTHON)[0];
        assert_eq!(low.level, Level::WARN);
        assert_eq!(low.fields["function_name"], "log");
        assert_eq!(low.fields["logger"], "shop.cart");
        assert_eq!(low.fields["fields"], r#"{"left":3}"#);
        let mut said = events.of(OUTPUT).into_iter();
        let said = said.rfind(|it| it.message() == "said").unwrap();
        assert_eq!(said.fields["function_name"], "say", "{core}");
        assert_eq!(said.fields["stream"], "stdout");
    }
}

#[tokio::test]
async fn what_a_worker_of_ours_said_before_it_was_killed_is_said_before_its_death_and_in_its_error()
{
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let builder = ours("telling.py", &core).output(WorkerOutput::Log);
        let pool = builder.start().await.unwrap();
        let error = pool.call::<_, Value>("say_and_die", &1).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("about to die\n"), "{core}: {error}");
        assert!(error.contains("the last line"), "{core}: {error}");
        let all = events.all_messages();
        let place = |message: &str| all.iter().position(|it| it == message);
        let death = place("worker died").unwrap();
        for message in ["about to die", "the last record", "the last line"] {
            assert!(
                place(message).is_some_and(|it| it < death),
                "{core}: {all:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_end_of_one_worker_does_not_break_off_the_traceback_of_another() {
    let (events, _guard) = listen(Level::INFO);
    let builder = ours("telling.py", "python").workers(2);
    let pool = builder.output(WorkerOutput::Log).start().await.unwrap();
    let begin = Instant::now();
    let teller: u32 = pool.call("say_half_a_traceback", &1).await.unwrap();
    let other = pids(&pool).into_iter().find(|pid| *pid != teller).unwrap();
    let other = Pid::from_raw(other.try_into().unwrap()).unwrap();
    kill_process(other, Signal::KILL).unwrap();
    until("its death is said", || events.has("worker died")).await;
    // It breaks off by itself when nothing follows for two seconds.
    let mut said = events.of(OUTPUT);
    said.retain(|it| it.fields.contains_key("exception"));
    assert!(
        said.is_empty() || begin.elapsed() >= Duration::from_secs(2),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_a_worker_logs_when_it_is_told_to_end_is_said_before_the_shutdown_is_over() {
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let pool = ours("telling.py", &core).start().await.unwrap();
        let _: Value = pool.call("speak_at_the_end", &100).await.unwrap();
        pool.shutdown(LONG).await;
        let said = events.of(PYTHON).len();
        assert_eq!(said, 100, "{core}");
    }
}

#[tokio::test]
async fn what_a_worker_of_ours_has_counted_arrives_before_the_shutdown_is_over() {
    for core in cores() {
        let keeper = Arc::new(Keeper::new(false, true));
        let pool = ours("telling.py", &core)
            .observer(keeper.clone())
            .start()
            .await
            .unwrap();
        let _: Value = pool.call("count", &1).await.unwrap();
        pool.shutdown(LONG).await;
        assert!(
            keeper.told().contains(&"0: telling_calls_total 1".into()),
            "{core}: {:?}",
            keeper.told()
        );
    }
}
