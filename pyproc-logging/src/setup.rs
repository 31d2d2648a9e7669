//! From settings to a running log.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::Arc,
    time::SystemTime,
};

use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

#[cfg(feature = "bunyan")]
use crate::bunyan;
use crate::{
    InitError, LogFormat, LogOutput, LoggingBuilder, LoggingConfig, LoggingGuard, LoggingHandle,
    color,
    filter::SharedLevels,
    home::Home,
    ids::IdSource,
    layer::LineLayer,
    redact::Rules,
    render::{self, Look, Style},
    travelling::Travelling,
    writer::{Limits, Notice, Writer},
};

/// The message of the line about dropped lines.
pub(crate) const DROPPED: &str = "log lines were dropped, as the output is too slow";

/// The log as a layer of `tracing-subscriber`, see [`LoggingBuilder::layer`].
pub type LoggingLayer<S> = Box<dyn Layer<S> + Send + Sync>;

pub(crate) fn init(builder: LoggingBuilder) -> Result<LoggingGuard, InitError> {
    let (layer, guard) = layer::<Registry>(builder)?;
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|error| InitError::AlreadySet(Arc::new(error)))?;
    Ok(guard)
}

pub(crate) fn layer<S>(
    builder: LoggingBuilder,
) -> Result<(LoggingLayer<S>, LoggingGuard), InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let config = builder.config()?;
    let LoggingBuilder {
        predicate, writer, ..
    } = builder;
    let rules = Rules {
        max_value_bytes: config.max_value_bytes,
        names: config.redact.clone(),
        predicate,
    };
    let destination = match writer {
        Some(to) => Destination {
            to,
            is_terminal: false,
        },
        None => Destination::open(config.output)?,
    };
    let color = color::wanted(config.color, destination.is_terminal, |name| {
        env::var_os(name)
    });
    let kind = Kind::new(&config, color, &rules);
    let limits = Limits {
        lines: config.queue_lines,
        bytes: config.queue_bytes,
    };
    let writer = Writer::start(destination.to, limits, kind.notice())
        .map_err(|error| InitError::Thread(Arc::new(error)))?;
    let writer = Arc::new(writer);
    let home = Home::default();
    let levels = SharedLevels::new(&config.level, home.clone());
    let layer = kind.layer(&config, rules, levels.clone(), Arc::clone(&writer), home);
    let handle = LoggingHandle::new(levels, writer);
    Ok((layer, LoggingGuard::new(handle, config.flush_timeout)))
}

struct Destination {
    to: Box<dyn Write + Send>,
    is_terminal: bool,
}

impl Destination {
    /// A descriptor of our own: who holds the lock of `std::io::stdout` for long does not hold up
    /// the log, and a batch is one write.
    fn open(output: LogOutput) -> Result<Self, InitError> {
        let (copy, is_terminal) = match output {
            LogOutput::Stdout => {
                let stdout = io::stdout();
                (stdout.as_fd().try_clone_to_owned(), stdout.is_terminal())
            }
            LogOutput::Stderr => {
                let stderr = io::stderr();
                (stderr.as_fd().try_clone_to_owned(), stderr.is_terminal())
            }
        };
        let to = File::from(copy.map_err(|error| InitError::Output(Arc::new(error)))?);
        Ok(Self {
            to: Box::new(to),
            is_terminal,
        })
    }
}

/// The format, with what it needs.
enum Kind {
    Lines(Look),
    #[cfg(feature = "bunyan")]
    Bunyan(bunyan::Look),
}

impl Kind {
    fn new(config: &LoggingConfig, color: bool, rules: &Rules) -> Self {
        let lines = |style| Self::Lines(Look::new(style, config, rules.clone()));
        match config.format {
            LogFormat::Json => lines(Style::Json),
            LogFormat::Text => lines(Style::Text { color }),
            #[cfg(feature = "bunyan")]
            LogFormat::Bunyan => Self::Bunyan(bunyan::Look::new(config, rules.clone())),
        }
    }

    fn notice(&self) -> Notice {
        match self {
            Self::Lines(look) => {
                let look = look.clone();
                Box::new(move |dropped, out| {
                    render::write_notice(&look, SystemTime::now(), DROPPED, dropped, out);
                })
            }
            #[cfg(feature = "bunyan")]
            Self::Bunyan(look) => {
                let look = look.clone();
                Box::new(move |dropped, out| bunyan::notice(&look, dropped, out))
            }
        }
    }

    fn layer<S>(
        self,
        config: &LoggingConfig,
        rules: Rules,
        levels: SharedLevels,
        writer: Arc<Writer>,
        home: Home,
    ) -> LoggingLayer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let base = home
            .clone()
            .and_then(Travelling::new(config.travelling.clone(), rules));
        match self {
            Self::Lines(look) => {
                let ids = config.trace_enabled.then(|| IdSource(home));
                let lines = LineLayer::new(look, ids, writer);
                base.and_then(lines).with_filter(levels).boxed()
            }
            #[cfg(feature = "bunyan")]
            Self::Bunyan(look) => {
                let lines = bunyan::layer(look, levels.clone(), writer);
                base.and_then(lines).with_filter(levels).boxed()
            }
        }
    }
}
