//! Tests of the scheduler: single events (`events.rs`, `violations.rs`, `owned.rs`), any events in any order (`model/`), and many
//! calls by seed (`simulation/`). `purity.rs` holds the scheduler to plain data.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use pyproc_protocol::{Codec, Failure, Features, FunctionInfo, Headers, Peer, WorkerInfo};

use pyproc_protocol::v2::Response;

use super::{batches::Flush, call_table::CallState, *};

use crate::{
    ProtocolViolation,
    outgoing::{Envelope, Outgoing, Payload},
};

mod events;
mod model;
mod owned;
mod purity;
mod simulation;
mod violations;

const LIMITS: Limits = Limits {
    max_in_flight: 2,
    max_queue: 1,
    max_frame_size: 1000,
};

/// One worker that is ready.
fn ready() -> Scheduler {
    let mut scheduler = Scheduler::new(1, LIMITS);
    on_ready(&mut scheduler, 0, &peer(2));
    scheduler
}

pub(crate) const CONFIG: ConnectionConfig = ConnectionConfig {
    max_frame_size: usize::MAX,
    spins: false,
    attributes: false,
};

fn on_ready(scheduler: &mut Scheduler, slot: usize, peer: &Peer) {
    scheduler.on_ready(slot, peer, CONFIG, Instant::now());
}

/// The connection of the worker that has the slot.
pub(crate) fn current(scheduler: &Scheduler, slot: usize) -> ConnectionId {
    match scheduler.slots[slot] {
        Slot::Taken(id) => id,
        ref other => panic!("{other:?}"),
    }
}

/// Has a caller leave its batch to the connection, so that it is found there.
pub(crate) fn leave(scheduler: &mut Scheduler, next: Flush) {
    if let Flush::Write(batch) = next {
        scheduler.on_written(batch);
    }
}

/// A worker with one plain and one concurrent function.
pub(crate) fn peer(version: u32) -> Peer {
    let function = |name: &str, concurrent| FunctionInfo {
        name: name.into(),
        doc: String::new(),
        parameters: serde_json::Value::Null,
        returns: serde_json::Value::Null,
        concurrent,
    };
    Peer::Negotiated(WorkerInfo {
        version,
        features: Features::ALL,
        functions: vec![function("async", true), function("plain", false)],
        ..WorkerInfo::default()
    })
}

/// Of a caller that nobody asks whether it was woken.
pub(crate) fn waker() -> Waker {
    Waker::noop().clone()
}

pub(crate) fn request(codec: Codec) -> Outgoing {
    let envelope = Envelope {
        codec,
        headers: Headers::new(),
        trace: None,
        wants_times: false,
        deadline: Instant::now() + Duration::from_secs(60),
    };
    let payload = Payload::Buffer(b"1".to_vec());
    Outgoing { envelope, payload }
}

fn submit(scheduler: &mut Scheduler) -> Result<CallId, Error> {
    submit_to(scheduler, "m")
}

fn submit_to(scheduler: &mut Scheduler, method: &str) -> Result<CallId, Error> {
    submit_as(scheduler, method, Codec::Json)
}

fn submit_as(scheduler: &mut Scheduler, method: &str, codec: Codec) -> Result<CallId, Error> {
    let mut request = Some(request(codec));
    let number = scheduler.methods().find(method);
    let submitted = scheduler.submit(
        (method, number),
        &mut request,
        Admission::Queue,
        waker(),
        Instant::now(),
    )?;
    assert!(request.is_none_or(|it| it.payload.as_slice().is_empty()));
    leave(scheduler, submitted.flush);
    Ok(submitted.id)
}

fn answer(scheduler: &mut Scheduler, id: u64) -> Result<(), ProtocolViolation> {
    let answers = [Response::failure(id, Failure::default())].into_iter();
    let connection = current(scheduler, 0);
    let may_wait = scheduler.on_answers(connection, answers, Instant::now());
    may_wait.map(drop)
}

/// What is to be written to the worker.
fn written(scheduler: &mut Scheduler) -> Vec<u8> {
    let connection = current(scheduler, 0);
    frames(scheduler, connection)
}

/// All that the connection has to write.
pub(crate) fn frames(scheduler: &mut Scheduler, id: ConnectionId) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut outbox = Outbox::default();
        match scheduler.next_write(id, &mut outbox, Waker::noop()) {
            NextWrite::Frames => {
                while !outbox.is_empty() {
                    let (slices, count) = outbox.slices();
                    let before = bytes.len();
                    let slices = slices[..count].iter();
                    slices.for_each(|it| bytes.extend_from_slice(it));
                    outbox.advance(bytes.len() - before);
                }
            }
            NextWrite::Yield => {}
            NextWrite::Nothing { .. } | NextWrite::Drained => return bytes,
        }
    }
}

fn outcome(scheduler: &mut Scheduler, id: CallId) -> Poll<Outcome> {
    scheduler
        .poll_outcome(id, &mut Context::from_waker(Waker::noop()))
        .map(|outcome| outcome.expect("its deadline is far"))
}

/// How many callers are woken when that much time has passed.
fn passed(scheduler: &mut Scheduler, time: Duration) -> usize {
    scheduler.actions().take();
    scheduler.on_time(Instant::now() + time);
    scheduler.actions().take().wake.len()
}
