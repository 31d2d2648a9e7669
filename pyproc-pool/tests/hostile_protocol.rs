//! A worker that attacks its pool by the frames that it sends. Each call has one outcome, which is no wrong answer, by its deadline; a
//! worker that broke the protocol is replaced, with the reason; memory stays bounded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use events::{POOL, listen};
use pyproc_pool::{
    ErrorKind, Pool, PoolBuilder, RestartConfig,
    observe::{CallEnd, CallObserver, CallStart, Observer, RequestMetadata, Wants},
};
use support::{LONG, Scratch, builder, is_alive, until};
use tokio::task::JoinSet;
use tracing::Level;

const CALLS: usize = 16;

/// What becomes of the calls of a worker that attacks.
#[derive(Debug, Clone, Copy)]
enum Calls {
    /// All are answered.
    Succeed,
    /// They fail so, unless they are answered, by this worker or the next.
    MayFail(ErrorKind),
    /// None is answered. They fail so.
    Fail(ErrorKind),
}
use Calls::{Fail, MayFail, Succeed};

/// A pool of such a worker. The process after it is a good one.
struct Attacked {
    attack: &'static str,
    pool: Pool,
    ends: Counter,
    _files: Scratch,
}

impl Attacked {
    async fn by(attack: &'static str) -> Self {
        Self::with(attack, |builder| builder).await
    }

    async fn with(attack: &'static str, set: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        let files = Scratch::new();
        let mark = files.path().join("mark").display().to_string();
        let ends = Counter::default();
        let restart = RestartConfig {
            initial_backoff: Duration::from_millis(1),
            ..RestartConfig::default()
        };
        let builder = builder("hostile_protocol.py")
            .workers(1)
            .max_in_flight(4)
            .args([attack, &mark])
            .restart(restart)
            .observer(Arc::new(ends.clone()));
        Self {
            attack,
            pool: set(builder).start().await.unwrap(),
            ends,
            _files: files,
        }
    }

    /// Makes calls at once, each of which must end once and as it should. Returns how many were answered.
    async fn suffers(&self, expected: Calls) -> usize {
        let (attack, before) = (self.attack, self.ends.get());
        let mut calls = JoinSet::new();
        for i in 0..CALLS {
            let pool = self.pool.clone();
            calls.spawn(async move { (i, pool.call::<_, usize>("echo", &i).await) });
        }
        let mut answered = 0;
        while let Some(call) = calls.join_next().await {
            match (call.unwrap(), expected) {
                ((asked, Ok(answer)), Succeed | MayFail(_)) => {
                    assert_eq!(answer, asked, "{attack}: a wrong answer");
                    answered += 1;
                }
                ((_, Err(error)), Fail(kind) | MayFail(kind)) => {
                    assert_eq!(error.kind(), kind, "{attack}: {error:?}");
                }
                ((_, outcome), _) => panic!("{attack}: {outcome:?}"),
            }
        }
        assert_eq!(self.ends.get(), before + CALLS, "{attack}");
        answered
    }

    /// The worker is replaced, for this reason, and calls are answered again.
    async fn is_replaced(&self, reason: &str) {
        let Self { attack, pool, .. } = self;
        until(attack, || pool.stats().restarts == 1).await;
        let workers = pool.health().workers.into_iter();
        let errors: Vec<String> = workers.filter_map(|it| it.last_error).collect();
        assert_eq!(errors.len(), 1, "{attack}: {errors:?}");
        assert!(errors[0].contains(reason), "{attack}: {errors:?}");
        self.suffers(Succeed).await;
        assert_eq!(pool.stats().in_flight, 0, "{attack}");
    }
}

/// Wants all that workers report, and counts the ends of calls.
#[derive(Debug, Default, Clone)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Counter {
    fn begin(
        &self,
        _: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        metadata.times = true;
        Some(Box::new(self.clone()))
    }

    fn wants(&self) -> Wants {
        let mut wants = Wants::default();
        (wants.spans, wants.metrics) = (true, true);
        wants
    }
}

