//! W3C trace context. The SDK's propagator accepts ids of any length, and injects an empty `tracestate`.

use std::str::FromStr;

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, TraceFlags, TraceState},
};

use super::ids::{entered, hex, remote, span_id, trace_id, trimmed, with_span};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// The flags that are kept: sampled, and random trace id (level 2 of the standard).
const KNOWN: TraceFlags = TraceFlags::new(0b11);

#[derive(Debug)]
pub(super) struct TraceContext([String; 2]);

impl Default for TraceContext {
    fn default() -> Self {
        Self([PARENT.into(), STATE.into()])
    }
}

impl TextMapPropagator for TraceContext {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        with_span(context, injector, |span, injector| {
            let flags = span.trace_flags() & KNOWN;
            let parent = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
            injector.set(PARENT, parent);
            let state = span.trace_state().header();
            if !state.is_empty() {
                injector.set(STATE, state);
            }
        });
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let found = trimmed(extractor, PARENT).and_then(|parent| {
            let states = extractor.get_all(STATE).unwrap_or_default();
            parse(parent, &states.join(","))
        });
        entered(context, found)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.0)
    }
}

fn parse(parent: &str, states: &str) -> Option<SpanContext> {
    if parent.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut parts = parent.split('-');
    let mut part = |length: usize| parts.next().filter(|part| part.len() == length);
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let more = parts.next().is_some();
    // A later version may add parts. ff is not a version.
    if hex(version, 2)? == 0xff || (version == "00" && more) {
        return None;
    }
    let flags = TraceFlags::new(u8::try_from(hex(flags, 2)?).ok()?) & KNOWN;
    let state = TraceState::from_str(states).unwrap_or_default();
    Some(remote(trace_id(trace)?, span_id(span)?, flags, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in [
            format!("00-{IDS}-01"),
            format!("cc-{IDS}-03-more"),
            format!("01-{IDS}-01"),
        ] {
            assert!(parse(&text, "").is_some_and(|it| it.is_sampled()), "{text}");
        }
        assert!(!parse(&format!("00-{IDS}-02"), "").unwrap().is_sampled());
    }

    #[test]
    fn what_is_malformed_is_as_if_it_were_not_there() {
        for text in [
            String::new(),
            format!("ff-{IDS}-01"),
            format!("00-{IDS}"),
            format!("00-{IDS}-01-more"),
            format!("00-{IDS}-1"),
            format!("00-{}-01", IDS.to_uppercase()),
            format!("00-{}-01", IDS.replace('f', "+")),
            "00-4bf92f3577b34da6-00f067aa0ba902b7-01".into(),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
            "00-é".into(),
        ] {
            assert_eq!(parse(&text, ""), None, "{text}");
        }
    }

    #[test]
    fn a_broken_state_does_not_cost_the_parent() {
        let found = parse(&format!("00-{IDS}-01"), "no pair").unwrap();
        assert_eq!(found.trace_state().header(), "");
    }
}
