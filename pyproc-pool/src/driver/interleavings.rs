//! Callers, the connection's task, the deadlines' thread and a worker, under many orders of their steps.
//!
//! shuttle runs one thread at a time, and switches between them wherever one locks, waits or wakes, as a seed decides. A
//! wake-up that is lost leaves every thread asleep, which shuttle reports as a deadlock; two writers at once break the frames
//! that the worker reads. The seeds are fixed, so a failure comes back with the next run; shuttle prints its schedule, too.
//!
//! Run by `cargo xtask interleavings`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use pyproc_protocol::{
    ClientEvent, ClientSession, Failure, Features, FunctionInfo, Hello, Version, WorkerEvent,
    WorkerInfo, WorkerSession,
    v2::{Method, Response},
};
use serde_json::json;
use shuttle::{
    Config, MaxSteps, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

use super::{Closed, Connection};
use crate::{
    CallRequest, Error, PoolConfig,
    call::Deadlines,
    clock::Clock,
    shared::{Attached, Shared},
    sync::thread,
    transport::{Transport, pair},
};

const SEED: u64 = 1;
/// Schedules that choose each step's thread at random.
const RANDOM: usize = 200;
/// Schedules that run the thread with the highest priority, and change priorities at [`DEPTH`] − 1 random steps.
const BY_PRIORITY: usize = 1000;
const DEPTH: usize = 3;
/// A schedule with more steps is taken for an endless loop.
const MAX_STEPS: usize = 20_000;
/// Bytes on their way in each direction: a frame with a small input fits, others go through in pieces.
const ROOM: usize = 64;
const INPUT_SIZES: [usize; 4] = [80, 80, 1, 1];
const MAX_FRAME_SIZE: usize = 10_000;

/// In this order the worker lists its functions.
const FUNCTIONS: [&str; 3] = ["meet", "never", "quit"];

/// What differs between the tests.
#[derive(Debug, Clone, Copy)]
struct Setup {
    /// How long the connection looks for answers before it sleeps, in switches between threads.
    spin: u64,
    /// Whether functions run beside each other.
    concurrent: bool,
}

#[test]
fn no_order_loses_a_call_of_functions_that_run_one_by_one() {
    in_many_orders(Setup {
        spin: 0,
        concurrent: false,
    });
}

#[test]
fn no_order_loses_a_call_of_functions_that_run_beside_each_other() {
    in_many_orders(Setup {
        spin: 0,
        concurrent: true,
    });
}

#[test]
fn no_order_loses_a_call_while_the_connection_spins() {
    in_many_orders(Setup {
        spin: 30,
        concurrent: true,
    });
}

fn in_many_orders(setup: Setup) {
    run(setup, RandomScheduler::new_from_seed(SEED, RANDOM));
    run(setup, PctScheduler::new_from_seed(SEED, DEPTH, BY_PRIORITY));
}

fn run<S: Scheduler + std::fmt::Debug + 'static>(setup: Setup, scheduler: S) {
    let name = std::any::type_name::<S>();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let mut config = Config::new();
    config.stack_size = 512 * 1024;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    let runner = Runner::new(scheduler, config);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            calls_of_several_threads(setup);
        })
    }));
    if let Err(panic) = ran {
        let schedule = begun.load(Ordering::Relaxed);
        eprintln!("{setup:?} failed in schedule {schedule} of {name} with seed {SEED}");
        resume_unwind(panic);
    }
}

