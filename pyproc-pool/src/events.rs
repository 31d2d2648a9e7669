//! The pool's own events, of target `pyproc::pool`; LOGS.md lists them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{Dispatch, dispatcher, subscriber::NoSubscriber};

use crate::{Error, StartFailure, error::bounded};

/// An event whose level is known only at run time: each level is a callsite of its own.
macro_rules! event_at {
    ($level:expr, $($event:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($event)*),
            tracing::Level::WARN => tracing::warn!($($event)*),
            tracing::Level::INFO => tracing::info!($($event)*),
            tracing::Level::DEBUG => tracing::debug!($($event)*),
            tracing::Level::TRACE => tracing::trace!($($event)*),
        }
    };
}
pub(crate) use event_at;

/// The subscriber that was current where the pool was started. The pool's threads and tasks send events to it, not only
/// to the global one.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber(Option<Dispatch>);

impl Subscriber {
    pub(crate) fn here() -> Self {
        let there = dispatcher::get_default(|it| (!it.is::<NoSubscriber>()).then(|| it.clone()));
        Self(there)
    }

    /// Whether there was a subscriber.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Runs `emit` with the subscriber. If there was none, one that was set globally since then gets the events.
    pub(crate) fn with<T>(&self, emit: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(dispatch) => dispatcher::with_default(dispatch, emit),
            None => emit(),
        }
    }

    /// Runs code of subscribers or observers. A panic in it must not end a thread or task of the pool.
    pub(crate) fn with_guarded(&self, emit: impl FnOnce()) {
        self.with(|| {
            if catch_unwind(AssertUnwindSafe(emit)).is_err() {
                // The subscriber that panicked may panic again.
                let _ = catch_unwind(|| tracing::error!(target: "pyproc::pool", "an observer or subscriber panicked"));
            }
        });
    }
}

/// An event of the worker in a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WorkerLogEvent<'a> {
    Started { pid: u32 },
    Ready { pid: Option<u32>, restarts: u64 },
    Reloaded { pid: Option<u32>, restarts: u64 },
    Reconnected,
    Died(&'a Error),
    NotStarted(&'a StartFailure),
    GivenUp,
    Drained,
    Stopped,
    Unkillable { pid: u32 },
}

pub(crate) fn worker(worker_id: usize, news: WorkerLogEvent<'_>) {
    match news {
        WorkerLogEvent::Started { pid } => {
            tracing::debug!(target: "pyproc::pool", worker_id, pid, "worker started");
        }
        WorkerLogEvent::Ready { pid, restarts: 0 } => {
            tracing::info!(target: "pyproc::pool", worker_id, pid, "worker ready");
        }
        WorkerLogEvent::Ready { pid, restarts } => {
            tracing::info!(target: "pyproc::pool", worker_id, pid, restarts, "worker restarted");
        }
        WorkerLogEvent::Reloaded { pid, restarts } => {
            tracing::info!(target: "pyproc::pool", worker_id, pid, restarts, "worker reloaded");
        }
        WorkerLogEvent::Reconnected => {
            tracing::debug!(target: "pyproc::pool", worker_id, "worker connected again");
        }
        WorkerLogEvent::Died(error) => {
            let reason = match error {
                Error::WorkerDied(death) => death.cause.to_string(),
                other => other.kind().to_string(),
            };
            let error = bounded(error);
            tracing::warn!(target: "pyproc::pool", worker_id, reason, error, "worker died");
        }
        WorkerLogEvent::NotStarted(failure) => {
            let (reason, error) = (failure.kind().as_str(), bounded(failure));
            tracing::warn!(target: "pyproc::pool", worker_id, reason, error, "worker did not start");
        }
        WorkerLogEvent::GivenUp => {
            tracing::error!(target: "pyproc::pool", worker_id, "worker given up after too many failed starts");
        }
        WorkerLogEvent::Drained => {
            tracing::info!(target: "pyproc::pool", worker_id, "worker drained");
        }
        WorkerLogEvent::Stopped => {
            tracing::info!(target: "pyproc::pool", worker_id, "worker stopped");
        }
        WorkerLogEvent::Unkillable { pid } => {
            tracing::error!(target: "pyproc::pool", worker_id, pid, "a killed process does not end");
        }
    }
}
