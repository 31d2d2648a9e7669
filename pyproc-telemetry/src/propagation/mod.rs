use std::sync::Arc;

use opentelemetry::{
    Context,
    baggage::BaggageExt,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, TraceContextExt, TraceState},
};
use opentelemetry_sdk::propagation::BaggagePropagator;

use pyproc_pool::protocol::Headers;

use self::{
    b3::B3,
    headers::{BoundedHeaders, Pairs, PairsMut},
    jaeger::Jaeger,
    w3c::TraceContext,
};
use crate::PropagatorType;

const BAGGAGE: &str = "baggage";

mod b3;
mod headers;
mod ids;
mod jaeger;
mod w3c;

#[cfg(feature = "http")]
pub use headers::{HeaderExtractor, HeaderInjector};

/// Extracts and injects trace context in the chosen formats (`OTEL_PROPAGATORS`).
///
/// It injects all formats. It extracts each format in turn, and the last that finds a valid context wins, as
/// OpenTelemetry specifies. Malformed context is ignored.
///
/// ```
/// use std::collections::HashMap;
/// use opentelemetry::trace::TraceContextExt;
/// use pyproc_telemetry::{Propagator, PropagatorType};
///
/// let propagator = Propagator::new([PropagatorType::TraceContext]);
/// let incoming = [("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
/// let context = propagator.extract_pairs(incoming);
/// assert!(context.span().span_context().is_sampled());
///
/// let mut outgoing: HashMap<String, String> = HashMap::new();
/// propagator.inject_pairs(&context, &mut outgoing);
/// assert_eq!(outgoing["traceparent"], incoming[0].1);
/// ```
#[derive(Debug, Clone)]
pub struct Propagator {
    formats: Arc<[Format]>,
    fields: Arc<[String]>,
    /// All formats are W3C's, which need headers only for a trace's state and for baggage.
    is_w3c: bool,
}

#[derive(Debug)]
struct Format {
    name: PropagatorType,
    propagator: Box<dyn TextMapPropagator + Send + Sync>,
}

impl Propagator {
    /// Uses these formats, in this order. An empty list propagates nothing.
    pub fn new(formats: impl IntoIterator<Item = PropagatorType>) -> Self {
        let formats: Arc<[_]> = formats.into_iter().map(format).collect();
        let mut fields: Vec<String> = Vec::new();
        for field in formats.iter().flat_map(|format| format.propagator.fields()) {
            if !fields.iter().any(|known| known == field) {
                fields.push(field.to_owned());
            }
        }
        let is_w3c = |format: &Format| {
            use PropagatorType::{Baggage, TraceContext};
            matches!(format.name, TraceContext | Baggage)
        };
        Self {
            is_w3c: formats.iter().all(is_w3c),
            formats,
            fields: fields.into(),
        }
    }

    /// Extracts the context of an incoming request from pairs of names and values. The case of names does not matter. A
    /// repeated name has all its values.
    ///
    /// Works for every string map: `extract_pairs(&map)`.
    pub fn extract_pairs<N: AsRef<str>, V: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Context {
        self.extract_with_context(&Context::new(), &Pairs::new(pairs))
    }

    /// Injects `context` into an outgoing request, as pairs of names and values.
    ///
    /// Works for every collection of pairs, such as maps and vectors.
    pub fn inject_pairs(&self, context: &Context, pairs: &mut impl Extend<(String, String)>) {
        self.inject_context(context, &mut PairsMut(pairs));
    }

    /// Injects into a request to a worker what has no field in its frame: the trace's state, baggage, and formats other
    /// than W3C's. Most calls have none of these, which costs next to nothing.
    #[inline]
    pub(crate) fn add_to(
        &self,
        headers: &mut Headers,
        context: &Context,
        state: &TraceState,
        span: impl Fn() -> SpanContext,
    ) {
        let is_nothing = self.is_w3c && state == &TraceState::NONE && context.baggage().is_empty();
        if !is_nothing {
            self.add_headers(headers, context, state, &span());
        }
    }

    #[cold]
    fn add_headers(
        &self,
        headers: &mut Headers,
        context: &Context,
        state: &TraceState,
        span: &SpanContext,
    ) {
        for format in self.formats.iter() {
            match format.name {
                PropagatorType::TraceContext if state == &TraceState::NONE => {}
                PropagatorType::TraceContext => {
                    BoundedHeaders::of(headers).set("tracestate", state.header());
                }
                PropagatorType::Baggage if context.baggage().is_empty() => {}
                PropagatorType::Baggage => add_baggage(format, context, headers),
                _ => {
                    let context = context.with_remote_span_context(span.clone());
                    format
                        .propagator
                        .inject_context(&context, &mut BoundedHeaders::of(headers));
                }
            }
        }
    }

    /// Extracts the context of an HTTP request.
    #[cfg(feature = "http")]
    pub fn extract_headers(&self, headers: &http::HeaderMap) -> Context {
        self.extract_with_context(&Context::new(), &HeaderExtractor::new(headers))
    }

    /// Injects `context` into an HTTP request.
    #[cfg(feature = "http")]
    pub fn inject_headers(&self, context: &Context, headers: &mut http::HeaderMap) {
        self.inject_context(context, &mut HeaderInjector(headers));
    }
}

/// W3C trace context and baggage.
impl Default for Propagator {
    fn default() -> Self {
        Self::new([PropagatorType::TraceContext, PropagatorType::Baggage])
    }
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        for format in self.formats.iter() {
            format.propagator.inject_context(context, injector);
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let mut context = context.clone();
        for format in self.formats.iter() {
            context = format.propagator.extract_with_context(&context, extractor);
        }
        context
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// Merges baggage with that of the caller or of the pool's hook for headers. Where both have a member of one name, the
/// existing one wins.
fn add_baggage(format: &Format, context: &Context, headers: &mut Headers) {
    let Some(given) = headers.get(BAGGAGE).cloned() else {
        return format
            .propagator
            .inject_context(context, &mut BoundedHeaders::of(headers));
    };
    let mut ours = Headers::new();
    format
        .propagator
        .inject_context(context, &mut BoundedHeaders::of(&mut ours));
    let name = |member: &str| {
        member
            .split(['=', ';'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let known: Vec<_> = given.split(',').map(name).collect();
    let ours = ours.remove(BAGGAGE).unwrap_or_default();
    let new = ours
        .split(',')
        .filter(|member| !known.contains(&name(member)));
    let members: Vec<_> = given.split(',').chain(new).collect();
    let merged = members.join(",");
    headers.remove(BAGGAGE);
    BoundedHeaders::of(headers).set(BAGGAGE, merged);
    headers.entry(BAGGAGE.into()).or_insert(given);
}

fn format(name: PropagatorType) -> Format {
    let propagator: Box<dyn TextMapPropagator + Send + Sync> = match name {
        PropagatorType::TraceContext => Box::new(TraceContext::default()),
        PropagatorType::Baggage => Box::new(BaggagePropagator::new()),
        PropagatorType::Jaeger => Box::new(Jaeger::default()),
        PropagatorType::B3 => Box::new(B3::single()),
        PropagatorType::B3Multi => Box::new(B3::multi()),
    };
    Format { name, propagator }
}
