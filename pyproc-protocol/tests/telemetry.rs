//! Telemetry: who gets it, and that records survive the wire.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::error::Error;

use bytes::{Bytes, BytesMut};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use pyproc_protocol::{
    ClientEvent, ClientSession, EncodeError, Features, Hello, Peer, WorkerInfo, WorkerSession,
    v2::{
        self,
        telemetry::{
            Aggregation, AttributeValue, Attributes, DroppedCounts, HistogramSeries, Labels,
            LogRecord, LostRecord, Metric, MetricData, MetricsRecord, Record, RecordError, Scope,
            Series, SpanEvent, SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceId,
            decode_records,
        },
    },
};

const MAX: usize = 64 * 1024;

/// Both ends after the handshake.
fn handshake(hello: Hello) -> (ClientSession, WorkerSession) {
    let info = WorkerInfo {
        features: Features::ALL,
        ..WorkerInfo::default()
    };
    let (mut to_worker, mut to_client) = (Vec::new(), Vec::new());
    let mut session = ClientSession::start(hello, MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::new(info, MAX);
    let mut input = BytesMut::from(&to_worker[..]);
    assert_eq!(worker.receive(&mut input, &mut to_client).unwrap(), None);
    let mut input = BytesMut::from(&to_client[..]);
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Ready)
    );
    (session, worker)
}

fn wanting(want: impl FnOnce(&mut Features)) -> Hello {
    let mut hello = Hello::new("test/1");
    want(&mut hello.features);
    hello
}

/// What comes out at the client when the worker sends a frame of telemetry, asked or not.
fn carried(session: &mut ClientSession, lines: &'static [u8]) -> Option<ClientEvent> {
    let mut out = Vec::new();
    let message = v2::Message::Telemetry(Bytes::from_static(lines));
    message.encode(MAX, &mut out).unwrap();
    session.receive(&mut BytesMut::from(&out[..])).unwrap()
}

fn log(message: &str) -> Record {
    Record::Log(LogRecord {
        message: message.into(),
        ..LogRecord::default()
    })
}

#[test]
fn a_hello_asks_for_no_telemetry_by_itself() {
    let (mut session, worker) = handshake(Hello::new("test/1"));
    assert_eq!(worker.features(), Features::CALLS);
    assert!(!worker.send_record(&log("x"), &mut Vec::new()).unwrap());
    assert_eq!(carried(&mut session, b"{}\n"), None, "it is skipped");
}

#[test]
fn a_client_gets_the_kinds_of_records_that_it_asked_for() {
    let (mut session, worker) = handshake(wanting(|features| features.logs = true));
    assert_eq!(session.peer().map(Peer::features), Some(worker.features()));
    let mut out = Vec::new();
    assert!(worker.send_record(&log("hello"), &mut out).unwrap());
    let metrics = Record::Metrics(MetricsRecord::default());
    assert!(!worker.send_record(&metrics, &mut out).unwrap());
    let lost = Record::Lost(LostRecord::default());
    assert!(worker.send_record(&lost, &mut out).unwrap());
    let mut input = BytesMut::from(&out[..]);
    for expected in [log("hello"), lost] {
        let Some(ClientEvent::Telemetry(lines)) = session.receive(&mut input).unwrap() else {
            panic!("telemetry was sent");
        };
        let read: Vec<_> = decode_records(&lines).map(Result::unwrap).collect();
        assert_eq!(read, [expected]);
    }
    assert_eq!(session.receive(&mut input).unwrap(), None);
}

#[test]
fn version_1_has_no_telemetry_whoever_asks() {
    let (session, worker) = handshake(Hello {
        versions: vec![1],
        ..wanting(|features| *features = Features::ALL)
    });
    assert_eq!(worker.features(), Features::CALLS);
    assert_eq!(session.peer().map(Peer::features), Some(Features::CALLS));
}

