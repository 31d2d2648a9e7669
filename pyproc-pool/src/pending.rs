use std::{
    cell::Cell,
    future::poll_fn,
    mem,
    task::{Poll, Waker},
    time::Instant,
};

use crate::{
    Error,
    observe::CallOutcome,
    outgoing::Outgoing,
    scheduler::batches::{Batch, Next},
    scheduler::call_table::{CallId, Outcome},
    scheduler::{Admission, GivenUp},
    shared::Shared,
    watch::{Seen, Watch},
};

/// A call that was taken by the pool. Dropping it gives the call up.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    shared: &'a Shared,
    id: CallId,
    method: &'a str,
    /// The outcome was taken, or the call given up: nothing is left to do.
    over: bool,
    watch: &'a mut Watch,
}

/// Bytes of inputs that are written in no time.
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
        watch: &'a mut Watch,
    ) -> Result<Self, Error> {
        // To write a small input takes no longer than a look at the clock.
        let is_small = request.payload.as_slice().len() < SMALL;
        let now = if is_small {
            watch.start
        } else {
            Instant::now()
        };
        let mut request = Some(request);
        let mut scheduler = shared.lock();
        let number = scheduler.find(method);
        watch.confirmed = scheduler.is_confirmed(number);
        let submitted = scheduler.submit((method, number), &mut request, admission, waker, now);
        drop(scheduler);
        let submitted = submitted?;
        let pending = Self {
            shared,
            id: submitted.id,
            method,
            over: false,
            watch,
        };
        if submitted.is_urgent {
            shared.earlier_deadline.notify_one();
        }
        if let Some(buffer) = submitted.buffer {
            give_buffer(buffer);
        }
        match submitted.next {
            Next::Settled => {}
            Next::Wake(connection) => connection.wake(),
            Next::Write(batch) => write(shared, batch),
        }
        Ok(pending)
    }

    /// Waits for the outcome; to be polled first by the task that the call was submitted with, which is woken
    /// already when there is one.
    ///
    /// Cancellation safety: a dropped wait gives the call up, its late answer is dropped by
    /// id, and its capacity comes back when the worker answers.
    pub(crate) async fn outcome(&mut self) -> Result<Outcome, DeadlinePassed> {
        let mut is_first = true;
        let outcome = poll_fn(|cx| match mem::take(&mut is_first) {
            true => Poll::Pending,
            false => self.shared.lock().poll_outcome(self.id, cx),
        });
        if let Some(outcome) = outcome.await {
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
        if self.over {
            return;
        }
        let worker = match self.give_up("the caller is gone") {
            GivenUp::OnWorker(worker) => Some(worker),
            _ => None,
        };
        let seen = Seen {
            worker,
            answer: None,
        };
        self.shared
            .finish(self.method, self.watch, seen, CallOutcome::Abandoned);
    }
}

fn write(shared: &Shared, mut batch: Batch) {
    batch.write();
    let rest = shared.scheduler().on_written(batch);
    rest.into_iter().for_each(Waker::wake);
    shared.meanwhile();
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