impl CallObserver for Counter {
    fn end(self: Box<Self>, _: &CallEnd<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The worker breaks the protocol, in this way.
async fn breaks(attack: &'static str, reason: &str) {
    let attacked = Attacked::by(attack).await;
    attacked.suffers(MayFail(ErrorKind::Protocol)).await;
    attacked.is_replaced("broke the protocol").await;
    attacked.is_replaced(reason).await;
}

#[tokio::test]
async fn answers_without_a_request_are_dropped() {
    for attack in [
        "an_id_that_was_never_sent",
        "the_largest_id",
        "the_next_generation",
        "the_generation_before",
        "answered_twice",
        "answered_and_failed",
        "before_it_was_sent",
        "all_ids_at_once",
        "the_hello_once_more",
        "a_result_without_an_id",
    ] {
        breaks(attack, "not outstanding").await;
    }
    breaks("an_error_without_an_id", "who, me?").await;
}

#[tokio::test]
async fn the_calls_of_another_worker_are_not_its_to_answer() {
    let attacked = Attacked::with("the_calls_of_another", |it| it.workers(2)).await;
    attacked.suffers(MayFail(ErrorKind::Protocol)).await;
    attacked.is_replaced("not outstanding").await;
}

#[tokio::test]
async fn an_answer_to_a_cancellation_is_dropped() {
    let short = |it: PoolBuilder| it.request_timeout(Duration::from_millis(100));
    let attacked = Attacked::with("cancellations_are_answered", short).await;
    let call = attacked.pool.call::<_, String>("echo", &0).await;
    assert_eq!(call.unwrap_err().kind(), ErrorKind::Timeout);
    until("the worker is replaced", || {
        attacked.pool.stats().restarts == 1
    })
    .await;
    let error = attacked.pool.health().workers[0].last_error.clone();
    assert!(
        error
            .as_ref()
            .is_some_and(|it| it.contains("not outstanding")),
        "{error:?}"
    );
}

#[tokio::test]
async fn frames_that_a_worker_must_not_send_end_it_with_the_reason() {
    for (attack, reason) in [
        ("a_request", "sent a request"),
        ("a_cancellation", "sent a cancel"),
        ("a_ping", "sent a ping"),
        ("a_stream_item", "kind 0x05"),
        ("a_stream_end", "kind 0x06"),
        ("a_credit", "kind 0x07"),
        ("an_unknown_kind", "kind 0x0f"),
        ("a_request_in_json", "sent a request"),
        ("a_cancellation_in_json", "sent a cancellation"),
        ("a_kind_of_another_version", "0x7f"),
    ] {
        breaks(attack, reason).await;
    }
}

#[tokio::test]
async fn frames_that_cannot_be_read_end_their_worker_with_the_reason() {
    for (attack, reason) in [
        ("an_unknown_flag", "flags"),
        ("headers_without_end", "1000 headers"),
        ("json_that_is_none", "not a valid message"),
        ("a_text_that_is_none", "UTF-8"),
        ("a_frame_without_a_body", "is empty"),
        ("a_header_that_ends_early", "ends"),
        ("bytes_behind_a_pong", "4 bytes"),
        ("an_inner_length_that_lies", "ends"),
        ("times_that_end_early", "ends"),
        ("a_length_that_is_too_long", "10485761 bytes"),
        ("a_length_of_four_gigabytes", "4294967295 bytes"),
    ] {
        breaks(attack, reason).await;
    }
}

#[tokio::test]
async fn connections_that_end_anywhere_are_the_end_of_their_worker() {
    for (attack, reason) in [
        ("a_length_that_is_never_filled", "exit status: 0"),
        ("closed_within_a_length", "exit status: 0"),
        ("closed_for_writing", "exit status: 0"),
        ("deaf", "lost its connection"),
        ("deaf_and_floods", "in flood"), // a broken pipe, or a reset if it had something to read
    ] {
        let attacked = Attacked::by(attack).await;
        attacked
            .suffers(MayFail(ErrorKind::WorkerUnavailable))
            .await;
        attacked.is_replaced(reason).await;
    }
}

#[tokio::test]
async fn what_is_allowed_harms_no_call_however_much_of_it_there_is() {
    for attack in [
        "pongs",
        "frames_to_skip",
        "records_that_are_none",
        "records_while_calls_wait",
        "a_record_as_large_as_a_frame",
        "a_record_longer_than_a_frame",
        "one_byte_at_a_time",
        "answers_backwards",
        "times_out_of_this_world",
        "answers_in_json",
    ] {
        let before = resident();
        let attacked = Attacked::by(attack).await;
        attacked.suffers(Succeed).await;
        assert_eq!(attacked.pool.stats().restarts, 0, "{attack}");
        assert_bounded(attack, before);
    }
}

#[tokio::test]
async fn introductions_of_all_kinds_harm_no_call() {
    for attack in [
        "a_table_of_doubles",
        "a_table_as_large_as_a_frame",
        "names_of_all_kinds",
        "the_pid_of_another",
        "the_pid_of_nobody",
        "features_of_the_future",
        "agents_that_forge_lines",
        "plain_and_concurrent",
    ] {
        let attacked = Attacked::by(attack).await;
        attacked.suffers(Succeed).await;
        let pid = attacked.pool.health().workers[0].pid.unwrap();
        assert!(pid != 1 && is_alive(pid), "{attack}: {pid}");
        assert_eq!(attacked.pool.shutdown(LONG).await.cut_off, 0, "{attack}");
    }
}

#[tokio::test]
async fn results_that_cannot_be_decoded_are_errors_of_their_calls_only() {
    for (attack, kind) in [
        ("unknown_codecs", ErrorKind::Decode),
        ("results_that_are_no_json", ErrorKind::Decode),
        ("errors_as_large_as_a_frame", ErrorKind::FunctionError),
    ] {
        let before = resident();
        let attacked = Attacked::by(attack).await;
        attacked.suffers(Fail(kind)).await;
        let stats = attacked.pool.stats();
        assert_eq!((stats.restarts, stats.in_flight), (0, 0), "{attack}");
        assert_bounded(attack, before);
    }
}

#[tokio::test]
async fn the_texts_of_its_errors_are_logged_in_bounded_length() {
    for (attack, kind) in [
        ("errors_as_large_as_a_frame", ErrorKind::FunctionError),
        ("a_long_farewell", ErrorKind::Protocol),
    ] {
        let (events, _guard) = listen(Level::INFO);
        let attacked = Attacked::by(attack).await;
        attacked.suffers(MayFail(kind)).await;
        until("the errors are logged", || events.has("call completed")).await;
        if kind == ErrorKind::Protocol {
            attacked.is_replaced("bye").await;
            assert!(events.has("worker died"));
        }
        for event in events.of(POOL) {
            let size: usize = event.fields.values().map(String::len).sum();
            assert!(size < 200_000, "{attack}: {size} bytes");
        }
        let error = attacked.pool.health().workers[0].last_error.clone();
        assert!(error.is_none_or(|it| it.len() < 100_000));
    }
}

#[tokio::test]
async fn calls_that_get_no_answer_end_by_their_deadline() {
    for attack in [
        "never_answers",
        "never_reads",
        "only_floods",
        "drains_and_keeps_its_calls",
    ] {
        let before = resident();
        let short = |it: PoolBuilder| it.request_timeout(Duration::from_millis(300));
        let attacked = Attacked::with(attack, short).await;
        let ended = attacked.suffers(Fail(ErrorKind::Timeout));
        tokio::time::timeout(LONG, ended).await.expect(attack);
        assert_bounded(attack, before);
        let report = attacked.pool.shutdown(Duration::ZERO).await;
        assert_eq!(report.cut_off, 0, "{attack}");
    }
}

#[tokio::test]
async fn a_worker_that_drains_a_thousand_times_is_let_go_once() {
    let attacked = Attacked::by("drains_at_once").await;
    attacked.suffers(Succeed).await;
    let health = &attacked.pool.health().workers[0];
    assert_eq!((health.restarts, &health.last_error), (1, &None));
}

/// Memory that this process uses, according to the system.
fn resident() -> usize {
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages = statm.split(' ').nth(1).and_then(|it| it.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// The other tests are in the same process.
#[track_caller]
fn assert_bounded(attack: &str, before: usize) {
    let grown = resident().saturating_sub(before);
    assert!(grown < 512 << 20, "{attack}: {} MiB", grown >> 20);
}
