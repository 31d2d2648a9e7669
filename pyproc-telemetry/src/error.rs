//! Errors. An error's text names its causes in one line. `Debug` is the same text, as a `main` that returns an error
//! prints `Debug`. `source()` is empty, as the text includes the causes.

use std::{fmt, io, time::Duration};

use pyproc_settings::{Invalid, debug_as_text};

use crate::ExportStats;

/// A setting is wrong. The service's configuration has to be corrected.
///
/// The reason never contains a secret: header values and the user part of an endpoint are left out.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and which values are valid.
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

impl From<Invalid> for ConfigError {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.field, invalid.reason)
    }
}

/// Why a [`Provider`](crate::Provider) could not start.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system gave no thread for the exporter.
    #[error("the thread of the exporter could not be started: {0}")]
    Thread(io::Error),
    /// TLS for an `https` collector could not be set up.
    #[error("TLS for the collector could not be set up: {}", chain(&**.0))]
    Tls(Box<dyn std::error::Error + Send + Sync>),
}

/// Why spans or metrics were not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportError {
    /// What went wrong, with its causes, in one line.
    pub reason: String,
    /// True: the destination refused them for good. False: it was not there, too slow or overloaded until the deadline.
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

/// A flush or a shutdown that did not deliver every span.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushError {
    /// The number of waiting spans that were not delivered, or not confirmed. After a flush that timed out they still
    /// wait. After a shutdown they are lost.
    pub spans: u64,
    /// The limit, if it was exceeded.
    pub timed_out: Option<Duration>,
    /// The exporter's last error, if it failed.
    pub source: Option<ExportError>,
    /// All counts at the end.
    pub stats: Box<ExportStats>,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans were not exported", self.spans)?;
        if let Some(limit) = self.timed_out {
            write!(f, " within {limit:?}")?;
        }
        match &self.source {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FlushError {}

debug_as_text!(ConfigError, StartError, FlushError);

/// The error of a file, with the file's name, which the system's error lacks.
#[cfg(any(test, feature = "tls"))]
pub(crate) fn naming(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// An error and all its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{error::Error, path::Path};

    use super::*;

    fn no_file() -> io::Error {
        io::Error::from_raw_os_error(2)
    }

    #[test]
    fn each_error_names_its_cause_once_also_where_a_main_returns_it() {
        let flush = FlushError {
            spans: 3,
            timed_out: Some(Duration::from_secs(5)),
            source: Some(ExportError::unreachable("no answer in time")),
            stats: Box::default(),
        };
        let foreign = io::Error::other(StartError::Thread(no_file()));
        let errors: [(Box<dyn Error>, &str); 5] = [
            (
                ConfigError::new("sampling_rate", "2 is not between 0 and 1").into(),
                "sampling_rate: 2 is not between 0 and 1",
            ),
            (
                StartError::Thread(no_file()).into(),
                "the thread of the exporter could not be started: No such file or directory (os error 2)",
            ),
            (
                StartError::Tls(naming(Path::new("/ca.pem"), &no_file()).into()).into(),
                "TLS for the collector could not be set up: /ca.pem: No such file or directory (os error 2)",
            ),
            (
                StartError::Tls(foreign.into()).into(),
                "TLS for the collector could not be set up: the thread of the exporter could not be started: \
                 No such file or directory (os error 2)",
            ),
            (
                flush.into(),
                "3 spans were not exported within 5s: no answer in time",
            ),
        ];
        for (error, expected) in errors {
            assert_eq!(error.to_string(), expected);
            assert_eq!(format!("{error:?}"), expected);
            assert!(error.source().is_none(), "{error}");
        }
    }
}
