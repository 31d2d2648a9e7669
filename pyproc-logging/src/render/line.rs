use std::{sync::Arc, time::SystemTime};

use tracing::{Metadata, field::Field};

use super::{
    Entry, Fields, Record, Style, Value, Visitor,
    fields::name_of,
    head::{DIM, Paint, start_json, start_text},
    spread,
};
use crate::{
    LoggingConfig,
    clock::Clock,
    ids::Ids,
    origin::{FIELDS, Origin, PLACE},
    redact::Rules,
};

/// Buffers larger than this are given back after the line that needed them.
const KEPT_BYTES: usize = 64 << 10;

/// How the lines of one layer look.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) style: Style,
    /// Whether JSON lines name the target.
    pub(crate) target: bool,
    pub(crate) rules: Rules,
    /// The fields of every line.
    pub(crate) fields: Arc<[Entry]>,
}

/// The keys that JSON lines give a meaning.
const RESERVED: &[&str] = &["time", "level", "msg", "trace_id", "span_id", "trace_flags"];
const RESERVED_WITH_TARGET: &[&str] = &[
    "time",
    "level",
    "msg",
    "trace_id",
    "span_id",
    "trace_flags",
    "target",
];

/// One line in the making. Each thread keeps one, so that a line usually allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Line {
    clock: Clock,
    text: String,
    message: Vec<u8>,
    fields: Fields,
    bytes: Vec<u8>,
}

impl Line {
    /// Begins a line with the message and fields of an event, but for what its origin says.
    pub(crate) fn begin(
        &mut self,
        look: &Look,
        origin: Option<&Origin>,
        record: impl FnOnce(&mut dyn tracing::field::Visit),
    ) {
        self.message.clear();
        self.fields.clear(look.reserved());
        look.fields
            .iter()
            .for_each(|field| self.fields.add_entry(field));
        let mut event = Event {
            look,
            origin,
            message: &mut self.message,
            has_message: false,
            fields: &mut self.fields,
        };
        record(&mut Visitor {
            rules: &look.rules,
            text: &mut self.text,
            to: &mut event,
        });
    }

    /// Adds a field of a span around the event.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.fields.add_entry(entry);
    }

    /// The whole line, its end included.
    pub(crate) fn finish(
        &mut self,
        look: &Look,
        time: SystemTime,
        metadata: &Metadata<'_>,
        ids: Option<Ids>,
    ) -> &[u8] {
        self.bytes.clear();
        match look.style {
            Style::Json => self.finish_json(look, time, metadata, ids),
            Style::Text { color } => self.finish_text(look, color, time, metadata, ids),
        }
        &self.bytes
    }

    fn finish_json(
        &mut self,
        look: &Look,
        time: SystemTime,
        metadata: &Metadata<'_>,
        ids: Option<Ids>,
    ) {
        let out = &mut self.bytes;
        start_json(&mut self.clock, time, metadata.level(), out);
        out.extend_from_slice(&self.message);
        out.push(b'"');
        if let Some(ids) = ids {
            ids.write_json(out);
        }
        if look.target {
            look.style.key("target", out);
            look.style.value(Value::Text(metadata.target()), out);
        }
        out.extend_from_slice(self.fields.finish(look.style));
        out.extend_from_slice(b"}\n");
    }

    fn finish_text(
        &mut self,
        look: &Look,
        color: bool,
        time: SystemTime,
        metadata: &Metadata<'_>,
        ids: Option<Ids>,
    ) {
        let (out, paint) = (&mut self.bytes, Paint(color));
        start_text(
            &mut self.clock,
            paint,
            time,
            metadata.level(),
            metadata.target(),
            out,
        );
        out.extend_from_slice(&self.message);
        out.extend_from_slice(self.fields.finish(look.style));
        if let Some(ids) = ids {
            paint.start(DIM, out);
            ids.write_text(out);
            paint.end(out);
        }
        out.push(b'\n');
    }

    /// Gives back the memory of an unusually large line.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity().max(self.fields.capacity()) > KEPT_BYTES {
            self.bytes = Vec::new();
            self.message = Vec::new();
            self.fields = Fields::default();
        }
        if self.text.capacity() > KEPT_BYTES {
            self.text = String::new();
        }
    }
}

impl Look {
    pub(crate) fn new(style: Style, config: &LoggingConfig, rules: Rules) -> Self {
        let fields = config.fields.iter().map(|(name, value)| {
            // It lives as long as the log, which is as long as the program.
            let name: &'static str = name.clone().leak();
            let value = rules.cut(value);
            Entry::of_every_line(name.into(), rules.shown(name, Value::Text(&value)), style)
        });
        Self {
            style,
            target: config.target && style == Style::Json,
            fields: fields.collect(),
            rules,
        }
    }

    fn reserved(&self) -> &'static [&'static str] {
        if self.target {
            RESERVED_WITH_TARGET
        } else {
            RESERVED
        }
    }
}

/// Where the fields of an event go: the message apart.
struct Event<'a> {
    look: &'a Look,
    origin: Option<&'a Origin>,
    message: &'a mut Vec<u8>,
    has_message: bool,
    fields: &'a mut Fields,
}

impl Record for Event<'_> {
    fn record(&mut self, field: &Field, value: Value<'_>) {
        let style = self.look.style;
        if !self.has_message && field.name() == "message" {
            self.has_message = true;
            style.message(value, self.message);
            return;
        }
        let (name, rules) = (name_of(field), &self.look.rules);
        if self.origin.is_some_and(|origin| origin.says(name)) {
            return;
        }
        if let (true, Value::Text(text)) = (self.takes_whole(field), value) {
            self.fields.close(PLACE);
            let add = |name: &str, value: Value<'_>| {
                self.fields.add(name.to_owned().into(), value, style)
            };
            if !spread(name, text, rules, add) {
                let text = rules.cut(text);
                let value = rules.shown(name, Value::Text(&text));
                self.fields.add(name.into(), value, style);
            }
            return;
        }
        self.fields
            .add(name.into(), rules.shown(name, value), style);
    }

    fn takes_whole(&self, field: &Field) -> bool {
        self.origin.is_some_and(|origin| origin.elsewhere) && field.name() == FIELDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_every_line_has_a_key_with_a_meaning() {
        for key in RESERVED.iter().chain(RESERVED_WITH_TARGET).chain(PLACE) {
            assert!(pyproc_fields::check_name(key).is_err(), "{key}");
        }
    }
}
