use std::time::SystemTime;

use tracing::{Metadata, field::Field};

use super::{
    fields::{Entry, Fields, name_of},
    forwarded::{FIELDS, Origin, PLACE},
    head::{DIM, Paint, start_json, start_text},
    line_format::LineFormat,
    object::spread,
    style::Style,
    timestamp::Clock,
    value::Value,
    visitor::{Record, Visitor},
};
use crate::trace_ids::Ids;

/// Buffers larger than this are given back after the line that needed them.
const KEPT_BYTES: usize = 64 << 10;

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
        look: &LineFormat,
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
        look: &LineFormat,
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
        look: &LineFormat,
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
        look: &LineFormat,
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

/// Where the fields of an event go: the message apart.
struct Event<'a> {
    look: &'a LineFormat,
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
