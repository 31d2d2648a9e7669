//! One log of a pool and its traces, as a service sets them up.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use pyproc_logging::{Levels, LoggingBuilder, LoggingGuard};
use pyproc_pool::{Error, Pool};
use pyproc_telemetry::{MemorySpans, PoolBuilderExt, Provider};
use serde_json::{Map, Value};
use tracing::{dispatcher::DefaultGuard, subscriber::set_default};
use tracing_subscriber::layer::SubscriberExt;

/// Long enough for the slowest machine; a test that waits this long fails.
const LONG: Duration = Duration::from_secs(60);

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logs/worker.py");
const STRICT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logs/strict.py");

/// A pool of one worker, whose log and spans are kept. The test's thread logs to it while it lives.
pub(crate) struct Stream {
    pub(crate) pool: Pool,
    text: Kept,
    guard: LoggingGuard,
    spans: MemorySpans,
    provider: Provider,
    _current: DefaultGuard,
}

impl Stream {
    pub(crate) async fn start(core: &str) -> Self {
        Self::start_with(core, true).await
    }

    pub(crate) async fn without_traces(core: &str) -> Self {
        Self::start_with(core, false).await
    }

    async fn start_with(core: &str, traced: bool) -> Self {
        let spans = MemorySpans::default();
        let provider = Provider::builder()
            .enabled(traced)
            .in_memory(&spans)
            .start()
            .unwrap();
        let tracer = provider.tracer("test");
        let text = Kept::default();
        let (log, guard) = LoggingBuilder::default()
            .level("info,pyproc::pool=debug".parse::<Levels>().unwrap())
            .target(true)
            .writer(text.clone())
            .layer()
            .unwrap();
        let traces = tracing_opentelemetry::layer().with_tracer(tracer.clone());
        let current = set_default(tracing_subscriber::registry().with(log).with(traces));
        let pool = Pool::builder()
            .workers(1)
            .python_exec(python())
            .worker_script(WORKER)
            .env("PYPROC_WORKER_CORE", core)
            .start_timeout(LONG)
            .request_timeout(LONG)
            .inject_headers(|headers| {
                if let Some(baggage) = pyproc_logging::baggage() {
                    headers.insert("baggage".into(), baggage);
                }
            })
            .with_tracer(tracer)
            .start()
            .await
            .unwrap();
        Self {
            pool,
            text,
            guard,
            spans,
            provider,
            _current: current,
        }
    }

    pub(crate) async fn call(&self, function: &str, place: &str) -> Result<Value, Error> {
        self.pool.call(function, &place).await
    }

    /// All lines, and the spans of the calls.
    pub(crate) async fn end(self) -> (Vec<Line>, Spans) {
        let spans = self.spans.clone();
        let text = self.end_as_text().await;
        (text.lines().map(Line::read).collect(), Spans(spans))
    }

    pub(crate) async fn end_as_text(self) -> String {
        self.pool.shutdown(LONG).await;
        assert!(self.guard.handle().flush(LONG));
        self.provider.shutdown_blocking().unwrap();
        self.text.text()
    }
}

/// One line of the log.
#[derive(Debug)]
pub(crate) struct Line(pub(crate) Map<String, Value>);

impl Line {
    fn read(line: &str) -> Self {
        Self(serde_json::from_str(line).unwrap())
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    pub(crate) fn message(&self) -> &str {
        self.text("msg").unwrap()
    }

    /// Whether the message says this or, if there is none of its own, the traceback's last line.
    pub(crate) fn says(&self, what: &str) -> bool {
        let printed_traceback = self.text("stream").and(self.text("exception"));
        let last = printed_traceback.and_then(|text| text.lines().last());
        self.message() == what || last.is_some_and(|last| last.contains(what))
    }

    pub(crate) fn is_about(&self, place: &str) -> bool {
        let place = format!("{place}: ");
        self.message().contains(&place)
            || self
                .text("exception")
                .is_some_and(|text| text.contains(&place))
    }

    /// The ids that the line must have.
    pub(crate) fn ids(&self) -> Ids {
        let id = |key| {
            self.text(key)
                .unwrap_or_else(|| panic!("no {key} on {self:?}"))
                .to_owned()
        };
        assert_eq!(id("trace_flags"), "01", "{self:?}");
        Ids {
            trace: id("trace_id"),
            span: id("span_id"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace: String,
    pub(crate) span: String,
}

/// The exported spans.
pub(crate) struct Spans(MemorySpans);

impl Spans {
    /// The test's own span around a call.
    pub(crate) fn request(&self, function: &str) -> Ids {
        self.the_only("request", "function", function)
    }

    pub(crate) fn call(&self, function: &str) -> Ids {
        self.the_only("pyproc.pool.call", "function_name", function)
    }

    pub(crate) fn execute(&self, function: &str) -> Ids {
        self.the_only("pyproc.worker.execute", "function_name", function)
    }

    fn the_only(&self, name: &str, key: &str, value: &str) -> Ids {
        let spans = self.0.finished();
        let mut found = spans.iter().filter(|span| {
            let attribute = span.attributes.iter().find(|it| it.key.as_str() == key);
            span.name == name && attribute.is_some_and(|it| it.value.as_str() == value)
        });
        let (Some(span), None) = (found.next(), found.next()) else {
            panic!("not one {name} of {value} in {spans:#?}");
        };
        let context = &span.span_context;
        Ids {
            trace: context.trace_id().to_string(),
            span: context.span_id().to_string(),
        }
    }
}

/// Has Python read the lines as strictly as it can.
pub(crate) fn is_strict_json(text: &str) {
    let mut reader = Command::new(python())
        .arg(STRICT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let count = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        count.trim().parse(),
        Ok(text.matches('\n').count()),
        "{text}"
    );
}

fn python() -> OsString {
    env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into())
}

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
