//! The Bunyan format, by `tracing-bunyan-formatter`. That crate has no hook for single fields, so its finished lines
//! are parsed and rewritten where a rule applies.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use pyproc_fields::ORIGIN_KEYS;
use serde::Serializer;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tracing::Metadata;
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Layered, registry::LookupSpan};

use super::{
    escape::{Quotes, escape},
    fields::next_free,
    forwarded::{self, FIELDS, TIME},
    head::DROPPED,
    object::{Members, flatten},
    redact::{REDACTED, Rules},
    timestamp::Clock,
    value::Value,
};
use crate::{LogFormat, LoggingConfig, levels::SharedLevels, writer::Writer};

pub(crate) type BunyanLayer<S> =
    Layered<BunyanFormattingLayer<RedactingWriter>, JsonStorageLayer, S>;

/// How lines format.
#[derive(Debug, Clone)]
pub(crate) struct BunyanFormat {
    name: String,
    rules: Rules,
    /// The fields of every line.
    fields: Vec<(String, Box<RawValue>)>,
}

impl BunyanFormat {
    pub(crate) fn new(config: &LoggingConfig, rules: Rules) -> Self {
        let fields = config.fields.iter().filter_map(|(name, value)| {
            let value = rules.cut(value);
            // A text can be serialized.
            let value = raw(rules.shown(name, Value::Text(&value))).ok()?;
            Some((name.clone(), value))
        });
        Self {
            name: config.name.clone().unwrap_or_else(program_name),
            fields: fields.collect(),
            rules,
        }
    }
}

pub(crate) fn layer<S>(
    format: BunyanFormat,
    levels: SharedLevels,
    writer: Arc<Writer>,
) -> BunyanLayer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let name = format.name.clone();
    let writer = RedactingWriter {
        format,
        levels,
        writer,
    };
    JsonStorageLayer.and_then(BunyanFormattingLayer::new(name, writer))
}

/// The `name` of lines, if it is not set.
fn program_name() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path)
        .file_name()
        .unwrap_or(OsStr::new("unknown"));
    name.to_string_lossy().into_owned()
}

/// The line about dropped lines.
pub(crate) fn notice(format: &BunyanFormat, dropped: u64, out: &mut Vec<u8>) {
    let mut line = json!({
        "v": 0,
        "name": format.name,
        "msg": DROPPED,
        "level": 40,
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
        "pid": std::process::id(),
        "time": rfc3339(SystemTime::now()),
        "dropped_lines": dropped,
    });
    for (name, value) in &format.fields {
        line[name] = serde_json::from_str(value.get()).unwrap_or_default();
    }
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

/// Takes the finished lines of the formatter, and applies the rules to them.
#[derive(Debug)]
pub(crate) struct RedactingWriter {
    format: BunyanFormat,
    levels: SharedLevels,
    writer: Arc<Writer>,
}

impl<'a> MakeWriter<'a> for RedactingWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            to: Some(self),
            is_forwarded: false,
        }
    }

    /// Spans below the level are kept for their fields, but their start and end are not logged.
    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        let wanted = metadata.is_event() || self.levels.logs(metadata);
        LineWriter {
            to: wanted.then_some(self),
            is_forwarded: metadata.is_event() && forwarded::is_forwarded(metadata),
        }
    }
}

#[derive(Debug)]
pub(crate) struct LineWriter<'a> {
    /// None: the line is not logged.
    to: Option<&'a RedactingWriter>,
    /// Whether it forwards a record of another process.
    is_forwarded: bool,
}

