//! Workers from before the hello, as the published 0.1.0: what one cannot answer is one call's error, and the worker
//! stays.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/old.rs"]
mod old;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use old::{Act, Request, answer, framed, serve_old};
use pyproc_pool::{Error, ErrorKind, Pool, PoolBuilder, RemoteException};
use serde_json::{Value, json};
use support::{LONG, Scratch, odd, pids, poll_once, until};

fn pool(socket: &Path) -> PoolBuilder {
    Pool::builder()
        .external_sockets([socket])
        .max_in_flight(8)
        .start_timeout(LONG)
        .request_timeout(LONG)
}

/// A worker that handles each request as the test decides.
struct LoggedEvent {
    dir: Scratch,
    requests: Receiver<Request>,
    acts: Sender<Act>,
    thread: JoinHandle<()>,
}

impl LoggedEvent {
    fn start() -> Self {
        Self::at(Scratch::new())
    }

    fn at(dir: Scratch) -> Self {
        let (seen, requests) = channel();
        let (acts, on_act) = channel();
        let thread = serve_old(&dir.path().join("old.sock"), move |request| {
            // After the end of the test the receiver is gone.
            let _ = seen.send(request.clone());
            on_act.recv().unwrap_or(Act::Die(Vec::new()))
        });
        Self {
            dir,
            requests,
            acts,
            thread,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("old.sock")
    }

    fn pool(&self) -> PoolBuilder {
        pool(&self.socket())
    }

    /// The next request that the worker reads, which has this body.
    async fn reads(&self, body: Value) -> Request {
        let mut request = None;
        let begin = std::time::Instant::now();
        while request.is_none() {
            assert!(begin.elapsed() < LONG, "no request {body}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            request = self.requests.try_recv().ok();
        }
        let request = request.unwrap();
        assert_eq!(request.body, body);
        request
    }

    fn does(&self, act: Act) {
        self.acts.send(act).unwrap();
    }

    async fn answers(&self, body: Value) -> Request {
        let request = self.reads(body.clone()).await;
        self.does(Act::Answer(body));
        request
    }
}

type Call = Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>;

/// Submits a call.
fn submit(pool: &Pool, input: u32) -> Call {
    submit_within(pool, input, LONG)
}

fn submit_within(pool: &Pool, input: u32, timeout: Duration) -> Call {
    let pool = pool.clone();
    let mut call: Call = Box::pin(async move {
        let call = pool.request("any", &input).timeout(timeout);
        call.call().await
    });
    assert!(poll_once(call.as_mut()).is_pending());
    call
}

#[track_caller]
fn assert_remote(outcome: Result<Value, Error>, expected: &str) {
    match outcome {
        Err(Error::Remote(RemoteException {
            message, worker, ..
        })) => assert_eq!((&*message, worker), (expected, 0)),
        other => panic!("expected an exception, got {other:?}"),
    }
}

/// The worker is the same, and the pool does not count twice.
async fn stays(pool: &Pool) {
    until("the worker has nothing", || pool.stats().in_flight == 0).await;
    let health = &pool.health().workers[0];
    assert_eq!((health.restarts, &health.last_error), (0, &None));
    assert_eq!((pool.health().ready(), pool.stats().queued), (1, 0));
}

const NOT_JSON: &str = "Object of type set is not JSON serializable";

#[tokio::test]
async fn an_error_without_an_id_is_the_oldest_calls_and_the_others_are_sent_once_more() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let calls: Vec<Call> = (0..5).map(|i| submit(&pool, i)).collect();
    worker.answers(json!(0)).await;
    worker.reads(json!(1)).await;
    assert_eq!(pool.stats().in_flight, 2, "one is on its way");
    worker.does(Act::Nameless(NOT_JSON));
    for i in 2..5 {
        let request = worker.answers(json!(i)).await;
        assert_eq!(request.connection, 1);
    }
    for (i, call) in calls.into_iter().enumerate() {
        match i {
            1 => assert_remote(call.await, NOT_JSON),
            i => assert_eq!(call.await.unwrap(), i),
        }
    }
    assert!(worker.requests.try_recv().is_err(), "none was run twice");
    stays(&pool).await;
}

#[tokio::test]
async fn one_such_answer_after_another_costs_one_call_each() {
    let dir = Scratch::new();
    let socket = dir.path().join("old.sock");
    serve_old(&socket, |it| match it.body.as_u64().unwrap() % 3 {
        0 => Act::Nameless(NOT_JSON),
        _ => Act::Answer(it.body.clone()),
    });
    let pool = pool(&socket).start().await.unwrap();
    let calls: Vec<Call> = (0..300).map(|i| submit(&pool, i)).collect();
    for (i, call) in calls.into_iter().enumerate() {
        match i % 3 {
            0 => assert_remote(call.await, NOT_JSON),
            _ => assert_eq!(call.await.unwrap(), i),
        }
    }
    stays(&pool).await;
}

#[tokio::test]
async fn large_requests_are_sent_once_more_whole() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let first = submit(&pool, 0);
    let large = "x".repeat(1 << 20);
    let mut second = pin!(pool.call::<_, Value>("any", &large));
    assert!(poll_once(second.as_mut()).is_pending());
    worker.reads(json!(0)).await;
    worker.does(Act::Nameless(NOT_JSON));
    assert_remote(first.await, NOT_JSON);
    tokio::join!(
        async { assert_eq!(second.await.unwrap(), large) },
        worker.answers(json!(large)),
    );
    stays(&pool).await;
}

