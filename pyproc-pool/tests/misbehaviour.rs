//! Each way in which a worker can go wrong gives its typed error, the pool goes on
//! serving, and nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use pyproc_pool::{
    Deadline, DeathCause, Error, ErrorKind, Pool, ProtocolViolation, protocol::SessionError,
};
use serde_json::{Value, json};
use support::{Scratch, echoes, leaves_nothing, nothing_is_left, odd, pids, until};

struct Outcome {
    error: Error,
    output: Result<Value, ()>,
    restarts: u64,
}

/// Calls `method` on one of two workers, checks that the pool serves on and cleans up.
async fn misbehave(method: &str, input: Value) -> Outcome {
    let sockets = Scratch::new();
    let pool = odd(2).socket_dir(sockets.path()).start().await.unwrap();
    let mut all_pids = pids(&pool);
    let result = pool.call::<_, Value>(method, &input).await;
    echoes(&pool).await;
    until("both workers are back", || pool.health().ready() == 2).await;
    all_pids.extend(pids(&pool));
    for _ in 0..4 {
        echoes(&pool).await;
    }
    let restarts = pool.stats().restarts;
    leaves_nothing(pool, &sockets, &all_pids).await;
    match result {
        Ok(output) => Outcome {
            error: Error::ShutDown,
            output: Ok(output),
            restarts,
        },
        Err(error) => Outcome {
            error,
            output: Err(()),
            restarts,
        },
    }
}

async fn violation(method: &str) -> ProtocolViolation {
    violation_in(misbehave(method, Value::Null).await)
}

/// A violation that costs one call, and not the worker.
async fn violation_of_a_call(method: &str) -> ProtocolViolation {
    let outcome = misbehave(method, Value::Null).await;
    assert_eq!(outcome.restarts, 0);
    violation_in(outcome)
}

