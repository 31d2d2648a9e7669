use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use opentelemetry_sdk::trace::SpanExporter;

use crate::{
    BatchConfig, Compression, Config, ConfigError, ExporterType, MemorySpans, OtlpConfig,
    OtlpProtocol, PropagatorType, Provider, SamplerType, StartError, TailSampling,
    config::Endpoint,
    export::{
        Exporter, Sink,
        http::HttpExporter,
        queue::{Queue, QueueConfig},
        sdk::SdkExporter,
        stdout::{Form, StdoutExporter},
    },
    pipeline::{Nowhere, Pipeline},
    provider::resource,
    warnings::{Warning, Warnings},
};

/// Sets up a [`Provider`] step by step. Most methods set the field of [`Config`] of the same
/// name; unit, default and limits are documented there.
#[derive(Debug, Default)]
#[must_use]
pub struct ProviderBuilder {
    config: Config,
    destination: Destination,
}

/// What only code can give.
#[derive(Default)]
enum Destination {
    #[default]
    OfConfig,
    Writer(Box<dyn Write + Send>),
    Memory(MemorySpans),
    Custom(StartSink),
}

type StartSink = Box<dyn FnOnce(&Config) -> Result<Arc<dyn Sink>, StartError> + Send>;

impl ProviderBuilder {
    /// The service's name.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.config.service_name = name.into();
        self
    }

    /// Whether spans are made at all.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.config.enabled = enabled;
        self
    }

    /// Where spans go.
    pub fn exporter_type(mut self, exporter: ExporterType) -> Self {
        self.config.exporter_type = exporter;
        self
    }

    /// Share of traces that are sampled.
    pub fn sampling_rate(mut self, rate: f64) -> Self {
        self.config.sampling_rate = rate;
        self
    }

    /// Who decides whether a trace is sampled.
    pub fn sampler(mut self, sampler: SamplerType) -> Self {
        self.config.sampler = sampler;
        self
    }

    /// Keeps what failed or was slow at any rate.
    pub fn tail_sampling(mut self, tail: TailSampling) -> Self {
        self.config.tail_sampling = Some(tail);
        self
    }

    /// How trace context comes in and goes out.
    pub fn propagators(mut self, propagators: impl IntoIterator<Item = PropagatorType>) -> Self {
        self.config.propagators = Some(propagators.into_iter().collect());
        self
    }

    /// The collector's address.
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.config.otlp.endpoint = Some(address.into());
        self.config.otlp.exact_endpoint = None;
        self
    }

    /// HTTP or gRPC.
    pub fn protocol(mut self, protocol: OtlpProtocol) -> Self {
        self.config.otlp.protocol = protocol;
        self
    }

    /// One header for each request to the collector.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.otlp.headers.insert(name, value);
        self
    }

    /// How long one batch may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.otlp.timeout = timeout;
        self
    }

    /// How requests to the collector are compressed.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.config.otlp.compression = compression;
        self
    }

    /// All about the collector.
    pub fn otlp(mut self, otlp: OtlpConfig) -> Self {
        self.config.otlp = otlp;
        self
    }

    /// Spans waiting to be exported.
    pub fn batch(mut self, batch: BatchConfig) -> Self {
        self.config.batch = batch;
        self
    }

    /// One attribute of the service itself.
    pub fn resource_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let attributes = &mut self.config.resource_attributes;
        attributes.insert(name.into(), value.into());
        self
    }

    /// One field of every log line, such as `version`, that is an attribute of the service, too.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.fields.insert(name.into(), value.into());
        self
    }

    /// How long a shutdown may wait.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.config.shutdown_timeout = timeout;
        self
    }

    /// Writes the blocks of the exporter `stdout` there, as for a terminal, and chooses that exporter. A
    /// writer that blocks delays no span, but makes the queue fill up.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.config.exporter_type = ExporterType::Stdout;
        self.destination = Destination::Writer(Box::new(writer));
        self
    }

    /// Keeps spans in memory instead of exporting them, for tests.
    pub fn in_memory(mut self, spans: &MemorySpans) -> Self {
        self.destination = Destination::Memory(spans.clone());
        self
    }

    /// Hands spans to an exporter made for the OpenTelemetry SDK instead, through the same queue. It runs on
    /// a thread without a runtime, and should have limits of its own: it is not told how long it may take.
    pub fn exporter(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.destination = Destination::Custom(Box::new(move |config| {
            start_queue(
                SdkExporter::new(exporter, resource(config)),
                queue_config(config),
            )
        }));
        self
    }

    /// Starts.
    ///
    /// # Errors
    ///
    /// Those of [`Provider::start`].
    pub fn start(self) -> Result<Provider, StartError> {
        let Self {
            config,
            destination,
        } = self;
        config.validate()?;
        let warnings = Arc::default();
        let pipeline = match config.enabled {
            true => {
                let sink = sink(&config, destination, &warnings)?;
                Some(Pipeline::new(&config, sink))
            }
            false => None,
        };
        Ok(Provider::assemble(&config, pipeline, warnings))
    }
}

