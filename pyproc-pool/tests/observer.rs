//! What an observer is notified of.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use pyproc_pool::{
    Error, Pool, PoolBuilder,
    observe::{
        CallEnd, CallObserver, CallOutcome, CallStart, Observer, RequestMetadata, WorkerEvent,
    },
    protocol::{
        Times, TraceContext,
        v2::{Body, Method, Response},
    },
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, json};
use support::{LONG, Scratch, odd, poll_once, until};

const TRACE: TraceContext = TraceContext {
    trace_id: [7; 16],
    span_id: [8; 8],
    flags: 3,
};

/// Keeps its notifications.
#[derive(Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Note {
    method: String,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Observer for Notes {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        metadata.headers.insert("observer".into(), "here".into());
        if call.method == "unwatched" {
            return None;
        }
        metadata.trace = Some(TRACE);
        metadata.times = true;
        Some(Box::new(Note {
            method: call.method.into(),
            notes: Arc::clone(&self.0),
        }))
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        let note = match event {
            WorkerEvent::Ready {
                worker, restarted, ..
            } => format!("{worker} ready, restarted: {restarted}"),
            WorkerEvent::Died { worker, .. } => {
                format!("{worker} died, a process: {}", event.death().is_some())
            }
            WorkerEvent::Stopped { worker } => format!("{worker} stopped"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(note);
    }
}

impl CallObserver for Note {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        let outcome = match end.outcome {
            CallOutcome::Success => "success".into(),
            CallOutcome::Error(error) => error.kind().to_string(),
            CallOutcome::Abandoned => "abandoned".into(),
        };
        let (listed, worker) = (end.listed, end.worker);
        let parts = end.timings.map(|it| it.queued + it.worker);
        assert!(parts.is_none_or(|parts| parts == end.duration), "{end:?}");
        let times = end.timings.and_then(|it| it.times).map(|it| it.duration);
        self.notes.lock().unwrap().push(format!(
            "{}: {outcome}, listed: {listed}, worker: {worker:?}, times: {times:?}, bytes: {} {}",
            self.method, end.request_bytes, end.response_bytes
        ));
    }
}

/// A pool that is watched, and what the observer has written down since the last look.
async fn watched(builder: PoolBuilder) -> (Pool, impl Fn() -> Vec<String>) {
    let notes = Notes::default();
    let taken = Arc::clone(&notes.0);
    let pool = builder.observer(Arc::new(notes)).start().await.unwrap();
    (pool, move || std::mem::take(&mut *taken.lock().unwrap()))
}

#[tokio::test]
async fn a_call_has_the_observers_metadata_and_its_end_has_the_workers_times() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let requests = sidecar::serve(&socket, |request| {
        let times = Some(Times {
            start: Duration::from_secs(1),
            duration: Duration::from_millis(3),
        });
        let body = Body::json(request.body.bytes.clone());
        Some(Response {
            times: times.filter(|_| request.wants_times),
            ..Response::success(request.id, body)
        })
    });
    let builder = Pool::builder().external_sockets([&socket]);
    let (pool, notes) = watched(builder).await;
    let _: Value = pool.call("listed", &json!([1, 2])).await.unwrap();
    let request = requests.recv_timeout(LONG).unwrap();
    assert_eq!(request.method, Method::Index(0));
    assert_eq!(request.trace, Some(TRACE));
    assert!(request.deadline.unwrap() <= Duration::from_secs(30));
    assert_eq!(request.headers["observer"], "here");

    let _: Value = pool.call("unwatched", &json!(3)).await.unwrap();
    let request = requests.recv_timeout(LONG).unwrap();
    assert_eq!(request.method, Method::Name("unwatched".into()));
    assert!(request.trace.is_none() && !request.wants_times);
    assert_eq!(request.headers["observer"], "here");

    assert_eq!(
        notes(),
        [
            "0 ready, restarted: false",
            "listed: success, listed: true, worker: Some(0), times: Some(3ms), bytes: 5 5",
        ]
    );
}

#[tokio::test]
async fn a_worker_of_version_1_gets_the_trace_in_a_header() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let requests = sidecar::serve(&socket, |request| {
        Some(Response::success(request.id, request.body.clone()))
    });
    let builder = Pool::builder()
        .external_sockets([&socket])
        .max_protocol_version(1);
    let (pool, notes) = watched(builder).await;
    let _: Value = pool.call("listed", &json!(1)).await.unwrap();
    let request = requests.recv_timeout(LONG).unwrap();
    let expected = "00-07070707070707070707070707070707-0808080808080808-03";
    assert_eq!(request.headers["traceparent"], expected);
    assert!(notes()[1].contains("times: None"));
}

