//! Errors. An error's text names its causes in one line. `Debug` is the same text, as a `main` that returns an error
//! prints `Debug`. `source()` is empty, as the text includes the causes.

use std::sync::Arc;

use pyproc_settings::{Invalid, debug_as_text};
use tracing_subscriber::util::TryInitError;

use crate::LevelsError;

/// An invalid setting.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad setting `{field}`: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and which values are valid.
    pub reason: String,
}

impl From<Invalid> for ConfigError {
    fn from(invalid: Invalid) -> Self {
        let Invalid { field, reason } = invalid;
        Self { field, reason }
    }
}

/// Why logging could not be set up. Nothing was changed.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The program has a global `tracing` subscriber already, from an earlier `init` or of
    /// its own. Add [`LoggingBuilder::layer`](crate::LoggingBuilder::layer) to that one instead.
    #[error(
        "a global tracing subscriber is set already ({0}); call init once, or add a layer to that one"
    )]
    AlreadySet(Arc<TryInitError>),
    /// The output is closed, or cannot be opened a second time.
    #[error("the output cannot be opened: {0}")]
    Output(Arc<std::io::Error>),
    /// The system gave no thread for the writer.
    #[error("the thread that writes the log could not be started: {0}")]
    Thread(Arc<std::io::Error>),
}

debug_as_text!(ConfigError, InitError, LevelsError);

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::*;

    #[test]
    fn each_error_names_its_cause_once_also_where_a_main_returns_it() {
        let closed = || Arc::new(io::Error::from_raw_os_error(9));
        let loud: Result<crate::Levels, _> = "loud".parse();
        let errors: [(Box<dyn Error>, &str); 4] = [
            (
                loud.unwrap_err().into(),
                "\"loud\" is not a level; write a level (off, error, warn, info, debug, trace), or `info,some_target=debug`",
            ),
            (
                ConfigError::from(Invalid::new("output", "loud is no output")).into(),
                "bad setting `output`: loud is no output",
            ),
            (
                InitError::Output(closed()).into(),
                "the output cannot be opened: Bad file descriptor (os error 9)",
            ),
            (
                InitError::Thread(closed()).into(),
                "the thread that writes the log could not be started: Bad file descriptor (os error 9)",
            ),
        ];
        for (error, expected) in errors {
            assert_eq!(error.to_string(), expected);
            assert_eq!(format!("{error:?}"), expected);
            assert!(error.source().is_none(), "{error}");
        }
    }
}
