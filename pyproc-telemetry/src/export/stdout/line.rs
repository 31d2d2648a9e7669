//! A span as one line of JSON, with the keys of a log line where they mean the same.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use humantime_serde::re::humantime::format_rfc3339_nanos;
use opentelemetry::{Array, KeyValue, Value, trace::Status};
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use serde_json::{Value as Json, json};

#[derive(Serialize)]
struct Line<'a> {
    /// The span's end.
    time: String,
    level: &'static str,
    msg: &'static str,
    trace_id: String,
    span_id: String,
    trace_flags: String,
    service_name: &'a str,
    span_name: &'a str,
    span_kind: String,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Json>,
}

pub(super) fn json(span: &SpanData, service_name: &str) -> String {
    let error = match &span.status {
        Status::Error { description } => Some(&**description),
        Status::Unset | Status::Ok => None,
    };
    let context = &span.span_context;
    let parent = span.parent_span_id;
    let line = Line {
        time: rfc3339(span.end_time),
        level: error.map_or("INFO", |_| "ERROR"),
        msg: "span ended",
        trace_id: context.trace_id().to_string(),
        span_id: context.span_id().to_string(),
        trace_flags: format!("{:02x}", context.trace_flags().to_u8()),
        service_name,
        span_name: &span.name,
        span_kind: format!("{:?}", span.span_kind).to_lowercase(),
        duration_ms: millis(since(span.start_time, span.end_time)),
        parent_span_id: (parent != opentelemetry::SpanId::INVALID).then(|| parent.to_string()),
        error,
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(event).collect(),
        links: span.links.iter().map(link).collect(),
    };
    // All of its values can be serialized.
    serde_json::to_string(&line).unwrap_or_default()
}

fn event(event: &opentelemetry::trace::Event) -> Json {
    json!({
        "time": rfc3339(event.timestamp),
        "name": event.name,
        "attributes": attributes(&event.attributes),
    })
}

fn link(link: &opentelemetry::trace::Link) -> Json {
    json!({
        "trace_id": link.span_context.trace_id().to_string(),
        "span_id": link.span_context.span_id().to_string(),
        "attributes": attributes(&link.attributes),
    })
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, Json> {
    let pairs = attributes.iter();
    pairs
        .map(|it| (it.key.as_str(), value(&it.value)))
        .collect()
}

/// Values without a JSON type become strings.
fn value(value: &Value) -> Json {
    let text = || Json::from(value.as_str().into_owned());
    match value {
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::F64(value) if value.is_finite() => json!(value),
        Value::Array(Array::Bool(values)) => json!(values),
        Value::Array(Array::I64(values)) => json!(values),
        Value::Array(Array::String(values)) => {
            json!(values.iter().map(|it| it.as_str()).collect::<Vec<_>>())
        }
        _ => text(),
    }
}

pub(super) fn since(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Times outside of the years 1970 to 9999 are moved to the nearest of these.
fn rfc3339(time: SystemTime) -> String {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format_rfc3339_nanos(SystemTime::UNIX_EPOCH + since.min(YEAR_9999)).to_string()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use opentelemetry::{
        InstrumentationScope,
        trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState},
    };

    use super::*;

    fn span(name: Cow<'static, str>, attributes: Vec<KeyValue>, status: Status) -> SpanData {
        let (trace, id) = (TraceId::from(1), SpanId::from(2));
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        SpanData {
            span_context: SpanContext::new(
                trace,
                id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::from(3),
            parent_span_is_remote: true,
            span_kind: SpanKind::Client,
            name,
            start_time: start,
            end_time: start + Duration::from_nanos(1_234_567),
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_span_has_the_keys_of_a_log_line_first() {
        let attributes = vec![
            KeyValue::new("rows", 3),
            KeyValue::new("rows", 4),
            KeyValue::new("share", f64::NAN),
            KeyValue::new("names", Value::Array(Array::String(vec!["a".into()]))),
        ];
        let text = json(
            &span("load".into(), attributes, Status::error("no")),
            "shop",
        );
        let expected = concat!(
            r#"{"time":"2026-11-21T12:00:00.001234567Z","level":"ERROR","msg":"span ended","#,
            r#""trace_id":"00000000000000000000000000000001","span_id":"0000000000000002","trace_flags":"01","#,
            r#""service_name":"shop","span_name":"load","span_kind":"client","duration_ms":1.235,"#,
            r#""parent_span_id":"0000000000000003","error":"no","#,
            r#""attributes":{"names":["a"],"rows":4,"share":"NaN"}}"#,
        );
        assert_eq!(text, expected);
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_span_says_is_one_line_of_json(
            name in ".*", key in "(?s).{0,20}", text in "(?s).{0,40}", number: f64,
        ) {
            let attributes = vec![KeyValue::new(key.clone(), text.clone()), KeyValue::new("number", number)];
            let line = json(&span(name.clone().into(), attributes, Status::Unset), &text);
            proptest::prop_assert!(!line.contains(['\n', '\r']));
            let read: Json = serde_json::from_str(&line).unwrap();
            proptest::prop_assert_eq!(&read["span_name"], &Json::from(name));
            proptest::prop_assert_eq!(&read["service_name"], &Json::from(&*text));
            if key != "number" {
                proptest::prop_assert_eq!(&read["attributes"][&key], &Json::from(text));
            }
        }
    }
}