#[tokio::test]
async fn a_neighbour_that_was_cancelled_is_not_sent_again_and_takes_no_capacity() {
    for times_out in [true, false] {
        let worker = LoggedEvent::start();
        let pool = worker.pool().max_in_flight(2).start().await.unwrap();
        let [first, gone, last] = [0, 1, 2].map(|i| match i {
            1 if times_out => submit_within(&pool, i, Duration::from_millis(20)),
            i => submit(&pool, i),
        });
        worker.reads(json!(0)).await;
        if times_out {
            let error = gone.await.unwrap_err();
            assert_eq!(
                (error.kind(), error.worker()),
                (ErrorKind::Timeout, Some(0))
            );
        } else {
            drop(gone);
        }
        let stats = pool.stats();
        assert_eq!((stats.abandoned, stats.in_flight, stats.queued), (1, 2, 1));
        worker.does(Act::Nameless(NOT_JSON));
        assert_remote(first.await, NOT_JSON);
        worker.answers(json!(2)).await;
        assert_eq!(last.await.unwrap(), 2);
        stays(&pool).await;
    }
}

#[tokio::test]
async fn the_error_of_a_call_that_was_cancelled_is_dropped() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let (first, second) = (submit(&pool, 0), submit(&pool, 1));
    worker.reads(json!(0)).await;
    drop(first);
    worker.does(Act::Nameless(NOT_JSON));
    worker.answers(json!(1)).await;
    assert_eq!(second.await.unwrap(), 1);
    stays(&pool).await;
}

#[tokio::test]
async fn a_neighbour_whose_deadline_passes_before_the_next_connection_was_not_run() {
    // A busy machine may need more time until the neighbour waits again.
    let mut timeouts = [50, 500, 5000].map(Duration::from_millis).into_iter();
    while !is_not_run_after(timeouts.next().unwrap()).await {}
}

/// Returns whether the neighbour waited for the next connection when its deadline passed.
async fn is_not_run_after(timeout: Duration) -> bool {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let first = submit(&pool, 0);
    let second = submit_within(&pool, 1, timeout);
    worker.reads(json!(0)).await;
    let (go, on_go) = channel();
    worker.does(Act::NamelessUntil(on_go));
    assert_remote(first.await, "later");
    let stats = pool.stats();
    if stats.queued == 0 {
        return false;
    }
    assert_eq!((stats.in_flight, stats.queued), (0, 1));
    let error = second.await.unwrap_err();
    assert_eq!((error.kind(), error.worker()), (ErrorKind::Timeout, None));
    assert!(error.is_retryable());
    let third = submit(&pool, 2);
    go.send(()).unwrap();
    worker.answers(json!(2)).await;
    assert_eq!(third.await.unwrap(), 2);
    stays(&pool).await;
    true
}

