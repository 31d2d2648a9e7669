use std::{fmt, io, time::Duration};

use crate::ExportStats;

/// A setting is wrong. Whoever configured the service can put it right.
///
/// The reason never repeats a secret: header values and the user part of an endpoint are left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// Why a [`Provider`](crate::Provider) could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system gave no thread for the exporter.
    #[error("the thread of the exporter could not be started")]
    Thread(#[source] io::Error),
    /// What an `https` collector needs could not be set up.
    #[error("TLS for the collector could not be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why spans or metrics did not reach their destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportError {
    /// What went wrong, with its causes, in one line.
    pub reason: String,
    /// The destination answered, and refused them for good. Otherwise it was not there, too slow
    /// or overloaded until the time was over.
    pub refused: bool,
}

impl ExportError {
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            refused: false,
        }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            refused: true,
        }
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ExportError {}

/// A flush or a shutdown that did not bring every span to its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushError {
    /// Spans that were waiting and did not arrive, or of which it is not known. After a flush that ran out of
    /// time they still wait; after a shutdown they are lost.
    pub spans: u64,
    /// The limit, if it passed.
    pub timed_out: Option<Duration>,
    /// What the exporter said last, if it failed.
    pub source: Option<ExportError>,
    /// All counts at the end.
    pub stats: Box<ExportStats>,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans were not exported", self.spans)?;
        match self.timed_out {
            Some(limit) => write!(f, " within {limit:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FlushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// An error and all that caused it, in one line of text.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
