use std::{fmt, sync::Arc, time::Duration};

use opentelemetry::{InstrumentationScope, global, trace::TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits};

use self::pipeline::Processor;
use crate::{
    Config, ExportStats, FlushError, Propagator, blocking::on_thread, sampling::HeadSampler,
};

mod pipeline;
mod resource;
mod tracer;
mod warnings;

pub(crate) use pipeline::{DiscardingSink, NewSpan, Pipeline};
pub(crate) use resource::resource;
pub use tracer::{Span, Tracer};
pub(crate) use warnings::{WarningExporter, Warnings};

/// Makes tracers, and owns the exporter of their spans.
///
/// It is also the guard: its drop does what [`shutdown_blocking`](Self::shutdown_blocking) does, and logs the error if
/// there is one. A thread of its own exports, without a runtime, so waiting for it cannot deadlock on any thread or
/// runtime.
///
/// ```
/// use opentelemetry::trace::{Span, Tracer};
/// use pyproc_telemetry::{ExporterType, Provider};
///
/// let provider = Provider::builder()
///     .service_name("my-service")
///     .enabled(true)
///     .exporter_type(ExporterType::Stdout)
///     .sampling_rate(1.0)
///     .start()?;
/// let tracer = provider.tracer("my-service");
/// tracer.start("work").end();
/// let stats = provider.shutdown_blocking()?;
/// assert_eq!(stats.exported, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Provider {
    /// None: not enabled.
    running: Option<Running>,
    propagator: Propagator,
    warnings: Arc<Warnings>,
    shutdown_timeout: Duration,
}

#[derive(Clone)]
struct Running {
    sdk: SdkTracerProvider,
    pipeline: Arc<Pipeline>,
}

impl Provider {
    /// A tracer for the library or the part of the service with this name.
    pub fn tracer(&self, name: impl Into<std::borrow::Cow<'static, str>>) -> Tracer {
        self.warnings.log_once();
        let tracer = match &self.running {
            Some(running) => running.tracer(name),
            None => Tracer::disabled(),
        };
        tracer.with_propagator(self.propagator.clone())
    }

    /// Extracts and injects trace context. It works also when tracing is not enabled.
    pub fn propagator(&self) -> &Propagator {
        &self.propagator
    }

    /// Whether spans are recorded.
    pub fn is_enabled(&self) -> bool {
        self.running.is_some()
    }

    /// Warnings about settings that were corrected. They are also logged: at the start or, if the log is set up later,
    /// with the first tracer, batch, flush or shutdown after that.
    pub fn warnings(&self) -> &[String] {
        self.warnings.texts()
    }

    /// The counts of spans so far, by what became of them.
    pub fn stats(&self) -> ExportStats {
        self.running
            .as_ref()
            .map_or_else(ExportStats::default, |running| running.pipeline.stats())
    }

    /// A handle on the counts, which may outlive the provider.
    pub(crate) fn pipeline(&self) -> Option<Arc<Pipeline>> {
        self.running
            .as_ref()
            .map(|running| Arc::clone(&running.pipeline))
    }

    /// Makes this provider the global one, which [`opentelemetry::global`] returns. Prefer to pass the provider: any
    /// code can replace a global.
    pub fn set_global(&self) {
        global::set_text_map_propagator(self.propagator.clone());
        if let Some(running) = &self.running {
            global::set_tracer_provider(running.clone());
        }
    }

    /// Waits until the spans that ended so far are exported.
    ///
    /// # Errors
    ///
    /// Some spans were not exported: how many, and why.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future stops only the waiting: the spans are exported all the same.
    pub async fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.warnings.log_once();
        match &self.running {
            Some(running) => on_thread(&running.pipeline, limit, Pipeline::flush).await,
            None => Ok(()),
        }
    }

    /// [`flush`](Self::flush) for code that is not async. On a thread of a runtime it is safe, but blocks it.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub fn flush_blocking(&self, limit: Duration) -> Result<(), FlushError> {
        self.warnings.log_once();
        match &self.running {
            Some(running) => running.pipeline.flush(limit),
            None => Ok(()),
        }
    }

    /// Exports the waiting spans, and ends. Takes at most `shutdown_timeout`; spans that are not confirmed by then are
    /// lost and counted. Returns the counts of all spans.
    ///
    /// # Errors
    ///
    /// Spans were lost during the shutdown: how many, and why, for example as the collector was down or too slow.
    ///
    /// # Cancellation safety
    ///
    /// Once polled, the shutdown continues when the future is dropped.
    pub async fn shutdown(mut self) -> Result<ExportStats, FlushError> {
        self.warnings.log_once();
        let limit = self.shutdown_timeout;
        match self.running.take() {
            Some(running) => on_thread(&running.pipeline, limit, Pipeline::close).await,
            None => Ok(ExportStats::default()),
        }
    }

    /// [`shutdown`](Self::shutdown) for code that is not async. On a thread of a runtime it is safe, but blocks it.
    ///
    /// # Errors
    ///
    /// Those of [`shutdown`](Self::shutdown).
    pub fn shutdown_blocking(mut self) -> Result<ExportStats, FlushError> {
        self.close()
    }

    fn close(&mut self) -> Result<ExportStats, FlushError> {
        self.warnings.log_once();
        match self.running.take() {
            Some(running) => running.pipeline.close(self.shutdown_timeout),
            None => Ok(ExportStats::default()),
        }
    }

    pub(crate) fn assemble(
        config: &Config,
        pipeline: Option<Pipeline>,
        warnings: Arc<Warnings>,
    ) -> Self {
        let running = pipeline.map(Arc::new).map(|pipeline| Running {
            sdk: sdk_provider(config, Arc::clone(&pipeline)),
            pipeline,
        });
        Self {
            running,
            propagator: Propagator::new(config.effective_propagators()),
            warnings,
            shutdown_timeout: config.shutdown_timeout,
        }
    }
}

impl TracerProvider for Running {
    type Tracer = Tracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> Tracer {
        let sdk = self.sdk.tracer_with_scope(scope.clone());
        Tracer::new(sdk, Arc::clone(&self.pipeline), scope)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            let cause = error.source.as_ref().map(tracing::field::display);
            tracing::warn!(%error, cause, "tracing was shut down with losses");
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("enabled", &self.is_enabled())
            .field("propagator", &self.propagator)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn sdk_provider(config: &Config, pipeline: Arc<Pipeline>) -> SdkTracerProvider {
    let limits = &config.span_limits;
    SdkTracerProvider::builder()
        .with_resource(resource(config))
        .with_sampler(HeadSampler::new(config))
        .with_span_limits(SpanLimits {
            max_events_per_span: limits.events,
            max_attributes_per_span: limits.attributes,
            max_links_per_span: limits.links,
            max_attributes_per_event: limits.attributes,
            max_attributes_per_link: limits.attributes,
        })
        .with_span_processor(Processor(pipeline))
        .build()
}
