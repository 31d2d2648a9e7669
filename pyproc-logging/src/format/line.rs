use std::time::SystemTime;

use pyproc_fields::ORIGIN_KEYS;
use tracing::{Metadata, field::Field};

use super::{
    fields::{Entry, Fields, name_of},
    forwarded::{FIELDS, Origin},
    head::{DIM, Paint, start_json, start_text},
    line_format::LineFormat,
    object::flatten,
    style::Style,
    timestamp::Clock,
    value::Value,
    visitor::{Record, Visitor},
};
use crate::trace_ids::Ids;

/// Larger buffers are freed after the line that needed them.
const KEPT_BYTES: usize = 64 << 10;

/// A line that is being built. Each thread keeps one, so that most lines allocate nothing.
#[derive(Debug, Default)]
pub(crate) struct Line {
    clock: Clock,
    text: String,
    message: Vec<u8>,
    fields: Fields,
    bytes: Vec<u8>,
}

impl Line {
    /// Starts a line with the message and the fields of an event, without those that its origin puts into the head.
    pub(crate) fn begin(
        &mut self,
        format: &LineFormat,
        origin: Option<&Origin>,
        record: impl FnOnce(&mut dyn tracing::field::Visit),
    ) {
        self.message.clear();
        self.fields.clear(format.reserved());
        format
            .fields
            .iter()
            .for_each(|field| self.fields.add_entry(field));
        let mut event = Event {
            format,
            origin,
            message: &mut self.message,
            has_message: false,
            fields: &mut self.fields,
        };
        record(&mut Visitor {
            rules: &format.rules,
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
        format: &LineFormat,
        time: SystemTime,
        metadata: &Metadata<'_>,
        ids: Option<Ids>,
    ) -> &[u8] {
        self.bytes.clear();
        match format.style {
            Style::Json => self.finish_json(format, time, metadata, ids),
            Style::Text { color } => self.finish_text(format, color, time, metadata, ids),
        }
        &self.bytes
    }

    fn finish_json(
        &mut self,
        format: &LineFormat,
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
        if format.target {
            format.style.key("target", out);
            format.style.value(Value::Text(metadata.target()), out);
        }
        out.extend_from_slice(self.fields.finish(format.style));
        out.extend_from_slice(b"}\n");
    }

    fn finish_text(
        &mut self,
        format: &LineFormat,
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
        out.extend_from_slice(self.fields.finish(format.style));
        if let Some(ids) = ids {
            paint.start(DIM, out);
            ids.write_text(out);
            paint.end(out);
        }
        out.push(b'\n');
    }

    /// Frees the memory of an unusually large line.
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

/// Separates an event's message from its fields.
struct Event<'a> {
    format: &'a LineFormat,
    origin: Option<&'a Origin>,
    message: &'a mut Vec<u8>,
    has_message: bool,
    fields: &'a mut Fields,
}

impl Record for Event<'_> {
    fn record(&mut self, field: &Field, value: Value<'_>) {
        let style = self.format.style;
        if !self.has_message && field.name() == "message" {
            self.has_message = true;
            style.message(value, self.message);
            return;
        }
        let (name, rules) = (name_of(field), &self.format.rules);
        if self.origin.is_some_and(|origin| origin.has_in_head(name)) {
            return;
        }
        if let (true, Value::Text(text)) = (self.takes_whole(field), value) {
            self.fields.close(&ORIGIN_KEYS);
            let add = |name: &str, value: Value<'_>| {
                self.fields.add(name.to_owned().into(), value, style)
            };
            if !flatten(name, text, rules, add) {
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
