//! Fields of spans that are propagated with calls to other processes, as W3C baggage.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::{
    Subscriber, dispatcher,
    field::Field,
    span::{Attributes, Id, Record as Values},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use crate::format::{Record, Rules, Value, Visitor, name_of};

/// Limits of W3C baggage.
const MAX_BYTES: usize = 8192;
const MAX_MEMBERS: usize = 180;

/// What a value of W3C baggage encodes. It is more than the standard requires, as Python's reader decodes a plus as a space.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'@');

/// The propagated fields of the current span and its parents, as the value of a [W3C
/// `baggage`](https://www.w3.org/TR/baggage/) header, such as `request_id=r-17`.
/// [`LoggingConfig::travelling`](crate::LoggingConfig::travelling) names these fields.
///
/// If several spans have the same field, the innermost counts. Redacted values are left out, and so are values that
/// would make the whole longer than 8192 bytes.
///
/// `None` outside of spans, where no span has such a field, and without a log of this crate in the thread's current
/// subscriber. That has to be built on [`tracing_subscriber::Registry`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let _log = pyproc_logging::init(pyproc_logging::LoggingConfig::default())?;
/// let request = pyproc_logging::request_span!("r 17");
/// request.in_scope(|| assert_eq!(pyproc_logging::baggage().as_deref(), Some("request_id=r%2017")));
/// assert_eq!(pyproc_logging::baggage(), None);
/// # Ok(())
/// # }
/// ```
pub fn baggage() -> Option<String> {
    dispatcher::get_default(|dispatch| {
        let layer: &BaggageLayer = dispatch.downcast_ref()?;
        let registry: &Registry = dispatch.downcast_ref()?;
        let span = registry.span(dispatch.current_span().id()?)?;
        layer.baggage(&span)
    })
}

/// Stores the values of propagated fields with their spans.
#[derive(Debug)]
pub(crate) struct BaggageLayer {
    names: Vec<String>,
    rules: Rules,
}

impl BaggageLayer {
    pub(crate) fn new(names: Vec<String>, rules: Rules) -> Self {
        Self { names, rules }
    }

    fn baggage<'a, R: LookupSpan<'a>>(&self, span: &SpanRef<'a, R>) -> Option<String> {
        let mut baggage = String::new();
        let members = self.names.iter().filter_map(|name| {
            let value = span.scope().find_map(|span| {
                let extensions = span.extensions();
                let SpanBaggage(values) = extensions.get()?;
                values
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| utf8_percent_encode(value, ENCODED).to_string())
            });
            value.map(|value| format!("{name}={value}"))
        });
        for member in members.take(MAX_MEMBERS) {
            let comma = usize::from(!baggage.is_empty());
            if baggage.len() + comma + member.len() <= MAX_BYTES {
                baggage.extend((comma == 1).then_some(','));
                baggage.push_str(&member);
            }
        }
        (!baggage.is_empty()).then_some(baggage)
    }

    fn keep<'a, S: LookupSpan<'a>>(
        &self,
        span: &SpanRef<'a, S>,
        record: impl FnOnce(&mut dyn tracing::field::Visit),
    ) {
        let declared = span.metadata().fields();
        if !self
            .names
            .iter()
            .any(|name| declared.iter().any(|field| name_of(&field) == name))
        {
            return;
        }
        let mut collector = Collector {
            layer: self,
            fields: Vec::new(),
        };
        // Before the lock is taken: a value's own code runs here, and may log.
        record(&mut Visitor {
            rules: &self.rules,
            text: &mut String::new(),
            to: &mut collector,
        });
        let mut extensions = span.extensions_mut();
        let mut known_fields: SpanBaggage = extensions.remove().unwrap_or_default();
        for (name, value) in collector.fields {
            known_fields.0.retain(|(known, _)| *known != name);
            known_fields.0.extend(value.map(|value| (name, value)));
        }
        extensions.insert(known_fields);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for BaggageLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            self.keep(&span, |visitor| attributes.record(visitor));
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            self.keep(&span, |visitor| values.record(visitor));
        }
    }
}

/// The propagated fields of one span.
#[derive(Debug, Default)]
struct SpanBaggage(Vec<(&'static str, String)>);

struct Collector<'a> {
    layer: &'a BaggageLayer,
    /// None: the value is redacted.
    fields: Vec<(&'static str, Option<String>)>,
}

impl Record for Collector<'_> {
    fn wants(&self, field: &Field) -> bool {
        let name = name_of(field);
        self.layer.names.iter().any(|known| known == name)
    }

    fn record(&mut self, field: &Field, value: Value<'_>) {
        if self.wants(field) {
            let name = name_of(field);
            let text = value.to_text();
            let hidden = self.layer.rules.hides(name, || text.as_ref().into());
            self.fields
                .push((name, (!hidden).then(|| text.into_owned())));
        }
    }
}
