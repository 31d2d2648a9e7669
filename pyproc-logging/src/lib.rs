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
mod setup;
mod trace_ids;
mod writer;

pub use baggage::baggage;
pub use builder::LoggingBuilder;
pub use config::{Color, LogFormat, LogOutput, LoggingConfig};
pub use error::{ConfigError, InitError};
pub use handle::{LoggingGuard, LoggingHandle};
pub use levels::{Levels, LevelsError};
pub use setup::LoggingLayer;
pub use writer::LoggingStats;

/// Makes a log with these settings that of the whole program, until the guard is dropped. [`LoggingBuilder`] has
/// further settings.
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

// For `request_span!`, which is expanded in other crates.
#[doc(hidden)]
pub use tracing as __tracing;

/// A span that adds a request's id, and further fields, to each line inside of it.
///
/// It is `tracing::info_span!` with the name `request` and the id first, formatted with `Display`. Fields follow in
/// `tracing`'s own notation. Declare a field whose value is not known yet as `tracing::field::Empty`, and set it later
/// by `span.record`.
///
/// In async code use `.instrument(span)`; in other code `span.in_scope(..)` or `span.enter()`.
///
/// ```
/// use pyproc_logging::request_span;
/// use tracing::{field::Empty, info};
///
/// # let tenant = "acme";
/// let span = request_span!("r-17", tenant, user_id = Empty);
/// span.in_scope(|| {
///     info!("has request_id and tenant");
///     span.record("user_id", 42);
///     info!("has user_id too");
/// });
/// ```
#[macro_export]
macro_rules! request_span {
    ($id:expr $(,)?) => {
        $crate::__tracing::info_span!("request", request_id = %$id)
    };
    ($id:expr, $($fields:tt)+) => {
        $crate::__tracing::info_span!("request", request_id = %$id, $($fields)+)
    };
}
