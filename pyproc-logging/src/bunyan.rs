//! The Bunyan format, by the crate that is known for it.

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{json, value::RawValue};
use tracing::Metadata;
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Layered, registry::LookupSpan};

use crate::{
    clock::Clock,
    filter::SharedLevels,
    redact::{CUT, REDACTED, Rules},
    writer::Writer,
};

/// What the format itself writes; the rules for fields don't apply to it.
const CORE: [&str; 7] = ["v", "name", "msg", "level", "hostname", "pid", "time"];

pub(crate) type BunyanLayer<S> = Layered<BunyanFormattingLayer<RuledWriter>, JsonStorageLayer, S>;

pub(crate) fn layer<S>(
    name: String,
    rules: Rules,
    levels: SharedLevels,
    writer: Arc<Writer>,
) -> BunyanLayer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let writer = RuledWriter {
        rules,
        levels,
        writer,
    };
    JsonStorageLayer.and_then(BunyanFormattingLayer::new(name, writer))
}

/// The `name` of lines, if it is not set.
pub(crate) fn program_name() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path)
        .file_name()
        .unwrap_or(OsStr::new("unknown"));
    name.to_string_lossy().into_owned()
}

/// The line about dropped lines.
pub(crate) fn notice(name: &str, dropped: u64, out: &mut Vec<u8>) {
    let mut time = Vec::new();
    Clock::default().write(SystemTime::now(), &mut time);
    let line = json!({
        "v": 0,
        "name": name,
        "msg": crate::setup::DROPPED,
        "level": 40,
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
        "pid": std::process::id(),
        "time": String::from_utf8_lossy(&time),
        "dropped_lines": dropped,
    });
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

/// Takes the finished lines of the formatter, which has no hook for single fields, and applies
/// the rules to them.
#[derive(Debug)]
pub(crate) struct RuledWriter {
    rules: Rules,
    levels: SharedLevels,
    writer: Arc<Writer>,
}

impl<'a> MakeWriter<'a> for RuledWriter {
    type Writer = LineOf<'a>;

    fn make_writer(&'a self) -> LineOf<'a> {
        LineOf(Some(self))
    }

    /// Spans are kept for their fields also where the level is above theirs, but then their start and end
    /// are no lines.
    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineOf<'a> {
        let wanted = metadata.is_event() || self.levels.logs(metadata);
        LineOf(wanted.then_some(self))
    }
}

#[derive(Debug)]
pub(crate) struct LineOf<'a>(Option<&'a RuledWriter>);

impl Write for LineOf<'_> {
    /// The formatter writes each line with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Self(Some(RuledWriter { rules, writer, .. })) = self else {
            return Ok(line.len());
        };
        if rules.any() || line.len() > rules.max_value_bytes {
            let mut changed = serde_json::to_vec(&rewritten(rules, line)?)?;
            changed.push(b'\n');
            writer.write(&changed);
        } else {
            writer.write(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn rewritten(rules: &Rules, line: &[u8]) -> serde_json::Result<Pairs> {
    let Pairs(mut pairs) = serde_json::from_slice(line)?;
    for (name, value) in &mut pairs {
        // A field that holds a text; others are short.
        let text = serde_json::from_str::<String>(value.get()).ok();
        let shown = text.as_deref().unwrap_or(value.get());
        if !CORE.contains(&name.as_str()) && rules.hides(name, || shown.into()) {
            *value = serde_json::value::to_raw_value(REDACTED)?;
        } else if let Some(head) = text.as_deref().and_then(|text| rules.head(text)) {
            *value = serde_json::value::to_raw_value(&format!("{head}{CUT}"))?;
        }
    }
    Ok(Pairs(pairs))
}

/// An object in its own order, with keys that may come twice.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
