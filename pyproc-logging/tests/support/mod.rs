//! What the tests of the log share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use pyproc_logging::{LoggingBuilder, LoggingGuard};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use tracing::{Dispatch, field::Empty, info, info_span};
use tracing_subscriber::{Registry, layer::SubscriberExt};

/// Keeps all that is written to it.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {text:?}");
        text.split_terminator('\n').map(Into::into).collect()
    }

    pub(crate) fn objects(&self) -> Vec<Object> {
        self.lines()
            .iter()
            .map(|line| Object::parse(line))
            .collect()
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A JSON object in its own order, which refuses a key that comes twice.
pub(crate) struct Object(pub(crate) Vec<(String, Box<RawValue>)>);

impl Object {
    pub(crate) fn parse(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        Some(serde_json::from_str(value.get()).unwrap())
    }

    /// The text at a key that must be there.
    pub(crate) fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Value::String(text)) => text,
            other => panic!("{key} is {other:?} in {:?}", self.0),
        }
    }

    /// All but the time, which no test can know.
    pub(crate) fn without_time(&self) -> String {
        let rest = self.0.iter().filter(|(key, _)| key != "time");
        let pairs: Vec<_> = rest.map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(" ")
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strict;
        impl<'de> Visitor<'de> for Strict {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object without duplicate keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom(format!("{key:?} comes twice")));
                    }
                    pairs.push((key, value));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Strict)
    }
}

/// A subscriber with one log, and what it writes.
pub(crate) fn subscriber(builder: LoggingBuilder) -> (Dispatch, LoggingGuard, Capture) {
    let capture = Capture::default();
    let (layer, guard) = builder.writer(capture.clone()).layer::<Registry>().unwrap();
    (
        Dispatch::new(Registry::default().with(layer)),
        guard,
        capture,
    )
}

/// What is logged while `run` runs.
pub(crate) fn logged(builder: LoggingBuilder, run: impl FnOnce()) -> Capture {
    let (dispatch, guard, capture) = subscriber(builder);
    tracing::dispatcher::with_default(&dispatch, run);
    assert!(guard.handle().flush(Duration::from_secs(30)));
    capture
}

/// The JSON lines of `run`, with all settings at their default.
pub(crate) fn json(run: impl FnOnce()) -> Vec<Object> {
    logged(LoggingBuilder::default(), run).objects()
}

/// What is logged of secrets that are to be hidden by name or by predicate.
pub(crate) fn secrets(builder: LoggingBuilder) -> String {
    let builder = builder
        .redact(["password", "API_Key", "message"])
        .redact_if(|name, value| {
            name.ends_with("_token") || value.starts_with("Bearer ") || value == "4711"
        });
    let capture = logged(builder, || {
        let span = info_span!("s", password = "hunter2", Api_key = ?"hunter2", later = Empty, user = "ann");
        let _span = span.enter();
        span.record("later", "Bearer hunter2");
        info!(session_token = 99_007, pin = 4711, header = %"Bearer hunter2", password_hint = "dog", "shown");
    });
    capture.text()
}

pub(crate) fn assert_hidden(lines: &str) {
    for secret in ["hunter2", "99007", "4711"] {
        assert!(!lines.contains(secret), "{lines}");
    }
    for kept in ["shown", "ann", "dog", "[redacted]"] {
        assert!(lines.contains(kept), "{lines}");
    }
}
