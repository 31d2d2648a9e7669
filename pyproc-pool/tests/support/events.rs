//! A subscriber that keeps its events.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use pyproc_pool::{
    observe::{CallObserver, CallStart, Observer, RequestMetadata},
    protocol::TraceContext,
};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::{DefaultGuard, NoSubscriber},
};

pub const POOL: &str = "pyproc::pool";
pub const OUTPUT: &str = "pyproc::output";
pub const PYTHON: &str = "pyproc::python";

pub fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> BTreeMap<&'static str, String> {
    fields
        .map(|(name, value)| (name, value.into()))
        .into_iter()
        .collect()
}

/// Puts each call into the same span, of trace 0707... with the id 0808....
#[derive(Debug, Default)]
pub struct InSpan {
    /// The id of the span above that one.
    pub caller_span_id: Option<[u8; 8]>,
}

impl Observer for InSpan {
    fn begin(
        &self,
        _: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        metadata.trace = Some(TraceContext {
            trace_id: [7; 16],
            span_id: [8; 8],
            flags: 1,
        });
        metadata.caller_span_id = self.caller_span_id;
        None
    }
}

/// An event as it was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    pub target: String,
    pub level: Level,
    /// The name of its span.
    pub span: Option<&'static str>,
    /// Its fields as text, the message among them.
    pub fields: BTreeMap<&'static str, String>,
}

impl LoggedEvent {
    pub fn message(&self) -> &str {
        &self.fields["message"]
    }

    /// All fields but those that differ from run to run.
    pub fn fields_without(&self, names: &[&str]) -> BTreeMap<&'static str, String> {
        let mut fields = self.fields.clone();
        fields.retain(|name, _| !names.contains(name));
        fields
    }
}

/// The events since the subscriber was set up.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Mutex<Vec<LoggedEvent>>>);

impl Events {
    /// Those of one target so far, in their order.
    pub fn of(&self, target: &str) -> Vec<LoggedEvent> {
        let logged_events = self.0.lock().unwrap();
        logged_events
            .iter()
            .filter(|it| it.target == target)
            .cloned()
            .collect()
    }

    pub fn messages(&self, target: &str) -> Vec<String> {
        let message = |logged_events: &LoggedEvent| logged_events.message().to_owned();
        self.of(target).iter().map(message).collect()
    }

    /// All messages of pool and workers in their order.
    pub fn all_messages(&self) -> Vec<String> {
        let logged_events = self.0.lock().unwrap();
        logged_events
            .iter()
            .map(|it| it.message().to_owned())
            .collect()
    }

    pub fn has(&self, message: &str) -> bool {
        self.all_messages().iter().any(|it| it == message)
    }
}

/// Keeps the events of this thread, and of the pools that it starts, at this level and above.
pub fn listen(level: Level) -> (Events, DefaultGuard) {
    // While there is only one dispatcher, `tracing` asks the thread that first reaches an event whether to keep it: the thread of
    // another test would say no, for good.
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    LazyLock::force(&SECOND);
    let (events, listener) = listener(level);
    (events, tracing::subscriber::set_default(listener))
}

/// The same for whatever the listener is the subscriber of.
pub fn listener(level: Level) -> (Events, impl Subscriber + Send + Sync) {
    let events = Events::default();
    let listener = Listener {
        level,
        events: events.clone(),
        spans: Mutex::default(),
    };
    (events, listener)
}

struct Listener {
    level: Level,
    events: Events,
    spans: Mutex<Spans>,
}

/// Spans are entered and left on one thread here.
#[derive(Default)]
struct Spans {
    names: Vec<&'static str>,
    entered: Vec<span::Id>,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("pyproc::") || metadata.is_span();
        is_ours && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut spans = self.spans.lock().unwrap();
        spans.names.push(span.metadata().name());
        span::Id::from_u64(spans.names.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = self.spans.lock().unwrap();
        let current = spans.entered.last();
        self.events.0.lock().unwrap().push(LoggedEvent {
            target: event.metadata().target().into(),
            level: *event.metadata().level(),
            span: current.map(|id| spans.names[id.into_u64() as usize - 1]),
            fields: fields.0,
        });
    }

    fn enter(&self, span: &span::Id) {
        self.spans.lock().unwrap().entered.push(span.clone());
    }

    fn exit(&self, _: &span::Id) {
        self.spans.lock().unwrap().entered.pop();
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
