use std::{
    cell::Cell,
    future::poll_fn,
    mem,
    task::{Poll, Waker},
};

use crate::{
    Error,
    observe::{CallOutcome, CallSummary, CallTracker},
    outgoing::Outgoing,
    scheduler::{Admission, CallId, Cancelled, Flush, Outcome},
    shared::Shared,
};

/// A call that was submitted. Dropping it cancels the call.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    shared: &'a Shared,
    id: CallId,
    method: &'a str,
    /// The outcome was taken, or the call was cancelled: nothing is left to do.
    over: bool,
    tracker: &'a mut CallTracker,
}

/// Inputs up to this size are encoded faster than a clock is read.
const SMALL: usize = 1024;

/// The deadline passed; with the worker that has the call, if one has.
pub(crate) struct DeadlinePassed(pub(crate) Option<usize>);

impl<'a> Pending<'a> {
    pub(crate) fn submit(
        shared: &'a Shared,
        method: &'a str,
        request: Outgoing,
        admission: Admission,
        waker: Waker,
        tracker: &'a mut CallTracker,
    ) -> Result<Self, Error> {
        // Encoding a small input takes no longer than reading the clock.
        let is_small = request.payload.as_slice().len() < SMALL;
        let now = if is_small {
            tracker.start
        } else {
            shared.clock.now()
        };
        let mut request = Some(request);
        let mut scheduler = shared.driver.lock();
        let number = scheduler.methods().find(method);
        tracker.confirmed = scheduler.methods().is_confirmed(number);
        let submitted = scheduler.submit((method, number), &mut request, admission, waker, now)?;
        let transport = match &submitted.flush {
            Flush::Write(batch) => scheduler.transport_of(batch),
            _ => None,
        };
        drop(scheduler);
        let pending = Self {
            shared,
            id: submitted.id,
            method,
            over: false,
            tracker,
        };
        if let Some(buffer) = submitted.buffer {
            give_buffer(buffer);
        }
        match submitted.flush {
            Flush::Scheduled => {}
            Flush::Wake(connection) => connection.wake(),
            Flush::Write(batch) => {
                shared.driver.write(batch, transport);
                shared.prepare_next();
            }
        }
        Ok(pending)
    }

    /// Waits for the outcome. Must be polled first by the task that the call was submitted with, which is woken already
    /// if there is an outcome.
    ///
    /// Cancellation safety: dropping the future cancels the call. Its late answer is dropped by id, and its capacity is
    /// free again when the worker answers.
    pub(crate) async fn outcome(&mut self) -> Result<Outcome, DeadlinePassed> {
        let mut is_first = true;
        let outcome = poll_fn(|cx| match mem::take(&mut is_first) {
            true => Poll::Pending,
            false => self.shared.driver.lock().poll_outcome(self.id, cx),
        });
        if let Some(outcome) = outcome.await {
            self.over = true;
            return Ok(outcome);
        }
        match self.cancel("timeout") {
            Cancelled::Answered(outcome) => Ok(outcome),
            Cancelled::OnWorker(worker) => Err(DeadlinePassed(Some(worker))),
            Cancelled::Queued => Err(DeadlinePassed(None)),
        }
    }

    fn cancel(&mut self, reason: &str) -> Cancelled {
        self.over = true;
        self.shared.driver.lock().cancel(self.id, reason)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let worker = match self.cancel("the caller is gone") {
            Cancelled::OnWorker(worker) => Some(worker),
            _ => None,
        };
        let seen = CallSummary {
            worker,
            answer: None,
        };
        self.shared
            .finish(self.method, self.tracker, seen, CallOutcome::Abandoned);
    }
}

thread_local! {
    /// Buffer for the inputs of this thread's calls, so that memory is allocated once.
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
