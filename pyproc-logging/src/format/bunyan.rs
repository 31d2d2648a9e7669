//! The Bunyan format, by the crate that is known for it.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

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
    forwarded::{self, FIELDS, PLACE, TIME},
    head::DROPPED,
    object::{Members, spread},
    redact::{REDACTED, Rules},
    timestamp::Clock,
    value::Value,
};
use crate::{LogFormat, LoggingConfig, levels::SharedLevels, writer::Writer};

pub(crate) type BunyanLayer<S> = Layered<BunyanFormattingLayer<RuledWriter>, JsonStorageLayer, S>;

/// How lines look.
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
            // A text can be written.
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
    look: BunyanFormat,
    levels: SharedLevels,
    writer: Arc<Writer>,
) -> BunyanLayer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let name = look.name.clone();
    let writer = RuledWriter {
        look,
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
pub(crate) fn notice(look: &BunyanFormat, dropped: u64, out: &mut Vec<u8>) {
    let mut line = json!({
        "v": 0,
        "name": look.name,
        "msg": DROPPED,
        "level": 40,
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
        "pid": std::process::id(),
        "time": rfc3339(SystemTime::now()),
        "dropped_lines": dropped,
    });
    for (name, value) in &look.fields {
        line[name] = serde_json::from_str(value.get()).unwrap_or_default();
    }
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

/// Takes the finished lines of the formatter, which has no hook for single fields, and applies
/// the rules to them.
#[derive(Debug)]
pub(crate) struct RuledWriter {
    look: BunyanFormat,
    levels: SharedLevels,
    writer: Arc<Writer>,
}

impl<'a> MakeWriter<'a> for RuledWriter {
    type Writer = LineOf<'a>;

    fn make_writer(&'a self) -> LineOf<'a> {
        LineOf {
            to: Some(self),
            handed_on: false,
        }
    }

    /// Spans are kept for their fields also where the level is above theirs, but then their start and end
    /// are no lines.
    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineOf<'a> {
        let wanted = metadata.is_event() || self.levels.logs(metadata);
        LineOf {
            to: wanted.then_some(self),
            handed_on: metadata.is_event() && forwarded::is_handed_on(metadata),
        }
    }
}

#[derive(Debug)]
pub(crate) struct LineOf<'a> {
    /// Nothing if the line is not wanted.
    to: Option<&'a RuledWriter>,
    /// Whether it hands on a record of another process.
    handed_on: bool,
}

impl Write for LineOf<'_> {
    /// The formatter writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(RuledWriter { look, writer, .. }) = self.to else {
            return Ok(line.len());
        };
        let rules = &look.rules;
        let is_plain = !rules.any() && look.fields.is_empty();
        if self.handed_on || !is_plain || line.len() > rules.max_value_bytes {
            writer.write(&escaped(&rewritten(look, self.handed_on, line)?));
        } else {
            writer.write(&escaped(line));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with all escaped that the formatter leaves as it is: it knows the control characters of ASCII only.
fn escaped(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let mut out = Vec::with_capacity(line.len());
    escape(text.trim_end_matches('\n'), Quotes::None, &mut out);
    out.push(b'\n');
    out
}

/// The line with the rules applied, and with what a record of another process says of itself.
fn rewritten(look: &BunyanFormat, handed_on: bool, line: &[u8]) -> serde_json::Result<Vec<u8>> {
    let rules = &look.rules;
    let Members(members) = serde_json::from_slice(line)?;
    let mut pairs = Pairs(Vec::with_capacity(members.len()));
    let mut fields = None;
    for (name, value) in members {
        match name.as_str() {
            FIELDS if handed_on => fields = serde_json::from_str::<String>(value.get()).ok(),
            _ => pairs.0.push((name, Cow::Borrowed(value))),
        }
    }
    pairs.apply(rules)?;
    if handed_on {
        pairs.take_time()?;
    }
    if let Some(fields) = fields {
        pairs.spread(&fields, rules)?;
    }
    for (name, value) in &look.fields {
        pairs.set(name, value);
    }
    let mut line = Vec::new();
    let in_order = pairs.0.iter().map(|(name, value)| (name, value));
    serde_json::Serializer::new(&mut line).collect_map(in_order)?;
    Ok(line)
}

/// The members of a line, which may have the same key twice.
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

    /// The time of the record in place of that of the event.
    fn take_time(&mut self) -> serde_json::Result<()> {
        let place = |name| self.0.iter().position(|(known, _)| known == name);
        let (Some(own), Some(said)) = (place("time"), place(TIME)) else {
            return Ok(());
        };
        if let Ok(nanos) = self.0[said].1.get().parse() {
            self.0[own].1 = Cow::Owned(to_raw_value(&rfc3339(forwarded::time(nanos)))?);
            self.0.remove(said);
        }
        Ok(())
    }

    fn spread(&mut self, fields: &str, rules: &Rules) -> serde_json::Result<()> {
        let mut members = Vec::new();
        let is_object = spread(FIELDS, fields, rules, |name, value| {
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

    /// A field of every line, whose name is its own: another one of the same name gets a number.
    fn set(&mut self, name: &str, value: &RawValue) {
        self.0
            .retain(|(known, said)| known != name || said.get() != value.get());
        while let Some(place) = self.0.iter().position(|(known, _)| known == name) {
            let is_taken = |key: &str| self.0.iter().any(|(known, _)| known == key);
            self.0[place].0 = next_free(name, is_taken);
        }
        self.0.push((name.to_owned(), Cow::Owned(value.to_owned())));
    }

    /// Under a name that nobody has.
    fn add(&mut self, mut name: String, value: Box<RawValue>) {
        let is_taken =
            |key: &str| PLACE.contains(&key) || self.0.iter().any(|(known, _)| known == key);
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
