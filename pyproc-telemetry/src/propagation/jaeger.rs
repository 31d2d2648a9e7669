//! Jaeger's own headers: `uber-trace-id` for the trace, `uberctx-*` for baggage.
//!
//! The crate for them, `opentelemetry-jaeger-propagator`, ended with OpenTelemetry 0.32.

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, TraceFlags, TraceState},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::ids::{entered, hex, remote, span_id, trace_id, trimmed, with_span};

const TRACE: &str = "uber-trace-id";
const BAGGAGE: &str = "uberctx-";
/// The most members of baggage. A request decides how many headers there are.
const MAX_BAGGAGE: usize = 64;
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'"').add(b',').add(b';');

/// Jaeger's flags that are used here. The debug flag counts only beside the sampled flag.
const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;
/// Jaeger's debug flag within the flags of OpenTelemetry, which have no bit for it.
const KEPT_DEBUG: TraceFlags = TraceFlags::new(4);

#[derive(Debug)]
pub(super) struct Jaeger([String; 1]);

impl Default for Jaeger {
    fn default() -> Self {
        Self([TRACE.into()])
    }
}

impl TextMapPropagator for Jaeger {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        with_span(context, injector, |span, injector| {
            let (trace, id) = (span.trace_id(), span.span_id());
            // The third part was the parent's id.
            let flags = written_flags(span.trace_flags());
            injector.set(TRACE, format!("{trace}:{id}:0:{flags:x}"));
        });
        for (name, (value, _)) in context.baggage() {
            if name
                .as_str()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                let value = utf8_percent_encode(value.as_str(), ESCAPED).to_string();
                injector.set(&format!("{BAGGAGE}{name}"), value);
            }
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let context = entered(context, trimmed(extractor, TRACE).and_then(parse));
        let baggage: Vec<_> = extractor
            .keys()
            .into_iter()
            .filter_map(|name| item(name, extractor))
            .take(MAX_BAGGAGE)
            .collect();
        if baggage.is_empty() {
            return context;
        }
        // Added to the baggage of other formats.
        let known = context.baggage().iter();
        let known = known.map(|(name, (value, _))| KeyValue::new(name.clone(), value.to_string()));
        let all: Vec<_> = known.chain(baggage).collect();
        context.with_baggage(all)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.0)
    }
}

/// `trace:span:parent:flags`, whose colons may be escaped.
fn parse(text: &str) -> Option<SpanContext> {
    let text = match text.contains(':') {
        true => Cow::from(text),
        false => percent_decode_str(text).decode_utf8().ok()?,
    };
    let mut parts = text.split(':');
    let (trace, span) = (trace_id(parts.next()?)?, span_id(parts.next()?)?);
    let (_parent, flags) = (parts.next()?, hex(parts.next()?, 2)?);
    let flags = read_flags(u8::try_from(flags).ok()?);
    match parts.next() {
        None => Some(remote(trace, span, flags, TraceState::NONE)),
        Some(_) => None,
    }
}

fn read_flags(flags: u8) -> TraceFlags {
    match (flags & SAMPLED != 0, flags & DEBUG != 0) {
        (true, true) => TraceFlags::SAMPLED | KEPT_DEBUG,
        (true, false) => TraceFlags::SAMPLED,
        (false, _) => TraceFlags::NOT_SAMPLED,
    }
}

fn written_flags(flags: TraceFlags) -> u8 {
    match (flags.is_sampled(), flags & KEPT_DEBUG == KEPT_DEBUG) {
        (true, true) => SAMPLED | DEBUG,
        (true, false) => SAMPLED,
        (false, _) => 0,
    }
}

fn item(name: &str, extractor: &dyn Extractor) -> Option<KeyValue> {
    let prefix = name.get(..BAGGAGE.len())?;
    if !prefix.eq_ignore_ascii_case(BAGGAGE) {
        return None;
    }
    let value = percent_decode_str(trimmed(extractor, name)?)
        .decode_utf8()
        .ok()?;
    Some(KeyValue::new(
        name[BAGGAGE.len()..].to_ascii_lowercase(),
        value.into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::trace::TraceContextExt;

    use super::*;

    #[test]
    fn ids_may_be_short_and_colons_escaped() {
        for (text, sampled) in [
            (
                "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1",
                true,
            ),
            ("4bf92f3577b34da6:f067aa0ba902b7:0:3", true),
            ("4bf92f3577b34da6%3Af067aa0ba902b7%3A0%3A0", false),
            ("4bf92f3577b34da6%3af067aa0ba902b7%3a0%3a1", true),
            ("4bf92f3577b34da6:f067aa0ba902b7:ff:0b", true),
            ("4bf92f3577b34da6:f067aa0ba902b7:0:2", false),
        ] {
            let found = parse(text).unwrap();
            assert_eq!(found.span_id().to_string(), "00f067aa0ba902b7");
            assert_eq!(found.is_sampled(), sampled, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_as_if_it_were_not_there() {
        for text in [
            "",
            "a:b:0",
            "1:2:0:1:x",
            "0:1:0:1",
            "1:0:0:1",
            "1:+2:0:1",
            "1:2:0:",
            "1:2:0:100",
            "1:2:0:+1",
            "1:2:0:1:",
            "%ff%3A2%3A0%3A1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_debug_flag_travels_with_the_sampled_one() {
        for (flags, written) in [("0", "0"), ("1", "1"), ("2", "0"), ("3", "3"), ("0f", "3")] {
            let found = parse(&format!("1:2:0:{flags}")).unwrap();
            let context = Context::new().with_remote_span_context(found);
            let mut headers = HashMap::new();
            Jaeger::default().inject_context(&context, &mut headers);
            let expected = format!("{:032x}:{:016x}:0:{written}", 1, 2);
            assert_eq!(headers[TRACE], expected, "{flags}");
        }
    }
}