/// Settings from a file or the environment, to be changed further.
impl From<Config> for ProviderBuilder {
    fn from(config: Config) -> Self {
        Self {
            config,
            destination: Destination::default(),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OfConfig => "OfConfig",
            Self::Writer(_) => "Writer",
            Self::Memory(_) => "Memory",
            Self::Custom(_) => "Custom",
        })
    }
}

fn sink(
    config: &Config,
    destination: Destination,
    warnings: &Arc<Warnings>,
) -> Result<Arc<dyn Sink>, StartError> {
    match (destination, config.exporter_type) {
        (Destination::Memory(spans), _) => Ok(Arc::new(spans)),
        (Destination::Custom(start), _) => start(config),
        (Destination::Writer(writer), _) => text(config, writer, Form::Blocks),
        (Destination::OfConfig, ExporterType::Stdout) => {
            let stdout = io::stdout();
            let form = match stdout.is_terminal() {
                true => Form::Blocks,
                false => Form::Lines,
            };
            text(config, Box::new(stdout), form)
        }
        (Destination::OfConfig, ExporterType::None) => Ok(Arc::new(Nowhere)),
        (Destination::OfConfig, ExporterType::Otlp | ExporterType::Jaeger) => {
            let invalid = |reason| ConfigError::new("otlp.endpoint", reason);
            let (endpoint, warning) = Endpoint::of(config).map_err(invalid)?;
            warnings.set(warning.into_iter().collect());
            otlp(config, endpoint, warnings)
        }
    }
}

/// Each span at once, as a person waits for it.
fn text(
    config: &Config,
    writer: Box<dyn Write + Send>,
    form: Form,
) -> Result<Arc<dyn Sink>, StartError> {
    let queue = QueueConfig {
        delay: Duration::ZERO,
        ..queue_config(config)
    };
    start_queue(
        StdoutExporter::new(writer, &config.service_name, form),
        queue,
    )
}

fn otlp(
    config: &Config,
    endpoint: Endpoint,
    warnings: &Arc<Warnings>,
) -> Result<Arc<dyn Sink>, StartError> {
    let (queue, resource) = (queue_config(config), resource(config));
    match config.otlp.protocol {
        OtlpProtocol::HttpProtobuf => {
            let exporter = HttpExporter::new(endpoint, &config.otlp, resource)?;
            start_queue(Warning::new(exporter, warnings), queue)
        }
        #[cfg(feature = "grpc")]
        OtlpProtocol::Grpc => {
            let exporter =
                crate::export::grpc::GrpcExporter::new(endpoint, &config.otlp, resource)?;
            start_queue(Warning::new(exporter, warnings), queue)
        }
        #[cfg(not(feature = "grpc"))]
        OtlpProtocol::Grpc => {
            let reason = "grpc needs the feature `grpc` of pyproc-telemetry";
            Err(ConfigError::new("otlp.protocol", reason).into())
        }
    }
}

fn start_queue(
    exporter: impl Exporter + 'static,
    config: QueueConfig,
) -> Result<Arc<dyn Sink>, StartError> {
    Ok(Arc::new(Queue::start(exporter, config)?))
}

fn queue_config(config: &Config) -> QueueConfig {
    let batch = &config.batch;
    QueueConfig {
        max_waiting: batch.max_queue_size,
        batch: batch.max_export_batch_size.min(batch.max_queue_size),
        delay: batch.schedule_delay,
        timeout: config.otlp.timeout.min(batch.export_timeout),
    }
}
