use std::{borrow::Cow, sync::Arc, time::SystemTime};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{self, Span as _, SpanBuilder, SpanContext, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan, SpanData};

use super::pipeline::Pipeline;
use crate::Propagator;

/// Makes spans. Cheap to clone.
///
/// It implements [`opentelemetry::trace::Tracer`]. When tracing is not enabled or is shut down, its spans propagate the
/// caller's context unchanged, so that a trace that passes through this service stays whole.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// None: not enabled.
    sdk: Option<SdkTracer>,
    /// None: an external provider, or not enabled.
    own: Option<Own>,
    propagator: Propagator,
}

/// What only a tracer of our own provider has.
#[derive(Debug, Clone)]
struct Own {
    pipeline: Arc<Pipeline>,
    scope: InstrumentationScope,
}

impl Tracer {
    /// A tracer that only propagates contexts.
    pub fn disabled() -> Self {
        Self {
            sdk: None,
            own: None,
            propagator: Propagator::default(),
        }
    }

    pub(crate) fn new(
        sdk: SdkTracer,
        pipeline: Arc<Pipeline>,
        scope: InstrumentationScope,
    ) -> Self {
        Self {
            sdk: Some(sdk),
            own: Some(Own { pipeline, scope }),
            propagator: Propagator::default(),
        }
    }

    /// Sets how a pool with this tracer propagates context. A provider's tracers have the provider's propagator. The
    /// default is that of [`Propagator`].
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = propagator;
        self
    }

    pub(crate) fn propagator(&self) -> &Propagator {
        &self.propagator
    }

    /// Whether [`record`](Self::record) takes spans.
    pub(crate) fn takes_records(&self) -> bool {
        self.own.is_some()
    }

    pub(crate) fn pipeline(&self) -> Option<&Pipeline> {
        self.own.as_ref().map(|own| &*own.pipeline)
    }

    pub(crate) fn scope(&self) -> Option<&InstrumentationScope> {
        self.own.as_ref().map(|own| &own.scope)
    }

    /// Whether spans are recorded. False once the provider is shut down.
    pub fn is_enabled(&self) -> bool {
        self.recording().is_some()
    }

    /// Exports a span that was made elsewhere, such as in a worker, and has ended. The head sampler and the limits of a
    /// span do not apply. Returns false if the tracer belongs to an external provider, which takes no such spans.
    pub fn record(&self, span: SpanData) -> bool {
        match &self.own {
            Some(own) => {
                own.pipeline.ended(span);
                true
            }
            None => false,
        }
    }

    fn recording(&self) -> Option<&SdkTracer> {
        let closed = self.own.as_ref().is_some_and(|it| it.pipeline.is_closed());
        self.sdk.as_ref().filter(|_| !closed)
    }
}

/// A tracer of a provider that the service set up itself.
impl From<SdkTracer> for Tracer {
    fn from(sdk: SdkTracer) -> Self {
        Self {
            sdk: Some(sdk),
            own: None,
            propagator: Propagator::default(),
        }
    }
}

impl trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Span {
        let Some(sdk) = self.recording() else {
            return Span::propagating(parent);
        };
        // The SDK's samplers would follow the decision of an invalid parent.
        let orphan = parent.has_active_span() && !parent.span().span_context().is_valid();
        let span = match orphan && !parent.is_telemetry_suppressed() {
            true => sdk.build_with_context(builder, &Context::new()),
            false => sdk.build_with_context(builder, parent),
        };
        // Suppressed, or of an external provider that is shut down.
        if !span.span_context().is_valid() {
            return Span::propagating(parent);
        }
        Span(Inner::Sdk(span))
    }
}

/// A span of a [`Tracer`].
#[derive(Debug)]
pub struct Span(Inner);

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would cost every recorded span an allocation"
)]
enum Inner {
    Sdk(SdkSpan),
    Propagating(SpanContext),
}

impl Span {
    fn propagating(parent: &Context) -> Self {
        Self(Inner::Propagating(parent.span().span_context().clone()))
    }

    fn recording(&mut self) -> Option<&mut SdkSpan> {
        match &mut self.0 {
            Inner::Sdk(span) => Some(span),
            Inner::Propagating(_) => None,
        }
    }
}

impl trace::Span for Span {
    fn add_event_with_timestamp<T: Into<Cow<'static, str>>>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        if let Some(span) = self.recording() {
            span.add_event_with_timestamp(name, timestamp, attributes);
        }
    }

    fn span_context(&self) -> &SpanContext {
        match &self.0 {
            Inner::Sdk(span) => span.span_context(),
            Inner::Propagating(context) => context,
        }
    }

    fn is_recording(&self) -> bool {
        match &self.0 {
            Inner::Sdk(span) => span.is_recording(),
            Inner::Propagating(_) => false,
        }
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        if let Some(span) = self.recording() {
            span.set_attribute(attribute);
        }
    }

    fn set_status(&mut self, status: Status) {
        if let Some(span) = self.recording() {
            span.set_status(status);
        }
    }

    fn update_name<T: Into<Cow<'static, str>>>(&mut self, name: T) {
        if let Some(span) = self.recording() {
            span.update_name(name);
        }
    }

    fn add_link(&mut self, context: SpanContext, attributes: Vec<KeyValue>) {
        if let Some(span) = self.recording() {
            span.add_link(context, attributes);
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        if let Some(span) = self.recording() {
            span.end_with_timestamp(timestamp);
        }
    }
}
