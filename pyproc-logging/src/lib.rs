#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
#[cfg(feature = "bunyan")]
mod bunyan;
mod clock;
mod color;
mod config;
mod error;
mod filter;
mod handle;
mod home;
mod ids;
mod layer;
mod levels;
mod origin;
mod redact;
mod render;
mod request;
mod setup;
mod travelling;
mod writer;

#[doc(hidden)]
pub use tracing as __tracing;

pub use builder::LoggingBuilder;
pub use config::{Color, LogFormat, LogOutput, LoggingConfig};
pub use error::{ConfigError, InitError};
pub use handle::{LoggingGuard, LoggingHandle};
pub use levels::{Levels, LevelsError};
pub use setup::LoggingLayer;
pub use travelling::baggage;
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
