use std::{
    ffi::OsString,
    fmt,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use opentelemetry_sdk::trace::SpanExporter;
use pyproc_settings::Layers;

use crate::{
    BatchConfig, Compression, Config, ConfigError, ExporterType, MemorySpans, OtlpConfig,
    OtlpProtocol, PropagatorType, Provider, SamplerType, StartError, TailSampling,
    config::{Endpoint, builder_methods, in_effect},
    export::{
        Exporter, Sink,
        otlp::http::HttpExporter,
        queue::{Queue, QueueConfig},
        sdk::SdkExporter,
        stdout::{Form, StdoutExporter},
    },
    provider::{DiscardingSink, Pipeline, WarningExporter, Warnings, resource},
};

/// Sets up a [`Provider`] step by step. Most methods set the field of [`Config`] of the same
/// name, whose documentation they have.
///
/// Of each setting the last of these that has it counts, whatever the order of the calls: the default, the [`Config`] that the
/// builder was made from (a file's), the environment if [`read_env`](Self::read_env) is called, code.
///
/// ```
/// # use pyproc_telemetry::Provider;
/// let builder = Provider::builder()
///     .service_name("shop") // holds whatever OTEL_SERVICE_NAME says
///     .read_env();
/// assert_eq!(builder.config()?.service_name, "shop");
/// # Ok::<(), pyproc_telemetry::ConfigError>(())
/// ```
#[derive(Default, Debug)]
#[must_use]
pub struct ProviderBuilder {
    settings: Layers<Config>,
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

impl Provider {
    /// Starts with these settings, and none of the environment's.
    ///
    /// # Errors
    ///
    /// A setting is wrong, or the system gave no thread. An absent collector is not an error: it may start later.
    pub fn start(config: Config) -> Result<Self, StartError> {
        ProviderBuilder::from(config).start()
    }

    /// Starts with the settings of the environment, [`Config::from_env`].
    ///
    /// # Errors
    ///
    /// Those of [`Config::from_env`] and [`start`](Self::start).
    pub fn from_env() -> Result<Self, StartError> {
        Self::builder().read_env().start()
    }

    /// Starts step by step.
    pub fn builder() -> ProviderBuilder {
        ProviderBuilder::default()
    }
}

impl ProviderBuilder {
    builder_methods!();

    /// Reads what code does not set from the environment when the provider starts: the variables of
    /// [`Config::from_env`].
    pub fn read_env(mut self) -> Self {
        self.settings = self.settings.read_env();
        self
    }

    /// How trace context comes in and goes out.
    pub fn propagators(self, propagators: impl IntoIterator<Item = PropagatorType>) -> Self {
        let propagators: Vec<PropagatorType> = propagators.into_iter().collect();
        self.set(move |config| config.propagators = Some(propagators.clone()))
    }

    /// The collector's address.
    pub fn endpoint(self, address: impl Into<String>) -> Self {
        let address = address.into();
        self.set(move |config| config.otlp.set_endpoint(Some(address.clone())))
    }

    /// HTTP or gRPC.
    pub fn protocol(self, protocol: OtlpProtocol) -> Self {
        self.set(move |config| config.otlp.protocol = protocol)
    }

    /// One header for each request to the collector.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value): (String, String) = (name.into(), value.into());
        self.set(move |config| config.otlp.headers.insert(&*name, &*value))
    }

    /// How long one batch may take.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(move |config| config.otlp.timeout = timeout)
    }

    /// How requests to the collector are compressed.
    pub fn compression(self, compression: Compression) -> Self {
        self.set(move |config| config.otlp.compression = compression)
    }

    /// Writes the blocks of the exporter `stdout` there, as for a terminal, and chooses that exporter. A
    /// writer that blocks delays no span, but makes the queue fill up.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.destination = Destination::Writer(Box::new(writer));
        self.exporter_type(ExporterType::Stdout)
    }

    /// Keeps spans in memory instead of exporting them, for tests.
    pub fn in_memory(mut self, spans: &MemorySpans) -> Self {
        self.destination = Destination::Memory(spans.clone());
        self
    }

    /// Hands spans to an exporter made for the OpenTelemetry SDK instead, through the same queue. It runs on
    /// a thread without a runtime, and should have time limits of its own: it gets no deadline.
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
    /// Those of [`config`](Self::config) and [`Provider::start`].
    pub fn start(self) -> Result<Provider, StartError> {
        let (config, destination) = (self.config()?, self.destination);
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

    /// The settings in effect, such as for a `MetricsExporter` (feature `otlp-metrics`).
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense, or else the field.
    pub fn config(&self) -> Result<Config, ConfigError> {
        self.config_over(|name| std::env::var_os(name))
    }

    fn config_over(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Config, ConfigError> {
        Ok(in_effect(&self.settings, lookup)?)
    }

    fn set(mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.settings.set(change);
        self
    }
}

/// Settings of a file, under those of the environment and of code.
impl From<Config> for ProviderBuilder {
    fn from(config: Config) -> Self {
        Self {
            settings: config.into(),
            ..Self::default()
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
        (Destination::OfConfig, ExporterType::None) => Ok(Arc::new(DiscardingSink)),
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
            start_queue(WarningExporter::new(exporter, warnings), queue)
        }
        #[cfg(feature = "grpc")]
        OtlpProtocol::Grpc => {
            let exporter =
                crate::export::otlp::grpc::GrpcExporter::new(endpoint, &config.otlp, resource)?;
            start_queue(WarningExporter::new(exporter, warnings), queue)
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

#[cfg(test)]
mod tests;
