//! The clock of a pool.

use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    /// The clock of the tokio runtime, which a test may have paused.
    #[cfg(feature = "testing")]
    Tokio,
}

impl Clock {
    #[inline]
    pub(crate) fn now(self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(feature = "testing")]
            Self::Tokio => tokio::time::Instant::now().into_std(),
        }
    }
}
