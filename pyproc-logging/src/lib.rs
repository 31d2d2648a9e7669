#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod baggage;
mod builder;
mod config;
mod error;
mod format;
mod handle;
mod levels;
mod own_dispatch;
mod request_span;
mod setup;
mod trace_ids;
mod writer;

#[doc(hidden)]
pub use tracing as __tracing;

pub use baggage::baggage;
pub use builder::LoggingBuilder;
pub use config::{Color, LogFormat, LogOutput, LoggingConfig};
pub use error::{ConfigError, InitError};
pub use handle::{LoggingGuard, LoggingHandle};
pub use levels::{Levels, LevelsError};
pub use setup::LoggingLayer;
pub use writer::LoggingStats;

/// Makes a log with these settings that of the whole program, until the guard is dropped.
/// [`LoggingBuilder`] has more to set.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let _log = pyproc_logging::init(pyproc_logging::LoggingConfig::from_env()?)?;
/// tracing::info!("ready");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A setting is wrong, or the program has a global subscriber already. Nothing is changed then.
pub fn init(config: LoggingConfig) -> Result<LoggingGuard, InitError> {
    LoggingBuilder::from(config).init()
}