/// Knows the span above the execution.
#[derive(Debug)]
struct Above;

impl Observer for Above {
    fn begin(
        &self,
        _: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        assert_eq!(
            metadata.headers["observer"], "here",
            "the first has had its turn"
        );
        metadata.caller_span_id = Some([9; 8]);
        metadata.trace = Some(TRACE);
        Some(Box::new(Self))
    }
}

impl CallObserver for Above {
    fn end(self: Box<Self>, _: &CallEnd<'_>) {}
}

#[tokio::test]
async fn several_observers_see_each_call_and_a_worker_of_version_1_gets_the_span_above_the_execution()
 {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let requests = sidecar::serve(&socket, |request| {
        Some(Response::success(request.id, request.body.clone()))
    });
    let first = Notes::default();
    let logged = Arc::clone(&first.0);
    let second = Notes::default();
    let told_too = Arc::clone(&second.0);
    let builder = Pool::builder()
        .external_sockets([&socket])
        .max_protocol_version(1)
        .observer(Arc::new(first))
        .observer(Arc::new(second))
        .observer(Arc::new(Above));
    let pool = builder.start().await.unwrap();
    let _: Value = pool.call("listed", &json!(1)).await.unwrap();
    let request = requests.recv_timeout(LONG).unwrap();
    let expected = "00-07070707070707070707070707070707-0909090909090909-03";
    assert_eq!(request.headers["traceparent"], expected);
    let logged = logged.lock().unwrap();
    assert!(
        logged[0].starts_with("0 ready") && logged[1].starts_with("listed: success"),
        "{logged:?}"
    );
    assert_eq!(logged.len(), 2);
    assert_eq!(*logged, *told_too.lock().unwrap());
}

#[tokio::test]
async fn each_call_has_exactly_one_notification_of_its_end_whatever_its_outcome() {
    let (pool, notes) = watched(odd(1).max_in_flight(1).max_queue(0)).await;
    notes();
    let _: Value = pool.call("echo", &1).await.unwrap();
    assert!(pool.call::<_, Value>("fail", &"no").await.is_err());
    assert!(pool.call::<_, u8>("echo", &"text").await.is_err());
    let logged = notes();
    assert!(logged[0].starts_with("echo: success, listed: true, worker: Some(0), times: None"));
    assert!(logged[1].starts_with("fail: function_error"), "{logged:?}");
    assert!(logged[2].starts_with("echo: decode"), "{logged:?}");
    assert_eq!(logged.len(), 3);

    let mut dropped = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(dropped.as_mut()).is_pending());
    assert!(
        pool.call::<_, Value>("echo", &1).await.is_err(),
        "the pool is full"
    );
    drop(dropped);
    let logged = notes();
    assert!(logged[0].starts_with("echo: overloaded"), "{logged:?}");
    assert!(
        logged[1].starts_with("never: abandoned, listed: false, worker: Some(0)"),
        "{logged:?}"
    );
    assert_eq!(logged.len(), 2);
    pool.shutdown(Duration::ZERO).await;
    assert_eq!(notes(), ["0 stopped"]);
}

#[tokio::test]
async fn a_timeout_names_the_worker_that_had_the_call() {
    let (pool, notes) = watched(odd(1)).await;
    notes();
    let slow = pool.request("never", &1).timeout(Duration::from_millis(20));
    assert!(matches!(slow.call::<Value>().await, Err(Error::Timeout(_))));
    let logged = notes();
    assert!(
        logged[0].starts_with("never: timeout, listed: false, worker: Some(0)"),
        "{logged:?}"
    );
}

#[tokio::test]
async fn observers_are_notified_of_deaths_and_new_workers() {
    let (pool, notes) = watched(odd(1)).await;
    assert_eq!(notes(), ["0 ready, restarted: false"]);
    assert!(pool.call::<_, Value>("exit_with", &3).await.is_err());
    let logged = Mutex::new(Vec::new());
    until("a new worker is logged", || {
        let mut logged = logged.lock().unwrap();
        logged.extend(notes());
        logged.contains(&"0 ready, restarted: true".into())
    })
    .await;
    let logged = logged.into_inner().unwrap();
    assert!(
        logged.contains(&"0 died, a process: true".into()),
        "{logged:?}"
    );
    assert!(
        logged
            .iter()
            .any(|it| it
                .starts_with("exit_with: worker_unavailable, listed: false, worker: Some(0)")),
        "{logged:?}"
    );
}

