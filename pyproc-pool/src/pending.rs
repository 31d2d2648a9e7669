use std::{cell::Cell, future::poll_fn, task::Waker};

use tokio::time::{Instant, timeout_at};

use crate::{
    Error,
    call_table::{CallId, Outcome},
    observe::Watch,
    outgoing::Outgoing,
    scheduler::{Admission, GivenUp},
    shared::Shared,
};

/// A call that was taken by the pool. Dropping it gives the call up.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    shared: &'a Shared,
    id: CallId,
    /// The outcome was taken, or the call given up: nothing is left to do.
    over: bool,
    /// It is told of the call's end also when the call is dropped.
    pub(crate) watch: Watch,
}

/// The deadline passed; with the worker that has the call, if one has.
pub(crate) struct DeadlinePassed(pub(crate) Option<usize>);

impl<'a> Pending<'a> {
    pub(crate) fn submit(
        shared: &'a Shared,
        method: &str,
        request: Outgoing,
        admission: Admission,
    ) -> Result<Self, Error> {
        let mut request = Some(request);
        let now = std::time::Instant::now();
        let submitted = shared
            .scheduler()
            .submit(method, &mut request, admission, now)?;
        if let Some(writer) = submitted.writer {
            writer.wake();
        }
        if let Some(buffer) = submitted.buffer {
            give_buffer(buffer);
        }
        Ok(Self {
            shared,
            id: submitted.id,
            over: false,
            watch: Watch::default(),
        })
    }

    /// Waits for the outcome.
    ///
    /// Cancellation safety: a dropped wait gives the call up, its late answer is dropped by
    /// id, and its capacity comes back when the worker answers.
    pub(crate) async fn outcome(&mut self, deadline: Instant) -> Result<Outcome, DeadlinePassed> {
        let outcome = poll_fn(|cx| self.shared.scheduler().poll_outcome(self.id, cx));
        if let Ok(outcome) = timeout_at(deadline, outcome).await {
            self.over = true;
            return Ok(outcome);
        }
        match self.give_up("timeout") {
            GivenUp::Answered(outcome) => Ok(outcome),
            GivenUp::OnWorker(worker) => Err(DeadlinePassed(Some(worker))),
            GivenUp::Queued(_) => Err(DeadlinePassed(None)),
        }
    }

    fn give_up(&mut self, reason: &str) -> GivenUp {
        self.over = true;
        let mut wakers = Vec::new();
        let given_up = self
            .shared
            .scheduler()
            .give_up(self.id, reason, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        given_up
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.over
            && let GivenUp::OnWorker(worker) = self.give_up("the caller is gone")
        {
            self.watch.note(|seen| seen.worker = Some(worker));
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
