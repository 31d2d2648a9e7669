//! What workers report beside answers, and which observers get it.
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

use std::sync::{Arc, Mutex, mpsc};

use events::{OUTPUT, POOL, PYTHON, fields, listen};
use pyproc_pool::{
    Pool, WorkerOutput,
    observe::{
        CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants, WorkerRecord,
    },
    protocol::v2::telemetry::{
        LogRecord, LostRecord, Metric, MetricData, MetricsRecord, Record, SpanId, TraceId,
    },
};
use serde_json::{Value, json};
use sidecar::{Reply, serve_reporting};
use support::{LONG, Scratch, cores, ours, until};
use tracing::Level;

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
async fn a_record_of_logging_becomes_an_event_with_all_its_fields() {
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
    until("both are logged", || events.of(PYTHON).len() == 2).await;
    let logged = events.of(PYTHON);
    assert_eq!(
        (logged[0].level, logged[1].level),
        (Level::ERROR, Level::INFO)
    );
    assert_eq!(
        logged[0].fields,
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
    assert_eq!(logged[1].fields, fields(plain));
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
    until("it is logged", || !events.of(OUTPUT).is_empty()).await;
    let logged = &events.of(OUTPUT)[0];
    assert_eq!((logged.level, logged.message()), (Level::ERROR, "KeyError"));
    assert_eq!(logged.fields["exception"], lines.join("\n"));
    assert_eq!(logged.fields["function_name"], "predict");
    assert_eq!(logged.fields["stream"], "stderr");
    assert_eq!(
        logged.fields["trace_id"],
        "01010101010101010101010101010101"
    );
}

#[tokio::test]
async fn what_a_worker_reported_before_it_was_gone_is_logged_before_its_death() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let records = vec![Record::Log(log("last"))];
    let pool = reporting(&sockets, vec![], move |_| records.clone()).await;
    let answered: String = pool.call("listed", "hang up").await.unwrap();
    assert_eq!(answered, "hang up");
    until("its death is logged", || events.has("worker died")).await;
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
    until("all are logged or counted", || counted() == 1000).await;
    assert!(events.of(PYTHON).len() < 100);
}

#[tokio::test]
async fn a_record_longer_than_a_frame_may_be_is_lost_alone_and_costs_no_worker() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    // This worker does not care for the pool's maximum.
    serve_reporting(&socket, |request| {
        let long = Record::Log(log(&"x".repeat(100_000)));
        Reply::echo(request, vec![long, Record::Log(log("after"))])
    });
    let builder = Pool::builder()
        .external_sockets([&socket])
        .max_frame_size(8 * 1024);
    let pool = builder.start().await.unwrap();
    for i in 0..3 {
        assert_eq!(pool.call::<_, u8>("listed", &i).await.unwrap(), i);
    }
    until("the others are logged", || events.of(PYTHON).len() == 3).await;
    let lost = || {
        events
            .of(POOL)
            .into_iter()
            .find(|it| it.message() == "records lost")
    };
    until("the loss is logged", || lost().is_some()).await;
    let lost = lost().unwrap();
    assert_eq!(
        lost.fields["error"],
        "telemetry longer than the maximum frame size"
    );
    assert!(!events.has("worker died"));
}

#[tokio::test]
async fn a_metric_that_cannot_be_read_is_counted_and_takes_no_other_with_it() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let keeper = Arc::new(Keeper::new(false, true));
    let socket = sockets.path().join("sidecar.sock");
    serve_reporting(&socket, |request| {
        Reply {
        lines: b"{\"type\":\"metrics\",\"start\":1,\"metrics\":[{\"name\":\"odd\",\"kind\":\"summary\",\"series\":[]}]}\n",
        ..Reply::echo(request, vec![])
    }
    });
    let builder = Pool::builder()
        .external_sockets([&socket])
        .observer(keeper.clone());
    let pool = builder.start().await.unwrap();
    let _: u8 = pool.call("listed", &1).await.unwrap();
    until("the rest is logged", || keeper.logged() == ["0: metrics"]).await;
    let lost = || {
        events
            .of(POOL)
            .into_iter()
            .find(|it| it.message() == "records lost")
    };
    until("the loss is logged", || lost().is_some()).await;
    let fields = lost().unwrap().fields;
    assert_eq!(fields["count"], "1");
    assert!(fields["error"].contains("`odd`") && fields["error"].contains("summary"));
}

/// Keeps its records, once the test lets it.
#[derive(Debug)]
struct Keeper {
    wants: Wants,
    logged: Mutex<Vec<String>>,
    gate: Option<Mutex<mpsc::Receiver<()>>>,
}

impl Keeper {
    fn new(spans: bool, metrics: bool) -> Self {
        Self {
            wants: Wants { spans, metrics },
            logged: Mutex::default(),
            gate: None,
        }
    }

    fn logged(&self) -> Vec<String> {
        self.logged.lock().unwrap().clone()
    }
}

impl Observer for Keeper {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn wants(&self) -> Wants {
        self.wants
    }

    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
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
        self.logged
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
    Record::decode_line(line.as_bytes()).unwrap().unwrap()
}

#[tokio::test]
async fn each_observer_gets_the_records_that_it_wants_also_after_a_panic_of_one() {
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
    until("all is logged", || both.logged().len() == 3).await;
    assert_eq!(spans.logged(), ["0: one", "0: 3 lost"]);
    assert_eq!(both.logged(), ["0: one", "0: metrics", "0: 3 lost"]);
    assert!(neither.logged().is_empty());
    assert!(events.has("an observer or subscriber panicked"));
    assert!(events.has("records lost"));
}

#[tokio::test]
async fn a_worker_reports_nothing_that_no_observer_wants() {
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
    until("the metrics are logged", || !keeper.logged().is_empty()).await;
    assert_eq!(keeper.logged(), ["0: metrics"]);
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
    until("what was lost is logged", || events.has("records lost")).await;
    let lost = events.of(POOL).into_iter();
    let lost: usize = lost
        .filter(|it| it.message() == "records lost")
        .map(|it| it.fields["count"].parse::<usize>().unwrap())
        .sum();
    until("the others are logged", || {
        keeper.logged().len() + lost == 100
    })
    .await;
    // One batch was with the observer, and one waited.
    assert!(lost >= 100 - 2 * 10 - 1, "{lost}");
}

#[tokio::test]
async fn headers_that_are_carried_are_there_for_each_call() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let requests = serve_reporting(&socket, |request| Reply::echo(request, vec![]));
    let builder = Pool::builder().external_sockets([&socket]);
    let builder = builder.inject_headers(|headers| {
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
async fn what_a_worker_logs_after_sigterm_is_logged_before_the_shutdown_ends() {
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
            keeper.logged().contains(&"0: telling_calls_total 1".into()),
            "{core}: {:?}",
            keeper.logged()
        );
    }
}
