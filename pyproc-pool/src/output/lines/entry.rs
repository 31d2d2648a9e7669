use pyproc_protocol::v2::telemetry::LogRecord;
use serde_json::{Map, Value};
use tracing::Level;

use crate::text::LONGEST;

/// A printed record or line, ready to become an event.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) level: Level,
    /// The line has the level `CRITICAL`, which `tracing` does not have.
    pub(crate) critical: bool,
    pub(crate) message: String,
    pub(crate) logger: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) exception: Option<String>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: Option<u64>,
    pub(crate) ids: Ids,
    pub(crate) fields: Map<String, Value>,
}

/// The W3C ids of a span, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) trace_id: Option<String>,
    pub(crate) span_id: Option<String>,
    pub(crate) trace_flags: Option<String>,
}

/// The stream that a line was printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What is known of a line beside its text; little if it came through a pipe.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Context {
    /// The worker reported that it is not written in Python.
    pub(crate) foreign: bool,
    /// The process id, because during a reload two workers of a slot print.
    pub(crate) process: Option<u32>,
    pub(crate) function: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) time: Option<u64>,
    pub(crate) ids: Ids,
    pub(crate) baggage: Map<String, Value>,
    pub(crate) fields: Map<String, Value>,
}

impl Entry {
    /// Adds a line to the message.
    pub(super) fn append(&mut self, line: &str) {
        append(&mut self.message, line);
    }

    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self {
            level: Level::INFO,
            critical: false,
            message: message.into(),
            logger: None,
            thread: None,
            exception: None,
            time: None,
            ids: Ids::default(),
            fields: Map::new(),
        }
    }
}

/// Adds a line to a text, as long as that is not too long.
pub(super) fn append(text: &mut String, line: &str) {
    if text.len() + line.len() >= LONGEST {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

impl Stream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Context {
    /// Whether a line of `other` may belong to the same traceback.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        (self.process, &self.thread, &self.ids) == (other.process, &other.thread, &other.ids)
    }

    pub(crate) fn of(record: &LogRecord, process: Option<u32>, foreign: bool) -> Self {
        Self {
            foreign,
            process,
            function: record.function.clone(),
            thread: record.thread.clone(),
            time: Some(record.time),
            ids: record.into(),
            baggage: baggage(record),
            fields: own_fields(record),
        }
    }

    /// Admits the ids that a line names, as far as they may count. The ids of the call stand, and a line may only name
    /// a span within its trace. Other ids stay among the line's fields.
    pub(crate) fn admit(&mut self, printed: Ids, fields: &mut Map<String, Value>) {
        let is_known = self.function.is_some() || self.ids.trace_id.is_some();
        if !is_known {
            self.ids = printed;
            return;
        }
        let Ids {
            trace_id,
            span_id,
            trace_flags,
        } = printed;
        if trace_id.is_some() && trace_id == self.ids.trace_id {
            self.ids.span_id = span_id.or(self.ids.span_id.take());
            return;
        }
        let refused = [
            ("trace_id", trace_id),
            ("span_id", span_id),
            ("trace_flags", trace_flags),
        ];
        let refused = refused
            .into_iter()
            .filter_map(|(name, id)| Some((name, id?)));
        fields.extend(refused.map(|(name, id)| (name.into(), id.into())));
    }
}

impl From<&LogRecord> for Ids {
    fn from(record: &LogRecord) -> Self {
        Self {
            trace_id: record.trace_id.map(|id| id.to_string()),
            span_id: record.span_id.map(|id| id.to_string()),
            trace_flags: record.trace_flags.map(|flags| format!("{flags:02x}")),
        }
    }
}

/// What a record has beyond its message, and the baggage of its call.
pub(crate) fn beside_the_message(record: &LogRecord) -> Map<String, Value> {
    beside(baggage(record), own_fields(record))
}

/// The baggage of a call, and the other fields. If both have a name, the baggage keeps it, and the other field gets the
/// next free one.
pub(crate) fn beside(
    baggage: Map<String, Value>,
    others: Map<String, Value>,
) -> Map<String, Value> {
    if baggage.is_empty() {
        return others;
    }
    let mut all = baggage;
    for (name, value) in others {
        let mut free = name.clone();
        let mut number = 2_usize;
        while all.get(&free).is_some_and(|known| *known != value) {
            free = format!("{name}_{number}");
            number += 1;
        }
        all.entry(free).or_insert(value);
    }
    all
}

fn baggage(record: &LogRecord) -> Map<String, Value> {
    let baggage = record.baggage.iter();
    baggage
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect()
}

fn own_fields(record: &LogRecord) -> Map<String, Value> {
    let mut fields = record.fields.clone();
    if let Some(stack) = &record.stack {
        fields
            .entry("stack")
            .or_insert_with(|| stack.as_str().into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(trace: &str, span: &str) -> Ids {
        let id = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ids {
            trace_id: id(trace),
            span_id: id(span),
            trace_flags: id("01"),
        }
    }

    /// The ids of a line with `printed` in a context, and the fields that it keeps.
    fn admitted(function: Option<&str>, known: Ids, printed: Ids) -> (Ids, Value) {
        let mut context = Context {
            function: function.map(str::to_owned),
            ids: known,
            ..Context::default()
        };
        let mut fields = Map::new();
        context.admit(printed, &mut fields);
        (context.ids, Value::Object(fields))
    }

    #[test]
    fn ids_that_a_line_prints_count_only_where_no_call_is_known() {
        let none = Ids::default;
        let printed = ids("b", "2");
        assert_eq!(
            admitted(None, none(), printed.clone()),
            (printed.clone(), json!({}))
        );
        let refused = json!({"trace_id": "b", "span_id": "2", "trace_flags": "01"});
        let of_call = ids("a", "1");
        assert_eq!(
            admitted(Some("f"), of_call.clone(), printed.clone()),
            (of_call.clone(), refused.clone())
        );
        // A call that is not traced has no ids, and gets none.
        assert_eq!(
            admitted(Some("f"), none(), printed.clone()),
            (none(), refused.clone())
        );
        // Of a span that is current outside of any call.
        assert_eq!(admitted(None, of_call.clone(), printed), (of_call, refused));
    }

    #[test]
    fn a_line_may_name_a_span_within_the_trace_of_its_call_only() {
        let of_call = ids("a", "1");
        assert_eq!(
            admitted(Some("f"), of_call.clone(), ids("a", "2")),
            (ids("a", "2"), json!({}))
        );
        assert_eq!(
            admitted(Some("f"), of_call.clone(), ids("a", "")),
            (of_call.clone(), json!({}))
        );
        let refused = json!({"span_id": "2", "trace_flags": "01"});
        assert_eq!(
            admitted(Some("f"), of_call.clone(), ids("", "2")),
            (of_call, refused)
        );
    }

    #[test]
    fn the_baggage_of_the_call_stands() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let all = beside(
            object(json!({"request_id": "r-1", "tenant": "acme"})),
            object(json!({"request_id": "r-2", "request_id_2": 3, "tenant": "acme", "left": 3})),
        );
        let expected = json!({
            "request_id": "r-1", "request_id_2": "r-2", "request_id_2_2": 3, "tenant": "acme", "left": 3
        });
        assert_eq!(Value::Object(all), expected);
    }
}
