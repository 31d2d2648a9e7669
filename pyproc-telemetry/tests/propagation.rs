//! Trace context from an incoming request, through the context, to an outgoing one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, HashMap};

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt, TraceFlags, TraceState},
};
use pyproc_telemetry::{
    Propagator,
    PropagatorType::{self, B3, B3Multi, Baggage, Jaeger, TraceContext},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// The headers of a format, for a sampled and an unsampled parent.
fn headers(format: PropagatorType, sampled: bool) -> BTreeMap<String, String> {
    let flag = u8::from(sampled);
    let pairs = match format {
        TraceContext => vec![("traceparent", format!("00-{TRACE}-{SPAN}-0{flag}"))],
        Jaeger => vec![("uber-trace-id", format!("{TRACE}:{SPAN}:0:{flag}"))],
        B3 => vec![("b3", format!("{TRACE}-{SPAN}-{flag}"))],
        _ => vec![
            ("x-b3-traceid", TRACE.into()),
            ("x-b3-spanid", SPAN.into()),
            ("x-b3-sampled", flag.to_string()),
        ],
    };
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn span_of(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

#[test]
fn every_format_goes_in_and_out_unchanged() {
    for format in [TraceContext, Jaeger, B3, B3Multi] {
        for sampled in [true, false] {
            let incoming = headers(format, sampled);
            let propagator = Propagator::new([format]);
            let context = propagator.extract_pairs(&incoming);
            let span = span_of(&context);
            assert_eq!(span.trace_id().to_string(), TRACE, "{format:?}");
            assert_eq!(span.span_id().to_string(), SPAN);
            assert_eq!((span.is_sampled(), span.is_remote()), (sampled, true));

            let mut outgoing = BTreeMap::new();
            propagator.inject_pairs(&context, &mut outgoing);
            assert_eq!(outgoing, incoming, "{format:?}");
        }
    }
}

#[test]
fn each_format_ignores_the_headers_of_the_others() {
    for format in [TraceContext, Baggage, Jaeger, B3, B3Multi] {
        for other in [TraceContext, Jaeger, B3, B3Multi] {
            let same = format == other || matches!((format, other), (B3, B3Multi) | (B3Multi, B3));
            let context = Propagator::new([format]).extract_pairs(&headers(other, true));
            assert_eq!(span_of(&context).is_valid(), same, "{format:?} {other:?}");
        }
    }
}

#[test]
fn any_pairs_have_context_and_names_count_in_any_case() {
    let propagator = Propagator::default();
    let parent = headers(TraceContext, true)["traceparent"].clone();
    let map: HashMap<String, String> = [("TraceParent".into(), parent.clone())].into();
    for context in [
        propagator.extract_pairs(&map),
        propagator.extract_pairs(vec![("TRACEPARENT", parent.as_str())]),
        propagator.extract_pairs([("traceparent", parent)]),
    ] {
        assert!(span_of(&context).is_valid());
        let mut pairs = Vec::new();
        propagator.inject_pairs(&context, &mut pairs);
        assert_eq!(pairs[0].0, "traceparent");
    }
}

#[test]
fn nothing_is_written_without_a_context() {
    let all = Propagator::new([TraceContext, Baggage, Jaeger, B3, B3Multi]);
    let mut pairs = Vec::new();
    all.inject_pairs(&Context::new(), &mut pairs);
    assert_eq!(pairs, []);
    let fields: Vec<_> = all.fields().collect();
    assert!(
        [
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "x-b3-traceid",
            "uber-trace-id"
        ]
        .iter()
        .all(|field| fields.contains(field))
    );
}

#[test]
fn state_travels_with_the_parent_and_an_empty_one_is_left_out() {
    let propagator = Propagator::default();
    let mut incoming = headers(TraceContext, true);
    let context = propagator.extract_pairs(&incoming);
    let mut outgoing = BTreeMap::new();
    propagator.inject_pairs(&context, &mut outgoing);
    assert!(!outgoing.contains_key("tracestate"));

    incoming.insert("tracestate".into(), "vendor=a,other=b".into());
    let context = propagator.extract_pairs(&incoming);
    outgoing.clear();
    propagator.inject_pairs(&context, &mut outgoing);
    assert_eq!(outgoing, incoming);

    // Several headers are one list.
    let pairs = [
        ("traceparent", incoming["traceparent"].as_str()),
        ("tracestate", "vendor=a"),
        ("tracestate", "other=b"),
    ];
    let span = span_of(&propagator.extract_pairs(pairs));
    assert_eq!(span.trace_state().header(), "vendor=a,other=b");
}

#[test]
fn the_flag_of_a_random_trace_id_is_kept_and_unknown_ones_are_not() {
    for (given, kept) in [("02", "02"), ("03", "03"), ("ff", "03")] {
        let parent = |flags| format!("00-{TRACE}-{SPAN}-{flags}");
        let propagator = Propagator::new([TraceContext]);
        let context = propagator.extract_pairs([("traceparent", parent(given))]);
        let mut outgoing = BTreeMap::new();
        propagator.inject_pairs(&context, &mut outgoing);
        assert_eq!(outgoing["traceparent"], parent(kept));
    }
}

#[test]
fn the_last_of_several_formats_wins() {
    let mut incoming = headers(TraceContext, true);
    incoming.insert("b3".into(), format!("{TRACE}-00000000000000aa-1"));
    let last = |formats: [PropagatorType; 2]| {
        let context = Propagator::new(formats).extract_pairs(&incoming);
        span_of(&context).span_id().to_string()
    };
    assert_eq!(last([TraceContext, B3]), "00000000000000aa");
    assert_eq!(last([B3, TraceContext]), SPAN);

    // One that finds nothing changes nothing.
    incoming.insert("b3".into(), "nonsense".into());
    let context = Propagator::new([TraceContext, B3]).extract_pairs(&incoming);
    assert_eq!(span_of(&context).span_id().to_string(), SPAN);
}

#[test]
fn baggage_travels_in_both_formats() {
    let context = Context::new().with_baggage([KeyValue::new("user.id", "a b, ü=1")]);
    for format in [Baggage, Jaeger] {
        let propagator = Propagator::new([format]);
        let mut pairs = Vec::new();
        propagator.inject_pairs(&context, &mut pairs);
        let back = propagator.extract_pairs(pairs);
        assert_eq!(
            back.baggage().get("user.id").unwrap().as_str(),
            "a b, ü=1",
            "{format:?}"
        );
    }
    // Both at once are merged.
    let both = [("baggage", "a=1"), ("uberctx-b", "2")];
    let context = Propagator::new([Baggage, Jaeger]).extract_pairs(both);
    assert_eq!(context.baggage().len(), 2);
}

#[test]
fn b3_prefers_its_single_header_and_takes_the_other_form_too() {
    let mut incoming = headers(B3Multi, true);
    let context = Propagator::new([B3]).extract_pairs(&incoming);
    assert_eq!(span_of(&context).span_id().to_string(), SPAN);
    incoming.insert("b3".into(), format!("{TRACE}-00000000000000aa-0"));
    let context = Propagator::new([B3Multi]).extract_pairs(&incoming);
    assert_eq!(span_of(&context).span_id().to_string(), "00000000000000aa");
    // The debug flag means sampled.
    let mut debug = headers(B3Multi, true);
    debug.remove("x-b3-sampled");
    debug.insert("x-b3-flags".into(), "1".into());
    assert!(span_of(&Propagator::new([B3Multi]).extract_pairs(&debug)).is_sampled());
}

#[cfg(feature = "http")]
#[test]
fn context_is_extracted_from_http_headers() {
    use http::{HeaderMap, HeaderValue};

    let mut incoming = HeaderMap::new();
    let parent = headers(TraceContext, true)["traceparent"].clone();
    incoming.insert("traceparent", parent.parse().unwrap());
    for (name, value) in [
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("baggage", "x=1"),
        ("baggage", "y=2"),
    ] {
        incoming.append(name, HeaderValue::from_static(value));
    }
    incoming.insert("x-broken", HeaderValue::from_bytes(b"\xff").unwrap());
    let propagator = Propagator::default();
    let context = propagator.extract_headers(&incoming);
    assert_eq!(span_of(&context).trace_state().header(), "a=1,b=2");
    assert_eq!(context.baggage().len(), 2);

    let mut outgoing = HeaderMap::new();
    outgoing.insert("traceparent", HeaderValue::from_static("stale"));
    propagator.inject_headers(&context, &mut outgoing);
    assert_eq!(outgoing["traceparent"], parent);
    assert_eq!(outgoing["tracestate"], "a=1,b=2");
}

#[test]
fn an_invalid_span_is_not_sent() {
    let invalid = SpanContext::new(
        0.into(),
        1.into(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let context = Context::new().with_remote_span_context(invalid);
    for format in [TraceContext, Jaeger, B3, B3Multi] {
        let mut pairs = Vec::new();
        Propagator::new([format]).inject_pairs(&context, &mut pairs);
        assert_eq!(pairs, [], "{format:?}");
    }
}
