//! Fields of spans that go along with calls to other processes, as W3C baggage.

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

/// The travelling fields of the current span and of those around it as the value of a
/// [W3C `baggage`](https://www.w3.org/TR/baggage/) header, such as `request_id=r-17`. Which fields those
/// are is set by [`LoggingConfig::travelling`](crate::LoggingConfig::travelling).
///
/// Of several spans with the same field the innermost counts. A redacted value does not travel, nor
/// one that would make the whole longer than 8192 bytes.
///
/// Nothing outside of spans and where no span has such a field, and without a log of this crate in the thread's
/// current subscriber, which has to be built on [`tracing_subscriber::Registry`].
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
        let travelling: &Travelling = dispatch.downcast_ref()?;
        let registry: &Registry = dispatch.downcast_ref()?;
        let span = registry.span(dispatch.current_span().id()?)?;
        travelling.baggage(&span)
    })
}

/// Keeps the values of travelling fields with their spans.
#[derive(Debug)]
pub(crate) struct Travelling {
    names: Vec<String>,
    rules: Rules,
}

impl Travelling {
    pub(crate) fn new(names: Vec<String>, rules: Rules) -> Self {
        Self { names, rules }
    }

    fn baggage<'a, R: LookupSpan<'a>>(&self, span: &SpanRef<'a, R>) -> Option<String> {
        let mut baggage = String::new();
        let members = self.names.iter().filter_map(|name| {
            let value = span.scope().find_map(|span| {
                let extensions = span.extensions();
                let Luggage(values) = extensions.get()?;
                values
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| encoded(value))
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
        let mut packing = Packing {
            travelling: self,
            packed: Vec::new(),
        };
        // Before the lock is taken, as a value's own code runs here, and may log.
        record(&mut Visitor {
            rules: &self.rules,
            text: &mut String::new(),
            to: &mut packing,
        });
        let mut extensions = span.extensions_mut();
        let mut luggage: Luggage = extensions.remove().unwrap_or_default();
        for (name, value) in packing.packed {
            luggage.0.retain(|(known, _)| *known != name);
            luggage.0.extend(value.map(|value| (name, value)));
        }
        extensions.insert(luggage);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Travelling {
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

/// The travelling fields of one span.
#[derive(Debug, Default)]
struct Luggage(Vec<(&'static str, String)>);

struct Packing<'a> {
    travelling: &'a Travelling,
    /// None for a value that must stay.
    packed: Vec<(&'static str, Option<String>)>,
}

impl Record for Packing<'_> {
    fn wants(&self, field: &Field) -> bool {
        let name = name_of(field);
        self.travelling.names.iter().any(|known| known == name)
    }

    fn record(&mut self, field: &Field, value: Value<'_>) {
        if self.wants(field) {
            let name = name_of(field);
            let text = value.to_text();
            let hidden = self.travelling.rules.hides(name, || text.as_ref().into());
            self.packed
                .push((name, (!hidden).then(|| text.into_owned())));
        }
    }
}

/// A value of W3C baggage. More is encoded than has to be: Python's reader takes a plus for a space.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