fn violation_in(outcome: Outcome) -> ProtocolViolation {
    match outcome.error {
        Error::Protocol { source, .. } => std::sync::Arc::into_inner(source).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_frame_of_one_byte_too_much_is_a_protocol_error_of_this_call_only() {
    let violation = violation_of_a_call("too_large").await;
    assert!(
        violation
            .to_string()
            .contains("10485761 bytes, the limit is 10485760")
    );
}

#[tokio::test]
async fn a_length_of_four_gigabytes_is_a_protocol_error_of_this_call_only() {
    let violation = violation_of_a_call("huge_length").await;
    assert!(violation.to_string().contains("4294967295 bytes"));
}

#[tokio::test]
async fn an_input_of_one_byte_too_much_is_an_encode_error_and_is_not_sent() {
    let too_much = "x".repeat(10 * 1024 * 1024);
    let error = misbehave("echo", json!(too_much)).await.error;
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(
        error
            .to_string()
            .contains("maximum frame size of 10485760 bytes"),
        "{}",
        error.to_string()
    );
}

#[tokio::test]
async fn json_nested_100_000_deep_is_a_decode_error_of_this_call_only() {
    let error = misbehave("nested", Value::Null).await.error;
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(
        error.to_string().contains("recursion limit"),
        "{}",
        error.to_string()
    );
}

#[tokio::test]
async fn invalid_utf_8_is_a_protocol_error_of_this_call_only() {
    let violation = violation_of_a_call("bad_utf8").await;
    assert!(matches!(
        violation,
        ProtocolViolation::Session(SessionError::Message(_))
    ));
    assert!(
        violation.to_string().contains("invalid utf-8"),
        "{}",
        violation.to_string()
    );
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_protocol_error_of_this_call_only() {
    let violation = violation_of_a_call("no_json").await;
    assert!(matches!(
        violation,
        ProtocolViolation::Session(SessionError::Message(_))
    ));
}

#[tokio::test]
async fn an_id_without_a_request_is_a_protocol_error() {
    assert!(matches!(
        violation("unknown_id").await,
        ProtocolViolation::UnknownId { .. }
    ));
}

#[tokio::test]
async fn a_second_answer_is_dropped_and_replaces_the_worker() {
    let sockets = Scratch::new();
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let mut all_pids = pids(&pool);
    let first: Result<String, _> = pool.call("twice", &()).await;
    // Both answers may arrive in one read, which condemns the worker but not the first answer.
    assert_eq!(first.unwrap(), "first");
    until("the worker is replaced", || pool.stats().restarts == 1).await;
    let error = pool.health().workers[0].last_error.clone().unwrap();
    assert!(error.contains("broke the protocol"), "{error}");
    all_pids.extend(pids(&pool));
    echoes(&pool).await;
    leaves_nothing(pool, &sockets, &all_pids).await;
}

#[tokio::test]
async fn an_old_worker_that_could_not_read_a_frame_is_an_exception_with_its_words() {
    let outcome = misbehave("id_zero", Value::Null).await;
    let Error::Remote(exception) = outcome.error else {
        panic!("{:?}", outcome.error);
    };
    assert!(exception.message.contains("Expecting value"), "{exception}");
    assert_eq!(outcome.restarts, 0);
}

#[tokio::test]
async fn a_worker_that_closes_in_the_middle_of_a_frame_died() {
    let Error::WorkerDied(death) = misbehave("half_frame", Value::Null).await.error else {
        panic!("no death");
    };
    assert!(matches!(death.cause, DeathCause::Disconnected), "{death}");
}

#[tokio::test]
async fn a_worker_that_closes_its_connection_died() {
    let Error::WorkerDied(death) = misbehave("close", Value::Null).await.error else {
        panic!("no death");
    };
    assert!(matches!(death.cause, DeathCause::Disconnected), "{death}");
}

#[tokio::test]
async fn an_exit_is_a_death_with_its_code_and_last_words() {
    let Error::WorkerDied(death) = misbehave("exit_with", json!(9)).await.error else {
        panic!("no death");
    };
    let DeathCause::Exited(status) = death.cause else {
        panic!("{death}");
    };
    assert_eq!(status.code(), Some(9));
    assert_eq!(death.output, "these are my last words\n");
}

#[tokio::test]
async fn a_kill_is_a_death_with_its_signal() {
    use std::os::unix::process::ExitStatusExt;

    let error = misbehave("kill_self", Value::Null).await.error;
    assert_eq!(error.kind(), ErrorKind::WorkerUnavailable);
    assert!(!error.is_retryable(), "the function may have run");
    let Error::WorkerDied(death) = error else {
        panic!("no death");
    };
    let DeathCause::Exited(status) = death.cause else {
        panic!("{death}");
    };
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn a_child_that_keeps_the_connection_open_does_not_hide_the_death() {
    let Error::WorkerDied(death) = misbehave("leave_child", Value::Null).await.error else {
        panic!("no death");
    };
    assert!(matches!(death.cause, DeathCause::Exited(status) if status.code() == Some(3)));
}

#[tokio::test]
async fn an_exception_of_an_old_worker_is_its_text() {
    let Error::Remote(exception) = misbehave("fail", json!("no such model")).await.error else {
        panic!("no exception");
    };
    assert_eq!(exception.message, "no such model");
    assert_eq!((exception.type_name, exception.traceback), (None, None));
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_and_does_no_harm() {
    let outcome = misbehave("flood", json!(64 * 1024 * 1024)).await;
    assert_eq!(outcome.output, Ok(json!("flooded")));
}

#[tokio::test]
async fn a_worker_that_never_answers_times_out_while_the_others_serve() {
    let sockets = Scratch::new();
    let pool = odd(2).socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    let limit = Duration::from_millis(50);
    let error = pool
        .request("never", &())
        .timeout(limit)
        .call::<Value>()
        .await
        .unwrap_err();
    let Error::Timeout(timeout) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((timeout.limit, timeout.deadline), (limit, Deadline::Call));
    assert!(timeout.worker.is_some() && !error.is_retryable());
    for _ in 0..10 {
        echoes(&pool).await;
    }
    assert_eq!(
        pool.stats().in_flight,
        1,
        "the capacity is busy until the worker answers"
    );
    leaves_nothing(pool, &sockets, &all_pids).await;
}

async fn refuses_to_start(mode: &str) -> (Error, Scratch) {
    let sockets = Scratch::new();
    let builder = odd(2).args([mode]).socket_dir(sockets.path());
    (failed_start(builder).await, sockets)
}

async fn failed_start(builder: pyproc_pool::PoolBuilder) -> Error {
    match builder.start().await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_script_that_does_not_exist_is_a_failed_start_that_names_it() {
    let sockets = Scratch::new();
    let error = failed_start(support::builder("nowhere.py").socket_dir(sockets.path())).await;
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("nowhere.py"), "{error}");
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_python_that_does_not_exist_is_a_failed_start_that_names_it() {
    let sockets = Scratch::new();
    let builder = odd(1)
        .python_exec("/no/such/python")
        .socket_dir(sockets.path());
    let error = failed_start(builder).await;
    assert!(error.to_string().contains("/no/such/python"), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_script_that_raises_on_import_is_a_failed_start_with_its_traceback() {
    let (error, sockets) = refuses_to_start("raise").await;
    let text = error.to_string();
    assert!(
        text.contains("Traceback") && text.contains("no such model file"),
        "{text}"
    );
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_script_that_exits_at_once_is_a_failed_start_with_its_code() {
    let (error, sockets) = refuses_to_start("exit").await;
    let text = error.to_string();
    assert!(
        text.contains("exit status: 7") && text.contains("I would rather not"),
        "{text}"
    );
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_worker_that_never_listens_fails_at_its_deadline() {
    for mode in ["mute", "deaf"] {
        let sockets = Scratch::new();
        let builder = odd(2)
            .args([mode])
            .socket_dir(sockets.path())
            .start_timeout(Duration::from_millis(200));
        let error = failed_start(builder).await;
        assert!(
            error.to_string().contains("within start_timeout (200ms)"),
            "{error}"
        );
        nothing_is_left(&sockets).await;
    }
}

#[tokio::test]
async fn a_worker_that_hangs_up_during_the_handshake_is_a_failed_start() {
    let (error, sockets) = refuses_to_start("hang_up").await;
    assert!(
        error.to_string().contains("closed the connection"),
        "{error}"
    );
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_is_refused_before_anything_starts() {
    let sockets = Scratch::new();
    let long = sockets.path().join("d".repeat(90));
    std::fs::create_dir(&long).unwrap();
    let Error::Config(error) = failed_start(odd(1).socket_dir(long.clone())).await else {
        panic!("it is the setting's fault");
    };
    assert_eq!(error.field, "socket_dir");
    std::fs::remove_dir(&long).unwrap();
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_socket_directory_that_does_not_exist_is_refused_before_anything_starts() {
    let Error::Config(error) = failed_start(odd(1).socket_dir("/no/such/dir")).await else {
        panic!("it is the setting's fault");
    };
    assert_eq!(error.field, "socket_dir");
}

#[tokio::test]
async fn after_too_many_failed_starts_the_slot_stays_empty_and_queued_calls_fail() {
    let sockets = Scratch::new();
    let mark = sockets.path().join("mark");
    let restart = pyproc_pool::RestartConfig {
        max_attempts: 2,
        initial_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        ..Default::default()
    };
    let pool: Pool = odd(1)
        .args(["exit_second_time", mark.to_str().unwrap()])
        .restart(restart)
        .start()
        .await
        .unwrap();
    let death = pool.call::<_, Value>("kill_self", &()).await.unwrap_err();
    assert!(matches!(death, Error::WorkerDied(_)), "{death:?}");
    let waited = pool.call::<_, Value>("echo", &1).await.unwrap_err();
    assert_eq!(waited.kind(), ErrorKind::WorkerUnavailable);
    assert!(
        waited.to_string().contains("the second time never works"),
        "{}",
        waited.to_string()
    );
    let at_once = pool.try_call::<_, Value>("echo", &1).await.unwrap_err();
    assert!(matches!(at_once, Error::NoWorkers(_)), "{at_once:?}");
}
