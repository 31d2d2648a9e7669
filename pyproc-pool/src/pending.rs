use std::{cell::Cell, future::poll_fn};

use pyproc_protocol::{PreparedRequest, Response};
use tokio::time::{Instant, timeout_at};

use crate::{Error, call_table::CallId, scheduler::Admission, shared::Shared};

/// A call that was taken by the pool. Dropping it gives the call up.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    shared: &'a Shared,
    id: CallId,
    /// `None` once the outcome was taken: nothing is left to give up.
    abandon: Option<&'static str>,
}

/// How a wait ended without an outcome: at the deadline, with this worker having the call.
pub(crate) struct DeadlinePassed {
    pub(crate) worker: Option<usize>,
}

impl<'a> Pending<'a> {
    pub(crate) fn submit(
        shared: &'a Shared,
        request: PreparedRequest,
        admission: Admission,
        now: Instant,
    ) -> Result<Self, Error> {
        let submitted = shared
            .scheduler()
            .submit(request, admission, now.into_std())?;
        if let Some(writer) = submitted.writer {
            writer.wake();
        }
        if let Some(buffer) = submitted.buffer {
            give_buffer(buffer);
        }
        Ok(Self {
            shared,
            id: submitted.id,
            abandon: Some("the caller is gone"),
        })
    }

    /// Waits for the outcome.
    ///
    /// Cancellation safety: a dropped wait gives the call up, its late answer is dropped by
    /// id, and its capacity comes back when the worker answers.
    pub(crate) async fn outcome(
        mut self,
        deadline: Instant,
    ) -> Result<Result<(usize, Response), Error>, DeadlinePassed> {
        let outcome = poll_fn(|cx| self.shared.scheduler().poll_outcome(self.id, cx));
        match timeout_at(deadline, outcome).await {
            Ok(outcome) => {
                self.abandon = None;
                Ok(outcome)
            }
            Err(_) => {
                self.abandon = Some("timeout");
                let worker = self.shared.scheduler().worker_of(self.id);
                Err(DeadlinePassed { worker })
            }
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(reason) = self.abandon else {
            return;
        };
        let waker = self.shared.scheduler().abandon(self.id, reason);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

thread_local! {
    /// Where calls of this thread write their input, so that it takes memory only once.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A larger buffer is not kept.
const LARGEST_BUFFER: usize = 64 * 1024;

pub(crate) fn take_buffer() -> Vec<u8> {
    BUFFER.take()
}

fn give_buffer(buffer: Vec<u8>) {
    if buffer.capacity() <= LARGEST_BUFFER {
        BUFFER.set(buffer);
    }
}