#[test]
fn a_worker_that_puts_telemetry_into_version_1_is_not_believed() {
    let mut session =
        ClientSession::start(wanting(|it| *it = Features::ALL), MAX, &mut Vec::new()).unwrap();
    let answer = br#"{"id":1,"ok":true,"body":{"version":1,"features":["cancel","logs"]}}"#;
    let mut input = BytesMut::from(&(answer.len() as u32).to_be_bytes()[..]);
    input.extend_from_slice(answer);
    session.receive(&mut input).unwrap();
    let features = session.peer().unwrap().features();
    assert!(features.cancel && !features.logs);
}

#[test]
fn a_record_too_large_for_a_frame_is_refused_and_leaves_nothing_behind() {
    let (_, worker) = handshake(wanting(|features| features.logs = true));
    let mut out = vec![7];
    let error = worker
        .send_record(&log(&"x".repeat(MAX)), &mut out)
        .unwrap_err();
    assert!(
        matches!(error, EncodeError::TooLarge { max: MAX }),
        "{error}"
    );
    assert_eq!(out, [7]);
}

#[test]
fn what_is_wrong_with_a_record_is_in_the_text_of_the_error() {
    let error = Record::decode_line(br#"{"type":"lost","logs":-1}"#).unwrap_err();
    let text = error.to_string();
    // Which word follows depends on features of serde_json.
    let begins = "the telemetry record of 25 bytes cannot be read: invalid ";
    assert!(text.starts_with(begins) && text.contains("`-1`"), "{text}");
    assert!(error.source().is_none());
}

#[test]
fn ids_that_cannot_be_make_a_record_unreadable() {
    for id in ["12", "+0000000000000ff", "000000000000000g", "ÿÿÿÿÿÿÿÿ"] {
        let line = format!(r#"{{"type":"log","time":1,"level":20,"message":"","span_id":"{id}"}}"#);
        assert!(Record::decode_line(line.as_bytes()).is_err(), "{id}");
    }
}

/// A span with further members.
fn span(members: &str) -> Result<SpanRecord, RecordError> {
    let (trace, span) = ("1".repeat(32), "2".repeat(16));
    let line = format!(
        r#"{{"type":"span","trace_id":"{trace}","span_id":"{span}","name":"n","start":1,"end":2{members}}}"#
    );
    match Record::decode_line(line.as_bytes())? {
        Some(Record::Span(span)) => Ok(span),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_that_is_null_empty_or_zeros_is_none_where_there_may_be_none() {
    for id in ["null", r#""""#, r#""0000000000000000""#, r#""00""#] {
        let read = span(&format!(r#","parent_span_id":{id}"#)).unwrap();
        assert_eq!(read, span("").unwrap(), "{id}");
        let line = format!(r#"{{"type":"log","time":1,"level":20,"message":"","span_id":{id}}}"#);
        let Ok(Some(Record::Log(log))) = Record::decode_line(line.as_bytes()) else {
            panic!("{id}");
        };
        assert_eq!(log.span_id, None, "{id}");
    }
    let nameless = r#"{"type":"span","trace_id":"00000000000000000000000000000000","span_id":"1","name":"n","start":1,"end":2}"#;
    assert!(Record::decode_line(nameless.as_bytes()).is_err());
}

#[test]
fn a_span_that_was_sent_is_sampled_unless_it_says_otherwise() {
    for (flags, expected) in [
        ("1", 1),
        ("0", 0),
        (r#""00""#, 0),
        (r#""0f""#, 15),
        ("null", 1),
    ] {
        let read = span(&format!(r#","trace_flags":{flags}"#)).unwrap();
        assert_eq!(read.trace_flags, expected, "{flags}");
    }
    assert_eq!(span("").unwrap().trace_flags, 1);
    assert!(span(r#","trace_flags":256"#).is_err());
}

#[test]
fn a_span_of_an_unknown_kind_or_status_is_lost() {
    assert!(span(r#","kind":5"#).is_err());
    assert!(span(r#","status":{"code":3}"#).is_err());
}

#[test]
fn members_that_are_null_are_absent() {
    let nulls = [
        "parent_span_id",
        "trace_flags",
        "trace_state",
        "kind",
        "attributes",
        "events",
        "links",
        "status",
        "scope",
        "resource",
        "dropped",
    ];
    let nulls: String = nulls.iter().map(|it| format!(r#","{it}":null"#)).collect();
    assert_eq!(span(&nulls).unwrap(), span("").unwrap());
    let within = r#","scope":{"name":null,"version":null,"schema_url":null,"attributes":null},"status":{"code":0,"description":null},"dropped":{"attributes":null,"events":null,"links":null}"#;
    assert_eq!(span(within).unwrap(), span("").unwrap());

    let line = |members: &str| {
        let line = format!(r#"{{"type":"log","time":1,"level":20,"message":"m"{members}}}"#);
        Record::decode_line(line.as_bytes()).unwrap()
    };
    let nulls = [
        "logger",
        "stream",
        "thread",
        "exception",
        "stack",
        "function",
        "trace_id",
        "span_id",
        "trace_flags",
        "file",
        "line",
        "fields",
        "baggage",
    ];
    let nulls: String = nulls.iter().map(|it| format!(r#","{it}":null"#)).collect();
    assert_eq!(line(&nulls), line(""));
}

#[test]
fn integers_are_read_however_they_are_written_unless_they_are_negative() {
    for (written, read) in [
        ("1.7e18", 1_700_000_000_000_000_000),
        ("18446744073709551615", u64::MAX),
        ("3.0", 3),
        ("3.9", 3),
    ] {
        let line = format!(r#"{{"type":"log","time":{written},"level":20,"message":""}}"#);
        let Ok(Some(Record::Log(log))) = Record::decode_line(line.as_bytes()) else {
            panic!("{written}");
        };
        assert_eq!(log.time, read, "{written}");
    }
    for written in ["-1", "-0.5", "1e20", r#""1""#, "true", "null"] {
        let line = format!(r#"{{"type":"log","time":{written},"level":20,"message":""}}"#);
        assert!(Record::decode_line(line.as_bytes()).is_err(), "{written}");
    }
}

#[test]
fn attributes_of_kinds_that_do_not_exist_are_left_out_alone() {
    let attributes = r#"{"a":1,"null":null,"object":{"x":[1]},"mixed":[1,"x"],"nested":[[1]],"nulls":[null],"b":["x"],"c":[1,2.5],"d":[],"e":[true,1]}"#;
    let read = span(&format!(r#","attributes":{attributes}"#)).unwrap();
    let expected = Attributes::from([
        ("a".into(), AttributeValue::Int(1)),
        ("b".into(), AttributeValue::Texts(vec!["x".into()])),
        ("c".into(), AttributeValue::Floats(vec![1.0, 2.5])),
        ("d".into(), AttributeValue::Bools(Vec::new())),
    ]);
    assert_eq!(read.attributes, expected);
}

#[test]
fn blank_lines_are_no_records() {
    let read: Vec<_> = decode_records(b"\n \r\n\t\n{\"type\":\"lost\"}\r\n").collect();
    assert_eq!(read.len(), 1);
    assert!(read[0].is_ok());
}

#[test]
fn whole_numbers_beyond_64_bits_are_read_as_floats() {
    let value: AttributeValue = serde_json::from_str("18446744073709551616").unwrap();
    assert_eq!(value, AttributeValue::Float(2_f64.powi(64)));
    let values: AttributeValue = serde_json::from_str("[1, 2.5]").unwrap();
    assert_eq!(values, AttributeValue::Floats(vec![1.0, 2.5]));
}

#[test]
fn a_metric_that_cannot_be_read_takes_no_other_with_it() {
    let sound = r#"{"name":"ok","kind":"counter","series":[{"value":1}]}"#;
    for (name, odd) in [
        ("k", r#"{"name":"k","kind":"summary","series":[]}"#),
        (
            "g",
            r#"{"name":"g","kind":"gauge","across":"mean","series":[]}"#,
        ),
        (
            "v",
            r#"{"name":"v","kind":"counter","series":[{"value":null}]}"#,
        ),
        (
            "l",
            r#"{"name":"l","kind":"counter","series":[{"labels":{"a":1},"value":1}]}"#,
        ),
        (
            "h",
            r#"{"name":"h","kind":"histogram","bounds":[1,1],"series":[{"counts":[0,0,0],"sum":0}]}"#,
        ),
        (
            "h",
            r#"{"name":"h","kind":"histogram","bounds":[2,1],"series":[{"counts":[0,0,0],"sum":0}]}"#,
        ),
        (
            "h",
            r#"{"name":"h","kind":"histogram","bounds":[],"series":[{"counts":[0,0,0],"sum":0}]}"#,
        ),
        ("", "7"),
        ("", "{}"),
    ] {
        let line = format!(r#"{{"type":"metrics","start":1,"metrics":[{sound},{odd},{sound}]}}"#);
        let Ok(Some(Record::Metrics(read))) = Record::decode_line(line.as_bytes()) else {
            panic!("{odd}");
        };
        assert_eq!(read.metrics.len(), 2, "{odd}");
        let [unreadable] = &read.unreadable[..] else {
            panic!("{:?}", read.unreadable);
        };
        assert_eq!(unreadable.name, name, "{odd}");
        assert!(!unreadable.reason.is_empty());
    }
}

#[test]
fn a_record_nested_too_deeply_is_an_error() {
    let deep = "[".repeat(100_000);
    let line = format!(r#"{{"type":"log","time":1,"level":20,"message":"","fields":{{"a":{deep}"#);
    assert!(Record::decode_line(line.as_bytes()).is_err());
}

/// Floats that JSON's usual readers give back to the last bit.
fn float() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|halves| f64::from(halves) / 2.0)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        any::<bool>().prop_map(AttributeValue::Bool),
        any::<i64>().prop_map(AttributeValue::Int),
        float().prop_map(AttributeValue::Float),
        any::<String>().prop_map(AttributeValue::Text),
        vec(any::<bool>(), 0..3).prop_map(AttributeValue::Bools),
        vec(any::<i64>(), 1..3).prop_map(AttributeValue::Ints),
        vec(float(), 1..3).prop_map(AttributeValue::Floats),
        vec(any::<String>(), 1..3).prop_map(AttributeValue::Texts),
    ];
    btree_map(any::<String>(), value, 0..3)
}

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_filter_map("zero", TraceId::new)
}

fn span_id() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>().prop_filter_map("zero", SpanId::new)
}

prop_compose! {
    fn log_record()(
        (time, level, line) in any::<(u64, u32, Option<u32>)>(),
        (logger, message) in any::<(String, String)>(),
        (stream, thread, exception, stack, function, file) in any::<(
            Option<String>, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>
        )>(),
        (trace_id, span_id) in (option::of(trace_id()), option::of(span_id())),
        trace_flags in any::<Option<u8>>(),
        fields in btree_map(any::<String>(), any::<String>().prop_map(Into::into), 0..3),
        baggage in btree_map(any::<String>(), any::<String>(), 0..3),
    ) -> Record {
        let fields = fields.into_iter().collect();
        Record::Log(LogRecord {
            time, level, logger, message, stream, thread, exception, stack, function, trace_id, span_id, trace_flags,
            file, line, fields, baggage,
        })
    }
}

fn span_kind() -> impl Strategy<Value = SpanKind> {
    (0_u8..5).prop_map(|kind| SpanKind::try_from(kind).unwrap())
}

fn status() -> impl Strategy<Value = SpanStatus> {
    prop_oneof![
        Just(SpanStatus::Unset),
        Just(SpanStatus::Ok),
        any::<String>().prop_map(|description| SpanStatus::Error { description }),
    ]
}

prop_compose! {
    fn link()(
        trace_id in trace_id(), span_id in span_id(), attributes in attributes(),
        (trace_flags, trace_state) in any::<(u8, String)>(),
    ) -> SpanLink {
        SpanLink { trace_id, span_id, trace_flags, trace_state, attributes }
    }
}

prop_compose! {
    fn event()((name, time) in any::<(String, u64)>(), attributes in attributes()) -> SpanEvent {
        SpanEvent { name, time, attributes }
    }
}

prop_compose! {
    fn scope()(
        (name, version, schema_url) in any::<(String, String, String)>(),
        attributes in attributes(),
    ) -> Scope {
        Scope { name, version, schema_url, attributes }
    }
}

prop_compose! {
    fn span_record()(
        (trace_id, span_id, parent_span_id) in (trace_id(), span_id(), option::of(span_id())),
        (trace_flags, trace_state, name, start, end) in any::<(u8, String, String, u64, u64)>(),
        (kind, status, scope) in (span_kind(), status(), scope()),
        (attributes, resource) in (attributes(), option::of(attributes())),
        (events, links) in (vec(event(), 0..3), vec(link(), 0..3)),
        dropped in any::<(u32, u32, u32)>(),
    ) -> Record {
        let dropped = DroppedCounts { attributes: dropped.0, events: dropped.1, links: dropped.2 };
        Record::Span(SpanRecord {
            trace_id, span_id, parent_span_id, trace_flags, trace_state, name, kind, start, end, attributes, events,
            links, status, scope, resource, dropped,
        })
    }
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(any::<String>(), any::<String>(), 0..3)
}

fn series() -> impl Strategy<Value = Vec<Series>> {
    let one = (labels(), float()).prop_map(|(labels, value)| Series { labels, value });
    vec(one, 0..3)
}

fn histogram() -> impl Strategy<Value = MetricData> {
    let bounds = prop::collection::btree_set(any::<i32>(), 0..4);
    bounds.prop_flat_map(|bounds| {
        let counts = vec(any::<u64>(), bounds.len() + 1);
        let one = (labels(), counts, float()).prop_map(|(labels, counts, sum)| HistogramSeries {
            labels,
            counts,
            sum,
        });
        vec(one, 0..3).prop_map(move |series| MetricData::Histogram {
            bounds: bounds.iter().copied().map(f64::from).collect(),
            series,
        })
    })
}

fn metric() -> impl Strategy<Value = Metric> {
    let aggregation = prop_oneof![
        Just(Aggregation::Sum),
        Just(Aggregation::Max),
        Just(Aggregation::Min),
        Just(Aggregation::None)
    ];
    let data = prop_oneof![
        series().prop_map(|series| MetricData::Counter { series }),
        (aggregation, series()).prop_map(|(aggregation, series)| MetricData::Gauge {
            aggregation,
            series
        }),
        histogram(),
    ];
    (any::<(String, String, String)>(), data).prop_map(|((name, help, unit), data)| Metric {
        name,
        help,
        unit,
        data,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let metrics = (any::<u64>(), vec(metric(), 0..3));
    prop_oneof![
        log_record(),
        span_record(),
        metrics.prop_map(|(start, metrics)| Record::Metrics(MetricsRecord {
            start,
            metrics,
            ..MetricsRecord::default()
        })),
        any::<(u64, u64)>().prop_map(|(logs, spans)| Record::Lost(LostRecord { logs, spans })),
    ]
}

proptest! {
    #[test]
    fn records_survive_the_wire(sent in vec(record(), 0..4)) {
        let mut lines = Vec::new();
        sent.iter().for_each(|record| record.encode_line(&mut lines));
        let read: Result<Vec<_>, _> = decode_records(&lines).collect();
        prop_assert_eq!(read.unwrap(), sent);
    }

    #[test]
    fn any_bytes_give_records_or_typed_errors(lines in vec(any::<u8>(), 0..512)) {
        let _records_or_errors = decode_records(&lines).count();
    }

    #[test]
    fn a_line_that_is_cut_takes_no_other_with_it(
        sent in record(), after in record(), cut in any::<prop::sample::Index>(),
    ) {
        let mut lines = Vec::new();
        sent.encode_line(&mut lines);
        lines.truncate(1 + cut.index(lines.len() - 2));
        lines.push(b'\n');
        after.encode_line(&mut lines);
        let read: Vec<_> = decode_records(&lines).collect();
        prop_assert!(read[0].is_err());
        prop_assert_eq!(read[1].as_ref().unwrap(), &after);
    }
}
