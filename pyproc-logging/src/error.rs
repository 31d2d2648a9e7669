use std::sync::Arc;

use tracing_subscriber::util::TryInitError;

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad setting `{field}`: {reason}")]
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

/// Why logging could not be set up. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The program has a global `tracing` subscriber already, from an earlier `init` or of
    /// its own. Add [`LoggingBuilder::layer`](crate::LoggingBuilder::layer) to that one instead.
    #[error(
        "a global tracing subscriber is set already; call init once, or add a layer to that one"
    )]
    AlreadySet(#[source] Arc<TryInitError>),
    /// The output is closed, or cannot be opened a second time.
    #[error("the output cannot be opened")]
    Output(#[source] Arc<std::io::Error>),
    /// The system gave no thread for the writer.
    #[error("the thread that writes the log could not be started")]
    Thread(#[source] Arc<std::io::Error>),
}