impl Write for LineWriter<'_> {
    /// The formatter writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(RedactingWriter { format, writer, .. }) = self.to else {
            return Ok(line.len());
        };
        let rules = &format.rules;
        let is_plain = !rules.any() && format.fields.is_empty();
        if self.is_forwarded || !is_plain || line.len() > rules.max_value_bytes {
            writer.write(&escaped(&rewritten(format, self.is_forwarded, line)?));
        } else {
            writer.write(&escaped(line));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes what the formatter does not: it escapes only the control characters of ASCII.
fn escaped(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let mut out = Vec::with_capacity(line.len());
    escape(text.trim_end_matches('\n'), Quotes::None, &mut out);
    out.push(b'\n');
    out
}

/// The line with the rules applied, and with time and fields of a forwarded record.
fn rewritten(
    format: &BunyanFormat,
    is_forwarded: bool,
    line: &[u8],
) -> serde_json::Result<Vec<u8>> {
    let rules = &format.rules;
    let Members(members) = serde_json::from_slice(line)?;
    let mut pairs = Pairs(Vec::with_capacity(members.len()));
    let mut fields = None;
    for (name, value) in members {
        match name.as_str() {
            FIELDS if is_forwarded => fields = serde_json::from_str::<String>(value.get()).ok(),
            _ => pairs.0.push((name, Cow::Borrowed(value))),
        }
    }
    pairs.apply(rules)?;
    if is_forwarded {
        pairs.take_time()?;
    }
    if let Some(fields) = fields {
        pairs.flatten(&fields, rules)?;
    }
    for (name, value) in &format.fields {
        pairs.set(name, value);
    }
    let mut line = Vec::new();
    let in_order = pairs.0.iter().map(|(name, value)| (name, value));
    serde_json::Serializer::new(&mut line).collect_map(in_order)?;
    Ok(line)
}

/// The members of a line. A key may occur more than once.
struct Pairs<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl Pairs<'_> {
    fn apply(&mut self, rules: &Rules) -> serde_json::Result<()> {
        // The rules for fields do not apply to what the format itself writes.
        let own_keys = LogFormat::Bunyan.own_keys();
        for (name, value) in &mut self.0 {
            // A field that holds a text; others are short.
            let text = serde_json::from_str::<String>(value.get()).ok();
            let shown = text.as_deref().unwrap_or(value.get());
            if !own_keys.contains(&name.as_str()) && rules.hides(name, || shown.into()) {
                *value = Cow::Owned(to_raw_value(REDACTED)?);
            } else if let Some(Cow::Owned(cut)) = text.as_deref().map(|text| rules.cut(text)) {
                *value = Cow::Owned(to_raw_value(&cut)?);
            }
        }
        Ok(())
    }

    /// Replaces the event's time by the record's.
    fn take_time(&mut self) -> serde_json::Result<()> {
        let place = |name| self.0.iter().position(|(known, _)| known == name);
        let (Some(own), Some(given)) = (place("time"), place(TIME)) else {
            return Ok(());
        };
        if let Ok(nanos) = self.0[given].1.get().parse() {
            self.0[own].1 = Cow::Owned(to_raw_value(&rfc3339(forwarded::time(nanos)))?);
            self.0.remove(given);
        }
        Ok(())
    }

    fn flatten(&mut self, fields: &str, rules: &Rules) -> serde_json::Result<()> {
        let mut members = Vec::new();
        let is_object = flatten(FIELDS, fields, rules, |name, value| {
            members.push((name.to_owned(), raw(value)));
        });
        if !is_object {
            members.push((FIELDS.into(), to_raw_value(&rules.cut(fields))));
        }
        for (name, value) in members {
            self.add(name, value?);
        }
        Ok(())
    }

    /// Sets a field of every line. Another field of the same name gets a number.
    fn set(&mut self, name: &str, value: &RawValue) {
        self.0
            .retain(|(known, old)| known != name || old.get() != value.get());
        while let Some(place) = self.0.iter().position(|(known, _)| known == name) {
            let is_taken = |key: &str| self.0.iter().any(|(known, _)| known == key);
            self.0[place].0 = next_free(name, is_taken);
        }
        self.0.push((name.to_owned(), Cow::Owned(value.to_owned())));
    }

    /// Adds a field under a free name.
    fn add(&mut self, mut name: String, value: Box<RawValue>) {
        let is_taken =
            |key: &str| ORIGIN_KEYS.contains(&key) || self.0.iter().any(|(known, _)| known == key);
        if is_taken(&name) {
            name = next_free(&name, is_taken);
        }
        self.0.push((name, Cow::Owned(value)));
    }
}

fn raw(value: Value<'_>) -> serde_json::Result<Box<RawValue>> {
    match value {
        Value::Json(json) => RawValue::from_string(json.into()),
        other => to_raw_value(&other.to_text()),
    }
}

fn rfc3339(time: SystemTime) -> String {
    let mut text = Vec::new();
    Clock::default().write(time, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
