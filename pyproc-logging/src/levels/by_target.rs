//! Levels for all targets and for single ones.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;

/// Which events are logged: a level for all, and other levels for some targets.
///
/// Written `info`, or `info,pyproc::pool=debug,hyper=off`. A target includes all targets that start with it, and the
/// longest match wins. Levels are `off`, `error`, `warn`, `info`, `debug` and `trace`, in any case, and Python's
/// `warning` and `critical`. Without a level for all, other targets are off.
///
/// Spans give their fields to events. So spans of level `INFO` and above are always kept, unless everything is off: a
/// warning has its request id also when the level is `warn`. `DEBUG` and `TRACE` spans are kept where events of their
/// level are logged.
///
/// ```
/// use pyproc_logging::Levels;
///
/// let levels: Levels = "warn,my_service=debug".parse()?;
/// assert_eq!(levels.to_string(), "warn,my_service=debug");
/// assert!("loud".parse::<Levels>().is_err());
/// # Ok::<(), pyproc_logging::LevelsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    all: Option<LevelFilter>,
    some: Vec<(String, LevelFilter)>,
}

/// A text that is not [`Levels`]. Its `Debug` is its text.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}; write a level (off, error, warn, info, debug, trace), or `info,some_target=debug`"
)]
pub struct LevelsError {
    what: String,
}

impl Levels {
    /// Nothing is logged.
    pub const OFF: Self = Self::all(LevelFilter::OFF);
    /// Errors only.
    pub const ERROR: Self = Self::all(LevelFilter::ERROR);
    /// Warnings and errors.
    pub const WARN: Self = Self::all(LevelFilter::WARN);
    /// Also events that matter in production. The default.
    pub const INFO: Self = Self::all(LevelFilter::INFO);
    /// Also events that help to find a fault.
    pub const DEBUG: Self = Self::all(LevelFilter::DEBUG);
    /// Everything.
    pub const TRACE: Self = Self::all(LevelFilter::TRACE);

    const fn all(level: LevelFilter) -> Self {
        Self {
            all: Some(level),
            some: Vec::new(),
        }
    }

    /// The same, with another level for one target and those below it.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>, level: impl Into<LevelFilter>) -> Self {
        self.some.push((target.into(), level.into()));
        self
    }

    pub(super) fn filter(&self) -> Filter {
        let all = self.all.unwrap_or(LevelFilter::OFF);
        let most = self
            .some
            .iter()
            .map(|(_, level)| *level)
            .fold(all, LevelFilter::max);
        Filter {
            targets: Targets::from_iter(self.some.iter().cloned()).with_default(all),
            most,
        }
    }
}

/// [`Levels`] in a form with a fast lookup.
#[derive(Debug)]
pub(super) struct Filter {
    targets: Targets,
    /// The most verbose level of all targets.
    most: LevelFilter,
}

impl Filter {
    pub(super) fn enables(&self, metadata: &Metadata<'_>) -> bool {
        let level = metadata.level();
        if metadata.is_span() && *level <= Level::INFO {
            return self.most != LevelFilter::OFF;
        }
        self.logs(metadata)
    }

    /// Whether a line is logged for this event or span. A span may be kept without it, for its fields.
    pub(super) fn logs(&self, metadata: &Metadata<'_>) -> bool {
        self.targets
            .would_enable(metadata.target(), metadata.level())
    }

    /// The level beyond which nothing is enabled.
    pub(super) fn max_level(&self) -> LevelFilter {
        match self.most {
            LevelFilter::OFF => LevelFilter::OFF,
            most => most.max(LevelFilter::INFO),
        }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self::INFO
    }
}

impl From<Level> for Levels {
    fn from(level: Level) -> Self {
        Self::all(level.into())
    }
}

impl From<LevelFilter> for Levels {
    fn from(level: LevelFilter) -> Self {
        Self::all(level)
    }
}

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Self, LevelsError> {
        let mut levels = Self {
            all: None,
            some: Vec::new(),
        };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((target, level)) => levels.add(target.trim(), parse_level(level.trim())?)?,
                None if levels.all.is_some() => {
                    return Err(LevelsError::new(format!(
                        "{part:?} is a second level for all"
                    )));
                }
                None => levels.all = Some(parse_level(part)?),
            }
        }
        Ok(levels)
    }
}

impl Levels {
    fn add(&mut self, target: &str, level: LevelFilter) -> Result<(), LevelsError> {
        if target.is_empty() {
            return Err(LevelsError::new("a target has no name".into()));
        }
        if self.some.iter().any(|(known, _)| known == target) {
            return Err(LevelsError::new(format!("{target:?} has two levels")));
        }
        self.some.push((target.into(), level));
        Ok(())
    }
}

/// By name only: `LevelFilter` itself also reads numbers, which other tools count in the opposite direction.
fn parse_level(text: &str) -> Result<LevelFilter, LevelsError> {
    let known = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
        // Python's names, as workers read the same environment variable.
        ("warning", LevelFilter::WARN),
        ("critical", LevelFilter::ERROR),
    ];
    known
        .into_iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
        .map(|(_, level)| level)
        .ok_or_else(|| LevelsError::new(format!("{text:?} is not a level")))
}

impl LevelsError {
    fn new(what: String) -> Self {
        Self { what }
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(level) = self.all {
            write!(f, "{level}")?;
            comma = ",";
        }
        for (target, level) in &self.some {
            write!(f, "{comma}{target}={level}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["info", "off", "warn,a=debug,a::b=off", "a=trace"] {
            let levels: Levels = text.parse().unwrap();
            assert_eq!(levels.to_string(), text);
        }
        let loose: Levels = " WARN , a = Debug ".parse().unwrap();
        assert_eq!(loose, Levels::WARN.with_target("a", Level::DEBUG));
        assert_eq!("WARNING".parse(), Ok(Levels::WARN));
    }

    #[test]
    fn a_text_that_is_not_levels_is_refused() {
        for text in [
            "",
            "loud",
            "3",
            "info,",
            "info,debug",
            "a=",
            "=info",
            "a=b=info",
            "a=info,a=warn",
        ] {
            assert!(text.parse::<Levels>().is_err(), "{text:?}");
        }
    }
}
