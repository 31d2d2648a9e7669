use std::{mem, sync::Arc, task::Waker, time::Instant};

use pyproc_protocol::{Cancellation, Features, PreparedRequest};

use crate::{StartFailure, depth::Depth, outbox::Outbox};

/// The way to one worker.
#[derive(Debug)]
pub(crate) struct Lane {
    state: LaneState,
    /// Calls that the worker has; as many entries of the call table are on it.
    in_flight: usize,
    depth: Depth,
    outbox: Outbox,
    /// The connection's task, while it sleeps for want of frames.
    writer: Option<Waker>,
}

#[derive(Debug)]
pub(crate) enum LaneState {
    /// No worker at present; one is on its way.
    Down,
    Up(Features),
    /// No worker any more: the pool stops, or the last failure was one too many.
    Gone(Option<Arc<StartFailure>>),
}

impl Lane {
    pub(crate) fn new(max_in_flight: usize) -> Self {
        Self {
            state: LaneState::Down,
            in_flight: 0,
            depth: Depth::new(max_in_flight),
            outbox: Outbox::default(),
            writer: None,
        }
    }

    pub(crate) fn state(&self) -> &LaneState {
        &self.state
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, LaneState::Up(_))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn has_room(&self) -> bool {
        self.is_up() && self.in_flight < self.depth.get()
    }

    /// Changes the state; what was to be written is forgotten.
    pub(crate) fn enter(&mut self, state: LaneState, max_in_flight: usize) {
        self.state = state;
        self.depth = Depth::new(max_in_flight);
        self.outbox = Outbox::default();
        self.writer = None;
    }

    /// Returns the request's memory if it is free for another, and the task to wake.
    pub(crate) fn send(
        &mut self,
        id: u64,
        request: PreparedRequest,
        now: Instant,
    ) -> (Option<Vec<u8>>, Option<Waker>) {
        if self.in_flight == 0 {
            self.depth.on_busy(now);
        }
        self.in_flight += 1;
        let buffer = self.outbox.push(id, request);
        (buffer, self.writer.take())
    }

    pub(crate) fn cancel(&mut self, id: u64, reason: &str, max_frame_size: usize) -> Option<Waker> {
        let LaneState::Up(Features { cancel: true, .. }) = self.state else {
            return None;
        };
        let reason = reason.into();
        let cancellation = Cancellation { id, reason };
        // It is a courtesy: a maximum frame size too small for it does no harm.
        cancellation
            .encode(max_frame_size, self.outbox.tail())
            .ok()?;
        self.writer.take()
    }

    /// The worker is rid of one call.
    pub(crate) fn on_answer(&mut self) {
        self.in_flight -= 1;
    }

    /// After all answers of one read.
    pub(crate) fn on_answers(&mut self, answers: usize, now: Instant) {
        self.depth.on_answers(answers as u32, now);
    }

    /// The worker is rid of all calls.
    pub(crate) fn forget_calls(&mut self) {
        self.in_flight = 0;
    }

    /// Swaps what is to be written with `empty`. When there is nothing, `waker` is woken
    /// as soon as there is.
    pub(crate) fn take_outbox(&mut self, empty: &mut Outbox, waker: &Waker) -> bool {
        if self.outbox.is_empty() {
            self.writer = Some(waker.clone());
            return false;
        }
        self.writer = None;
        mem::swap(&mut self.outbox, empty);
        true
    }
}
