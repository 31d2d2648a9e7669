//! From settings to a running log.

use std::{env, io::Write, sync::Arc, time::SystemTime};

use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

#[cfg(feature = "bunyan")]
use crate::format::bunyan;
use crate::{
    InitError, LogFormat, LoggingConfig, LoggingGuard, LoggingHandle,
    baggage::BaggageLayer,
    format::{LineFormat, LineLayer, Predicate, Rules, Style, write_notice},
    levels::SharedLevels,
    own_dispatch::OwnDispatch,
    trace_ids::IdSource,
    writer::{Destination, Limits, Notice, Writer, wants_color},
};

/// The log as a layer of `tracing-subscriber`, see [`LoggingBuilder::layer`](crate::LoggingBuilder::layer).
pub type LoggingLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// An output from code, in place of that of the settings.
type Output = Option<Box<dyn Write + Send>>;

pub(crate) fn init(
    config: &LoggingConfig,
    predicate: Option<Predicate>,
    output: Output,
) -> Result<LoggingGuard, InitError> {
    let (layer, guard) = layer::<Registry>(config, predicate, output)?;
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|error| InitError::AlreadySet(Arc::new(error)))?;
    Ok(guard)
}

pub(crate) fn layer<S>(
    config: &LoggingConfig,
    predicate: Option<Predicate>,
    output: Output,
) -> Result<(LoggingLayer<S>, LoggingGuard), InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let rules = Rules {
        max_value_bytes: config.max_value_bytes,
        names: config.redact.clone(),
        predicate,
    };
    let destination = match output {
        Some(to) => Destination {
            to,
            is_terminal: false,
        },
        None => Destination::open(config.output)?,
    };
    let color = wants_color(config.color, destination.is_terminal, |name| {
        env::var_os(name)
    });
    let kind = Kind::new(config, color, &rules);
    let limits = Limits {
        lines: config.queue_lines,
        bytes: config.queue_bytes,
    };
    let writer = Writer::start(destination.to, limits, kind.notice())
        .map_err(|error| InitError::Thread(Arc::new(error)))?;
    let writer = Arc::new(writer);
    let own = OwnDispatch::default();
    let levels = SharedLevels::new(&config.level, own.clone());
    let layer = kind.layer(config, rules, levels.clone(), Arc::clone(&writer), own);
    let handle = LoggingHandle::new(levels, writer);
    Ok((layer, LoggingGuard::new(handle, config.flush_timeout)))
}

/// The format, with its parameters.
enum Kind {
    Lines(LineFormat),
    #[cfg(feature = "bunyan")]
    Bunyan(bunyan::BunyanFormat),
}

impl Kind {
    fn new(config: &LoggingConfig, color: bool, rules: &Rules) -> Self {
        let lines = |style| Self::Lines(LineFormat::new(style, config, rules.clone()));
        match config.format {
            LogFormat::Json => lines(Style::Json),
            LogFormat::Text => lines(Style::Text { color }),
            #[cfg(feature = "bunyan")]
            LogFormat::Bunyan => Self::Bunyan(bunyan::BunyanFormat::new(config, rules.clone())),
        }
    }

    fn notice(&self) -> Notice {
        match self {
            Self::Lines(format) => {
                let format = format.clone();
                Box::new(move |dropped, out| {
                    write_notice(&format, SystemTime::now(), dropped, out);
                })
            }
            #[cfg(feature = "bunyan")]
            Self::Bunyan(format) => {
                let format = format.clone();
                Box::new(move |dropped, out| bunyan::notice(&format, dropped, out))
            }
        }
    }

    fn layer<S>(
        self,
        config: &LoggingConfig,
        rules: Rules,
        levels: SharedLevels,
        writer: Arc<Writer>,
        own: OwnDispatch,
    ) -> LoggingLayer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let base = own
            .clone()
            .and_then(BaggageLayer::new(config.travelling.clone(), rules));
        match self {
            Self::Lines(format) => {
                let ids = config.trace_enabled.then(|| IdSource(own));
                let lines = LineLayer::new(format, ids, writer);
                base.and_then(lines).with_filter(levels).boxed()
            }
            #[cfg(feature = "bunyan")]
            Self::Bunyan(format) => {
                let lines = bunyan::layer(format, levels.clone(), writer);
                base.and_then(lines).with_filter(levels).boxed()
            }
        }
    }
}
