//! A worker, as all its threads see it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use pyproc_protocol::Failure;
use pyproc_protocol::{ResponseEncoder, Version};

use super::activity::Activity;
use super::calls::CancelledCalls;
use super::connections::ConnectionId;
use super::fork::{self, ForkCount};
use super::shared::SharedState;
use crate::package::{Limits, Package};
use crate::transport::AllowedPeers;

/// In place of a function's number: none runs.
pub(crate) const NO_FUNCTION: usize = usize::MAX;

/// A worker.
pub(crate) struct Core {
    pub(crate) package: Package,
    pub(crate) limits: Limits,
    pub(crate) max_frame_size: usize,
    pub(crate) peers: AllowedPeers,
    pub(crate) activity: Activity,
    pub(crate) forks: ForkCount,
    /// The `EventLoopThread`, once an `async def` function has been called.
    pub(crate) event_loop: OnceLock<Py<PyAny>>,
    serving: ThreadId,
    /// The plain function that runs, or [`NO_FUNCTION`]. Only the serving thread reads it.
    pub(crate) function: AtomicUsize,
    state: Mutex<SharedState>,
    wake: UnixStream,
    woken: AtomicBool,
}

impl Core {
    /// A worker whose serving thread is the current thread. `cancelled` answers requests that are cancelled before they
    /// start; a byte in `wake` wakes the serving thread.
    pub(crate) fn new(
        package: Package,
        limits: Limits,
        max_frame_size: usize,
        cancelled: Failure,
        peers: AllowedPeers,
        wake: UnixStream,
    ) -> Self {
        Self {
            package,
            limits,
            max_frame_size,
            peers,
            activity: Activity::new(),
            forks: fork::count(),
            event_loop: OnceLock::new(),
            serving: thread::current().id(),
            function: AtomicUsize::new(NO_FUNCTION),
            state: Mutex::new(SharedState::new(cancelled)),
            wake,
            woken: AtomicBool::new(false),
        }
    }

    /// Whether the current thread is the serving thread.
    pub(crate) fn is_serving(&self) -> bool {
        thread::current().id() == self.serving
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a request that came on a connection is answered. If the connection is closed, nobody reads the answer.
    pub(crate) fn response_encoder(
        &self,
        connection_id: ConnectionId,
        version: Version,
    ) -> ResponseEncoder {
        let mut state = self.lock();
        let connection = state.get(connection_id);
        connection.map_or_else(
            || ResponseEncoder::new(version, false, self.max_frame_size),
            |connection| connection.session.response_encoder(version),
        )
    }

    /// Makes the serving thread check all its connections.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // It can only fail because the pipe is full, and then the thread wakes anyway.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// The serving thread is awake.
    pub(crate) fn on_woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Sets the `cancel_event`s of cancelled calls, and cancels those on the event loop.
    pub(crate) fn cancel(&self, py: Python<'_>, cancelled: CancelledCalls) {
        for event in cancelled.events {
            let set = event.bind(py).call_method0("set");
            set.err()
                .into_iter()
                .for_each(|error| error.write_unraisable(py, None));
        }
        for token in cancelled.tokens {
            let Some(event_loop) = self.event_loop.get() else {
                continue;
            };
            let requested = event_loop.bind(py).call_method1("cancel", (token,));
            requested
                .err()
                .into_iter()
                .for_each(|error| error.write_unraisable(py, None));
        }
    }
}