#[tokio::test]
async fn a_shutdown_waits_for_the_neighbours() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let [first, second] = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    let shutdown = pool.shutdown(LONG);
    let served = async {
        worker.does(Act::Nameless(NOT_JSON));
        worker.answers(json!(1)).await;
        assert_remote(first.await, NOT_JSON);
        assert_eq!(second.await.unwrap(), 1);
    };
    let (report, ()) = tokio::join!(shutdown, served);
    assert_eq!((report.cut_off, report.killed), (0, 0));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_next_connection() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let [first, second] = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    let (_go, on_go) = channel();
    worker.does(Act::NamelessUntil(on_go));
    assert_remote(first.await, "later");
    let report = pool.shutdown(Duration::ZERO).await;
    assert_eq!((report.cut_off, report.killed), (1, 0));
    assert!(matches!(second.await, Err(Error::ShutDown)));
}

#[tokio::test]
async fn a_worker_that_is_gone_instead_is_replaced_and_the_neighbours_go_to_the_next() {
    let first = LoggedEvent::start();
    let pool = first.pool().start().await.unwrap();
    let calls = [0, 1].map(|i| submit(&pool, i));
    first.reads(json!(0)).await;
    let (go, on_go) = channel();
    first.does(Act::NamelessUntil(on_go));
    fs::remove_file(first.socket()).unwrap();
    let [failed, served] = calls;
    assert_remote(failed.await, "later");
    until("the worker is missed", || pool.health().ready() == 0).await;
    let error = pool.health().workers[0].last_error.clone().unwrap();
    assert!(error.contains("lost its connection"), "{error}");
    let second = LoggedEvent::at(first.dir);
    drop(go);
    second.answers(json!(1)).await;
    assert_eq!(served.await.unwrap(), 1);
    assert_eq!(pool.stats().restarts, 1);
}

#[tokio::test]
async fn a_worker_that_accepts_no_other_connection_is_replaced() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start_timeout(Duration::from_secs(1));
    let pool = pool.start().await.unwrap();
    let calls = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    let (go, on_go) = channel();
    worker.does(Act::NamelessUntil(on_go));
    let [failed, served] = calls;
    assert_remote(failed.await, "later");
    until("the worker is missed", || pool.health().ready() == 0).await;
    let error = pool.health().workers[0].last_error.clone().unwrap();
    assert!(error.contains("answered on no other within 1s"), "{error}");
    go.send(()).unwrap();
    worker.answers(json!(1)).await;
    assert_eq!(served.await.unwrap(), 1);
}

#[tokio::test]
async fn another_worker_that_has_room_takes_the_neighbours() {
    let (first, second) = (LoggedEvent::start(), LoggedEvent::start());
    let sockets = [first.socket(), second.socket()];
    let pool = Pool::builder().external_sockets(sockets);
    let pool = pool.request_timeout(LONG).start().await.unwrap();
    // The first two go to one worker each, and so do the next two.
    let [failed, held, moved, behind] = [0, 1, 2, 3].map(|i| submit(&pool, i));
    first.reads(json!(0)).await;
    second.answers(json!(1)).await;
    assert_eq!(held.await.unwrap(), 1);
    second.reads(json!(3)).await;
    let (_go, on_go) = channel();
    first.does(Act::NamelessUntil(on_go));
    assert_remote(failed.await, "later");
    second.does(Act::Answer(json!(3)));
    assert_eq!(behind.await.unwrap(), 3);
    second.answers(json!(2)).await;
    assert_eq!(moved.await.unwrap(), 2);
    assert_eq!(pool.stats().restarts, 0);
}

