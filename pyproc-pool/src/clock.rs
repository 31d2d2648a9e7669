//! The clock that a pool goes by.

use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    /// The clock of the tokio runtime, which a test may pause.
    #[cfg(feature = "testing")]
    Tokio,
}

impl Clock {
    #[inline]
    pub(crate) fn now(self) -> Instant {
        match self {
            Self::System => system_now(),
            #[cfg(feature = "testing")]
            Self::Tokio => tokio::time::Instant::now().into_std(),
        }
    }
}

#[cfg(not(all(test, shuttle)))]
#[inline]
fn system_now() -> Instant {
    Instant::now()
}

/// A microsecond for each switch between threads: the same schedule sees the same times.
#[cfg(all(test, shuttle))]
fn system_now() -> Instant {
    use std::{sync::LazyLock, time::Duration};
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_micros(shuttle::current::context_switches() as u64)
}