/// Two callers whose calls are answered in pairs, and two whose calls end by their deadlines, for a worker with room for three.
fn calls_of_several_threads(setup: Setup) {
    let (ours, theirs) = pair(ROOM);
    let config = PoolConfig {
        max_in_flight: 3,
        ..PoolConfig::default()
    };
    let shared = Arc::new(Shared::new(config, Attached::default(), 1));
    let deadlines = Deadlines::watch(Arc::clone(&shared)).unwrap();
    let worker = thread::spawn(move || block_on(worker(Transport::Memory(theirs), setup)));
    let for_connection = Arc::clone(&shared);
    let connection = thread::spawn(move || {
        block_on(connection(Transport::Memory(ours), &for_connection, setup))
    });
    let callers = [meet, meet, time_out, time_out].map(|calls| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || calls(&shared))
    });
    for caller in callers {
        caller.join().unwrap();
    }
    // The capacity of a call without a caller comes back when the worker has answered the cancellation.
    while shared.driver.lock().in_flight() > 0 {
        thread::yield_now();
    }
    let ended = call_of(&shared, "quit", "");
    assert!(matches!(ended, Err(Error::ShutDown)), "{ended:?}");
    worker.join().unwrap();
    let closed = connection.join().unwrap();
    assert!(matches!(closed, Closed::ByPeer), "{closed:?}");
    assert_eq!(shared.driver.lock().in_flight(), 0);
    drop(deadlines);
}

fn meet(shared: &Shared) {
    for size in INPUT_SIZES {
        let input = "x".repeat(size);
        assert_eq!(call_of(shared, "meet", &input).unwrap(), input);
    }
}

fn time_out(shared: &Shared) {
    for _ in 0..2 {
        let call = CallRequest::new(shared, "never", "").timeout(Duration::ZERO);
        let ended = block_on(call.call::<String>());
        assert!(matches!(ended, Err(Error::Timeout(_))), "{ended:?}");
    }
}

fn call_of(shared: &Shared, function: &str, input: &str) -> Result<String, Error> {
    block_on(CallRequest::new(shared, function, input).call())
}

async fn connection(mut transport: Transport, shared: &Shared, setup: Setup) -> Closed {
    let hello = Hello {
        features: Features::CALLS,
        ..Hello::new("test/1")
    };
    let (mut output, mut input) = (Vec::new(), BytesMut::new());
    let mut session = ClientSession::start(hello, MAX_FRAME_SIZE, &mut output).unwrap();
    transport.write_all(&output).await.unwrap();
    while !matches!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Ready)
    ) {
        assert!(transport.read(&mut input).await.unwrap() > 0);
    }
    let spin = Duration::from_micros(setup.spin);
    let mut connection = Connection::new(transport, session, input, spin, Clock::System);
    connection.open(&mut shared.driver.lock(), 0, None);
    let closed = connection
        .run(&shared.driver, shared.records.sender(0))
        .await;
    let mut scheduler = shared.driver.lock();
    scheduler.close(connection.id());
    scheduler.fail(connection.id(), || Error::ShutDown);
    closed
}

/// Serves `meet`, which returns the inputs of two calls once both are there; `never`, which ends when it is cancelled; and
/// `quit`, which ends the worker in place of an answer.
async fn worker(mut transport: Transport, setup: Setup) {
    let mut session = WorkerSession::new(info(setup.concurrent), MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut waits = None;
    while transport.read(&mut input).await.unwrap() > 0 {
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let mut answers = Vec::new();
            match event {
                WorkerEvent::Request { request, .. } => match request.method {
                    Method::Index(0) => {
                        let answer = Response::success(request.id, request.body);
                        match waits.take() {
                            Some(other) => answers.extend([other, answer]),
                            None => waits = Some(answer),
                        }
                    }
                    Method::Index(1) => {}
                    Method::Index(2) => return,
                    other => panic!("a method that was not listed: {other:?}"),
                },
                WorkerEvent::Cancellation(it) => {
                    answers.push(Response::failure(it.id, Failure::default()));
                }
                other => panic!("{other:?}"),
            }
            for answer in answers {
                session.respond(Version::V2, answer, &mut output).unwrap();
            }
        }
        transport.write_all(&output).await.unwrap();
        output.clear();
    }
}

fn info(concurrent: bool) -> WorkerInfo {
    let functions = FUNCTIONS.map(|name| FunctionInfo {
        name: name.into(),
        doc: String::new(),
        parameters: json!({}),
        returns: json!({}),
        concurrent,
    });
    WorkerInfo {
        features: Features::CALLS,
        functions: functions.into(),
        ..WorkerInfo::default()
    }
}
