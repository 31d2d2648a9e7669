//! Zipkin's B3, in one header or in several.

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, TraceFlags, TraceState},
};

use super::ids::{entered, remote, span_id, trace_id, trimmed, with_span};

const SINGLE: &str = "b3";
const TRACE: &str = "x-b3-traceid";
const SPAN: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// Injects one form and extracts both. The single header wins, as Zipkin specifies.
#[derive(Debug)]
pub(super) struct B3 {
    multi: bool,
    fields: Vec<String>,
}

impl B3 {
    pub(super) fn single() -> Self {
        Self {
            multi: false,
            fields: vec![SINGLE.into()],
        }
    }

    pub(super) fn multi() -> Self {
        Self {
            multi: true,
            fields: [TRACE, SPAN, SAMPLED, FLAGS].map(String::from).into(),
        }
    }
}

impl TextMapPropagator for B3 {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        with_span(context, injector, |span, injector| {
            let sampled = if span.is_sampled() { "1" } else { "0" };
            let (trace, id) = (span.trace_id(), span.span_id());
            if self.multi {
                injector.set(TRACE, trace.to_string());
                injector.set(SPAN, id.to_string());
                injector.set(SAMPLED, sampled.into());
            } else {
                injector.set(SINGLE, format!("{trace}-{id}-{sampled}"));
            }
        });
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let single = trimmed(extractor, SINGLE).and_then(parse);
        entered(context, single.or_else(|| parse_multi(extractor)))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// `trace-span[-sampled[-parent]]`. A sampling decision alone is not a context that could be propagated.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let (state, _parent) = (parts.next(), parts.next());
    match parts.next() {
        None => found(trace, span, state),
        Some(_) => None,
    }
}

fn parse_multi(extractor: &dyn Extractor) -> Option<SpanContext> {
    let debug = trimmed(extractor, FLAGS) == Some("1");
    let state = match debug {
        true => Some("d"),
        false => trimmed(extractor, SAMPLED),
    };
    found(trimmed(extractor, TRACE)?, trimmed(extractor, SPAN)?, state)
}

/// A deferred decision is ours. This API can only express it as not sampled.
fn found(trace: &str, span: &str, state: Option<&str>) -> Option<SpanContext> {
    let flags = match state {
        Some("1" | "d" | "true") => TraceFlags::SAMPLED,
        Some("0" | "false") | None => TraceFlags::NOT_SAMPLED,
        Some(_) => return None,
    };
    let long = matches!(trace.len(), 16 | 32) && span.len() == 16;
    let (trace, span) = (trace_id(trace)?, span_id(span)?);
    long.then(|| remote(trace, span, flags, TraceState::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_single_header() {
        for (text, sampled) in [
            (
                "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
                true,
            ),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d", true),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0", false),
            ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1", false),
            ("64fe8b2a57d3eff7-e457b5a2e4d86bd1-1", true),
        ] {
            assert_eq!(
                parse(text).map(|it| it.is_sampled()),
                Some(sampled),
                "{text}"
            );
        }
        for text in [
            "",
            "0",
            "1",
            "-",
            "80f198ee56343ba864fe8b2a57d3eff7",
            "80f198ee56343ba8-e457b5a2e4d86bd1-x",
            "80f198ee56343ba8-e457b5a2e4d86bd1-1-2-3",
            "80f198ee-e457b5a2e4d86bd1-1",
            "0000000000000000-e457b5a2e4d86bd1-1",
            "80f198ee56343ba8-0000000000000000-1",
            "80f198ee56343ba8-e457b5a2e4d86bdz-1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
