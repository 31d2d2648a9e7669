//! Jaeger's own headers: the trace by its crate, baggage by us, as the crate takes it for the trace's state.

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::TraceContextExt,
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::ids::trimmed;

// The format is deprecated, and with it the crate; services that still send it are not gone.
#[allow(deprecated)]
type Crate = opentelemetry_jaeger_propagator::Propagator;

const TRACE: &str = "uber-trace-id";
const BAGGAGE: &str = "uberctx-";
/// Names are those of headers: a request decides how many there are.
const MAX_BAGGAGE: usize = 64;
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'"').add(b',').add(b';');

#[derive(Debug, Default)]
pub(super) struct Jaeger(Crate);

impl TextMapPropagator for Jaeger {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        self.0.inject_context(context, injector);
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
        let context = self.with_trace(context, extractor);
        let baggage: Vec<_> = extractor
            .keys()
            .into_iter()
            .filter_map(|name| item(name, extractor))
            .take(MAX_BAGGAGE)
            .collect();
        if baggage.is_empty() {
            return context;
        }
        // Beside what another format brought.
        let known = context.baggage().iter();
        let known = known.map(|(name, (value, _))| KeyValue::new(name.clone(), value.to_string()));
        let all: Vec<_> = known.chain(baggage).collect();
        context.with_baggage(all)
    }

    fn fields(&self) -> FieldIter<'_> {
        self.0.fields()
    }
}

impl Jaeger {
    /// The crate warns of each request that lacks the header, and takes ids that are none.
    fn with_trace(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let Some(header) = trimmed(extractor, TRACE) else {
            return context.clone();
        };
        let found = self
            .0
            .extract_with_context(&Context::new(), &Header(header));
        match found.span().span_context() {
            span if span.is_valid() => context.with_remote_span_context(span.clone()),
            _ => context.clone(),
        }
    }
}

/// The one header that the crate gets to see.
struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        (name == TRACE).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACE]
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
    use opentelemetry::trace::SpanContext;

    use super::*;

    fn parse(text: &str) -> Option<SpanContext> {
        let context = Jaeger::default().extract(&Header(text));
        let found = context.span().span_context().clone();
        found.is_valid().then_some(found)
    }

    #[test]
    fn ids_may_be_short_and_colons_escaped() {
        for (text, sampled) in [
            (
                "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1",
                true,
            ),
            ("4bf92f3577b34da6:f067aa0ba902b7:0:3", true),
            ("4bf92f3577b34da6%3Af067aa0ba902b7%3A0%3A0", false),
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
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