#[tokio::test]
async fn what_a_worker_sent_before_it_died_counts_also_if_a_write_fails_first() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let first = submit(&pool, 0);
    let id = worker.reads(json!(0)).await.id;
    worker.does(Act::Die(answer(id, &json!("last words"))));
    worker.thread.join().unwrap();
    // The runtime has had no time to notice, and the connection is woken to write.
    let second = submit(&pool, 1);
    assert_eq!(first.await.unwrap(), "last words");
    assert_eq!(
        second.await.unwrap_err().kind(),
        ErrorKind::WorkerUnavailable
    );
}

#[tokio::test]
async fn a_process_that_ends_instead_is_explained_and_the_neighbours_go_to_the_next() {
    let pool = odd(1).start().await.unwrap();
    let before = pids(&pool);
    let mut first = pin!(pool.call::<_, Value>("id_zero_then_exit", &7));
    assert!(poll_once(first.as_mut()).is_pending());
    let second = pool.call::<_, u32>("pid", &());
    let (first, second) = tokio::join!(first, second);
    let first = first.unwrap_err();
    assert_eq!(first.kind(), ErrorKind::FunctionError, "{first:?}");
    assert!(!before.contains(&second.unwrap()));
    let health = &pool.health().workers[0];
    let error = health.last_error.clone().unwrap();
    assert!(error.contains("exit status: 7"), "{error}");
    assert_eq!(health.restarts, 1);
}

#[tokio::test]
async fn a_reload_replaces_a_worker_whose_connection_is_of_no_more_use() {
    let files = Scratch::new();
    let never = files.path().join("never");
    let pool = odd(1).start().await.unwrap();
    let before = pids(&pool);
    let mut first = pin!(pool.call::<_, Value>("id_zero_then_wait", &never));
    assert!(poll_once(first.as_mut()).is_pending());
    let second = pool.call::<_, u32>("pid", &());
    let outcomes = async { tokio::join!(first, second) };
    let (report, (first, second)) = tokio::join!(pool.reload(LONG), outcomes);
    assert_eq!(first.unwrap_err().kind(), ErrorKind::FunctionError);
    assert!(!before.contains(&second.unwrap()));
    assert_eq!((report.unwrap().killed, pool.stats().restarts), (0, 1));
    assert!(pool.health().workers[0].last_error.is_none());
}

#[tokio::test]
async fn a_worker_that_was_replaced_leaves_its_neighbours_to_the_next() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let before = pids(&pool);
    let held = support::held(&pool, &gate);
    until("the worker has it", || pool.stats().in_flight == 1).await;
    let mut odd = pin!(pool.call::<_, Value>("id_zero", &()));
    assert!(poll_once(odd.as_mut()).is_pending());
    let reload = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(LONG).await })
    };
    until("another is ready", || pids(&pool) != before).await;
    fs::write(&gate, "").unwrap();
    assert_eq!(held.await.unwrap().unwrap(), "seen");
    assert_eq!(odd.await.unwrap_err().kind(), ErrorKind::FunctionError);
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
    assert!(pool.health().workers[0].last_error.is_none());
    assert_eq!(
        pool.call::<_, u32>("pid", &()).await.unwrap(),
        pids(&pool)[0]
    );
}

#[tokio::test]
async fn the_error_of_a_second_pool_names_a_worker_with_one_connection() {
    let worker = LoggedEvent::start();
    let first = worker.pool().start().await.unwrap();
    let second = worker.pool().start_timeout(Duration::from_millis(100));
    let error = second
        .clone()
        .start()
        .await
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("serves one connection at a time"), "{error}");
    assert!(error.contains("start_timeout (100ms)"), "{error}");
    let mut call = submit(&first, 0);
    worker.answers(json!(0)).await;
    assert_eq!(call.as_mut().await.unwrap(), 0, "the first goes on");
    first.shutdown(LONG).await;
    let second = second.start_timeout(LONG).start().await.unwrap();
    let call = submit(&second, 1);
    worker.answers(json!(1)).await;
    assert_eq!(call.await.unwrap(), 1);
}