/// Keeps when the last call ended, according to its notification.
#[derive(Debug, Clone, Default)]
struct Over(Arc<Mutex<Option<Instant>>>);

struct OverOne(Over, Instant);

impl Observer for Over {
    fn begin(
        &self,
        call: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(OverOne(self.clone(), call.start)))
    }
}

impl CallObserver for OverOne {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        let Self(Over(over), start) = *self;
        *over.lock().unwrap() = Some(start + end.duration);
    }
}

/// When a result was read.
struct ReadAt(Instant);

impl<'de> Deserialize<'de> for ReadAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at = Instant::now();
        IgnoredAny::deserialize(deserializer).map(|_| Self(at))
    }
}

#[tokio::test]
async fn a_call_is_over_when_its_answer_has_arrived_and_without_one_when_its_caller_knows() {
    let over = Over::default();
    let pool = odd(1)
        .observer(Arc::new(over.clone()))
        .start()
        .await
        .unwrap();
    let is_over = || over.0.lock().unwrap().take().unwrap();
    let read: ReadAt = pool.call("echo", &1).await.unwrap();
    assert!(
        is_over() <= read.0,
        "reading the result is the caller's own"
    );

    let begin = Instant::now();
    let limit = Duration::from_millis(20);
    let slow = pool.request("never", &1).timeout(limit);
    assert!(matches!(slow.call::<Value>().await, Err(Error::Timeout(_))));
    assert!(is_over() >= begin + limit);
    pool.shutdown(Duration::ZERO).await;
}

/// Passes on that the pool waits.
#[derive(Debug)]
struct Meanwhile(Sender<()>);

impl Observer for Meanwhile {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn prepare_next(&self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn observers_are_notified_between_a_request_and_its_answer() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let (logged, is_logged) = channel();
    let _requests = sidecar::serve(&socket, move |request| {
        // The pool has until then nothing to do.
        is_logged.recv_timeout(LONG).ok()?;
        Some(Response::success(
            request.id,
            Body::json(request.body.bytes.clone()),
        ))
    });
    let pool = Pool::builder()
        .external_sockets([&socket])
        .observer(Arc::new(Notes::default()))
        .observer(Arc::new(Meanwhile(logged)))
        .start()
        .await
        .unwrap();
    for number in 0..3 {
        let answer: u8 = pool.call("listed", &number).await.unwrap();
        assert_eq!(answer, number);
    }
    pool.shutdown(Duration::ZERO).await;
}

/// Panics at everything about workers but their start.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        assert!(matches!(event, WorkerEvent::Ready { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn an_observer_that_panics_takes_no_worker_with_it() {
    let pool = odd(1).observer(Arc::new(Panics)).start().await.unwrap();
    let error = pool.call::<_, Value>("exit_with", &3).await.unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error:?}");
    until("it is replaced", || pool.health().workers[0].restarts == 1).await;
    assert_eq!(pool.call::<_, u8>("echo", &1).await.unwrap(), 1);
    pool.shutdown(Duration::ZERO).await;
}

/// Panics at the end of each call.
#[derive(Debug)]
struct PanicsAtTheEnd;

impl Observer for PanicsAtTheEnd {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(Self))
    }
}

impl CallObserver for PanicsAtTheEnd {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        panic!("{end:?}");
    }
}

#[tokio::test]
async fn observers_after_one_that_panics_are_notified_all_the_same() {
    let notes = Notes::default();
    let logged = Arc::clone(&notes.0);
    let builder = odd(1)
        .observer(Arc::new(Panics))
        .observer(Arc::new(PanicsAtTheEnd))
        .observer(Arc::new(notes));
    let pool = builder.start().await.unwrap();
    let theirs = pool.clone();
    let call = tokio::spawn(async move { theirs.call::<_, u8>("echo", &1).await });
    assert!(call.await.unwrap_err().is_panic(), "it is the caller's");
    pool.shutdown(Duration::ZERO).await;
    let logged = logged.lock().unwrap();
    assert!(logged[1].starts_with("echo: success"), "{logged:?}");
    assert_eq!(logged[2], "0 stopped", "{logged:?}");
}