#[tokio::test]
async fn a_result_that_is_no_json_is_an_error_of_its_call_only_on_the_same_connection() {
    for text in ["NaN", "[1, Infinity]", "not json", "\"\u{1}\""] {
        let worker = LoggedEvent::start();
        let pool = worker.pool().start().await.unwrap();
        let (first, second) = (submit(&pool, 0), submit(&pool, 1));
        let id = worker.reads(json!(0)).await.id;
        let broken = format!(r#"{{"id":{id},"ok":true,"body":{text}}}"#);
        worker.does(Act::Raw(framed(broken.as_bytes())));
        let error = first.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.worker()),
            (ErrorKind::Protocol, Some(0))
        );
        let request = worker.answers(json!(1)).await;
        assert_eq!((request.connection, second.await.unwrap()), (0, json!(1)));
        stays(&pool).await;
    }
}

#[tokio::test]
async fn what_follows_a_broken_result_in_the_same_read_is_delivered() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let calls = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    let broken = framed(br#"{"id":1,"ok":true,"body":NaN}"#);
    worker.does(Act::Raw(Vec::new()));
    let second = worker.reads(json!(1)).await;
    worker.does(Act::Raw([broken, answer(second.id, &json!(1))].concat()));
    let [first, second] = calls;
    assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(second.await.unwrap(), 1);
    stays(&pool).await;
}

#[tokio::test]
async fn a_result_over_the_limit_is_an_error_of_its_call_only() {
    for length in [10 * 1024 * 1024 + 1, u32::MAX] {
        let worker = LoggedEvent::start();
        let pool = worker.pool().start().await.unwrap();
        let (first, second) = (submit(&pool, 0), submit(&pool, 1));
        worker.reads(json!(0)).await;
        worker.does(Act::RawUntilHungUp(length.to_be_bytes().into()));
        let error = first.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            format!("{error:?}").contains(&length.to_string()),
            "{error:?}"
        );
        let request = worker.answers(json!(1)).await;
        assert_eq!((request.connection, second.await.unwrap()), (1, json!(1)));
        stays(&pool).await;
    }
}

const NAMELESS: &[u8] = br#"{"id":0,"ok":false,"error":"who?"}"#;

/// After these bytes the worker is taken for one that has broken the protocol.
async fn is_a_violation(pool: &Pool, worker: &LoggedEvent, bytes: Vec<u8>) {
    worker.does(Act::RawUntilHungUp(bytes));
    until("the worker is replaced", || pool.stats().restarts == 1).await;
    let error = pool.health().workers[0].last_error.clone().unwrap();
    assert!(error.contains("broke the protocol"), "{error}");
    let call = submit(pool, 9);
    worker.answers(json!(9)).await;
    assert_eq!(call.await.unwrap(), 9);
}

#[tokio::test]
async fn an_error_without_an_id_of_a_worker_that_answers_out_of_order_belongs_to_no_call() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let [first, second] = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    worker.does(Act::Raw(Vec::new()));
    let id = worker.reads(json!(1)).await.id;
    let bytes = [answer(id, &json!(1)), framed(NAMELESS)].concat();
    is_a_violation(&pool, &worker, bytes).await;
    assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(second.await.unwrap(), 1);
}

#[tokio::test]
async fn an_error_without_an_id_that_answers_nothing_is_a_violation() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let call = submit(&pool, 0);
    let id = worker.reads(json!(0)).await.id;
    let bytes = [answer(id, &json!(0)), framed(NAMELESS)].concat();
    is_a_violation(&pool, &worker, bytes).await;
    assert_eq!(call.await.unwrap(), 0);
}

#[tokio::test]
async fn a_result_without_an_id_is_a_violation() {
    let worker = LoggedEvent::start();
    let pool = worker.pool().start().await.unwrap();
    let [first, second] = [0, 1].map(|i| submit(&pool, i));
    worker.reads(json!(0)).await;
    is_a_violation(&pool, &worker, answer(0, &json!("whose?"))).await;
    for call in [first, second] {
        assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Protocol);
    }
}
