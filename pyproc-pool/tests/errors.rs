//! The text of each error names in one line what went wrong and whose fault it is, and its sources repeat nothing of
//! that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{error::Error as _, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use pyproc_pool::{ConfigError, Error, ErrorKind, Pool, PoolBuilder, PoolConfig, RemoteException};
use serde::Serialize;
use serde_json::{Value, json};
use support::{Scratch, builder, cores, odd, ours, python};

/// What a reader of the error sees who follows its sources, too.
fn with_sources(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_sources(source)),
        None => error.to_string(),
    }
}

/// The text of an error, which repeats nothing.
#[track_caller]
fn text(error: &Error) -> String {
    assert_eq!(with_sources(error), error.to_string());
    error.to_string()
}

async fn failed_start(builder: PoolBuilder) -> Error {
    match builder.start().await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_result_of_another_type_names_place_and_type() {
    let pool = odd(1).start().await.unwrap();
    let error = pool.call::<_, String>("echo", &json!({})).await;
    assert_eq!(
        text(&error.unwrap_err()),
        "the result of `echo` is not what the caller expects: \
         invalid type: map, expected a string at line 1 column 0"
    );
    let error = pool.call::<_, Vec<u8>>("echo", &json!([1, "x"])).await;
    let error = error.unwrap_err();
    assert_eq!(
        text(&error),
        "the result of `echo` is not what the caller expects (at `[1]`): \
         invalid type: string \"x\", expected u8 at line 1 column 7"
    );
    assert_eq!(
        format!("{error:?}"),
        format!("decode: {error}"),
        "what a main that returns it prints"
    );
    let error = pool.request("echo", &1).call_bytes().await.unwrap_err();
    assert!(text(&error).ends_with("expects: it is JSON: ask for it with `call`"));
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn a_result_in_messagepack_that_ends_early_is_an_error_without_repetition() {
    for core in cores() {
        let pool = ours("cores.py", &core).start().await.unwrap();
        let request = pool.request("echo", &300).msgpack();
        let error = request.call::<String>().await.unwrap_err();
        let text = text(&error);
        assert!(text.contains("expects: invalid type: integer"), "{text}");
    }
}

#[tokio::test]
async fn a_result_cannot_command_the_terminal_that_reads_the_error() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(try_from = "String")]
    struct Quoting;
    impl TryFrom<String> for Quoting {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            Err(text)
        }
    }
    let pool = odd(1).start().await.unwrap();
    let sent = format!("\u{1b}[2J{}", "x".repeat(1 << 20));
    let error = pool.call::<_, Quoting>("echo", &sent).await.unwrap_err();
    let text = text(&error);
    assert!(text.contains("expects: \\u001b[2Jxxx"));
    assert!(text.len() < 100_000, "{}", text.len());
}

#[tokio::test]
async fn the_error_of_an_input_that_cannot_be_sent_has_reason_and_path() {
    #[derive(Serialize)]
    struct Order {
        items: Vec<std::collections::BTreeMap<(u8, u8), u8>>,
    }
    let pool = odd(1).start().await.unwrap();
    let order = Order {
        items: vec![[((1, 2), 3)].into()],
    };
    let error = pool.call::<_, Value>("echo", &order).await.unwrap_err();
    assert_eq!(
        text(&error),
        "the input of `echo` cannot be sent (at `items[0]`): the value cannot be written as JSON: \
         key must be a string"
    );
    let error = pool.call::<_, Value>("echo", &"x".repeat(10 << 20)).await;
    assert_eq!(
        text(&error.unwrap_err()),
        "the input of `echo` cannot be sent: the message is larger than the maximum frame size of 10485760 bytes: \
         send less at once, or raise the maximum (`max_frame_size`, `PYPROC_MAX_FRAME_SIZE`) on both sides"
    );
}

#[tokio::test]
async fn the_error_of_a_protocol_violation_names_the_limit() {
    let pool = odd(1).start().await.unwrap();
    let error = pool.call::<_, Value>("too_large", &()).await.unwrap_err();
    let text = text(&error);
    assert!(
        text.starts_with("worker 0 broke the protocol: the peer sent bytes that are not frames: "),
        "{text}"
    );
    assert!(text.contains("announces 10485761 bytes, the limit is 10485760"));
}

#[tokio::test]
async fn settings_are_blamed_only_where_they_are_at_fault() {
    const HINT: &str = "; check python_exec and working_dir";
    let scratch = Scratch::new();
    for (builder, reason) in [
        (odd(1).python_exec("/no/such/python"), "No such file"),
        (odd(1).python_exec(scratch.path()), "Permission denied"),
        (odd(1).working_dir("/no/such/dir"), "No such file"),
    ] {
        let error = failed_start(builder).await;
        let text = text(&error);
        assert!(
            text.contains(&format!(": {reason}")) && text.ends_with(HINT),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_a_sentence_also_where_a_main_returns_it() {
    let error = PoolConfig::default().validate().unwrap_err();
    let expected =
        "bad setting `worker_script`: not set; name a Python script, or external_sockets";
    assert_eq!(error.to_string(), expected);
    let returned: Box<dyn std::error::Error> = error.into();
    assert_eq!(format!("{returned:?}"), expected);
    let error = failed_start(Pool::builder()).await;
    assert_eq!(text(&error), expected);
    assert!(error.source().is_none());
    assert!(matches!(error, Error::Config(ConfigError { .. })));
}

/// A script in Python, in a directory of its own.
fn written(scratch: &Scratch, code: &str) -> PathBuf {
    let script = scratch.path().join("worker.py");
    fs::write(&script, code).unwrap();
    script
}

#[tokio::test]
async fn the_error_of_a_script_that_never_calls_run_worker_names_that_call() {
    for core in cores() {
        let scratch = Scratch::new();
        let code = "from pyproc_worker import expose\n@expose\ndef f(req): return req\n";
        let builder = ours("typical.py", &core).worker_script(written(&scratch, code));
        let error = failed_start(builder).await;
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert_eq!(
            text(&error),
            "worker 0 did not start: the script came to its end without serving: it never calls run_worker(), or only \
             under a condition that does not hold"
        );
    }
}

#[tokio::test]
async fn a_start_that_runs_out_of_time_while_it_imports_is_a_timeout_and_blames_no_call() {
    let scratch = Scratch::new();
    let script = written(&scratch, "import signal\nsignal.pause()\n");
    let limit = Duration::from_millis(300);
    let builder = builder("")
        .workers(1)
        .worker_script(script)
        .start_timeout(limit);
    let error = failed_start(builder).await;
    assert_eq!(error.kind(), ErrorKind::StartTimeout);
    assert_eq!(error.kind().as_str(), "start_timeout");
    let text = text(&error);
    assert!(
        text.contains("within start_timeout (300ms): No such file"),
        "{text}"
    );
    assert!(text.contains("; raise start_timeout if the worker takes longer to import"));
    assert!(!text.contains("run_worker"), "{text}");
}

#[tokio::test]
async fn an_interpreter_without_the_package_is_named_with_the_command_that_installs_it() {
    let scratch = Scratch::new();
    let bare = scratch.path().join("bare python");
    // Without `site` it sees no installed package.
    let wrapper = format!("#!/bin/sh\nexec '{}' -I -S \"$@\"\n", python().display());
    fs::write(&bare, wrapper).unwrap();
    fs::set_permissions(&bare, fs::Permissions::from_mode(0o755)).unwrap();
    let builder = builder("typical.py").workers(1);
    let error = failed_start(builder.python_exec(&bare)).await;
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    let text = text(&error);
    let expected = format!(
        "worker 0 did not start: {bare:?} has no package pyproc_worker; \
         install it there: '{}' -m pip install pyproc-worker; its last output:\n",
        bare.display()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn the_error_of_a_pool_whose_runtime_ended_names_the_runtime() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let scratch = Scratch::new();
    let pool = first.block_on(odd(1).start()).unwrap();
    let file = scratch.path().join("never");
    let held = pool.call::<_, Value>("wait_for_file", &file);
    let mut held = Box::pin(held);
    let second = runtime();
    second.block_on(async { assert!(support::poll_once(held.as_mut()).is_pending()) });
    drop(first);
    let (held, called, reloaded) = second.block_on(async {
        let called = pool.call::<_, Value>("echo", &1).await;
        let reloaded = pool.reload(Duration::ZERO).await;
        (
            held.await.unwrap_err(),
            called.unwrap_err(),
            reloaded.unwrap_err(),
        )
    });
    for error in [held, called, reloaded] {
        assert!(matches!(error, Error::RuntimeEnded), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::ShutDown);
        assert!(text(&error).contains("the tokio runtime in which the pool was started has ended"));
    }
    second.block_on(pool.shutdown(Duration::ZERO));
    let error = second.block_on(pool.call::<_, Value>("echo", &1));
    assert!(matches!(error, Err(Error::ShutDown)), "{error:?}");
}

async fn exception(pool: &Pool, method: &str, input: &Value) -> RemoteException {
    match pool.call::<_, Value>(method, input).await {
        Err(Error::Remote(exception)) => exception,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_function_raised_and_what_a_worker_refused_are_different_kinds() {
    for core in cores() {
        for version in [1, 2] {
            let builder = ours("typical.py", &core).max_protocol_version(version);
            let pool = builder.start().await.unwrap();
            for (method, input, kind) in [
                ("fail", json!({"name": "x"}), ErrorKind::FunctionError),
                ("odd_result", json!(null), ErrorKind::FunctionError),
                ("add", json!({"a": "two"}), ErrorKind::InvalidRequest),
                ("predcit", json!(null), ErrorKind::NotFound),
            ] {
                let error = pool.call::<_, Value>(method, &input).await.unwrap_err();
                assert_eq!(error.kind(), kind, "{core}, version {version}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_text_of_an_unknown_function_has_the_nearest_name_and_all_names() {
    for core in cores() {
        for version in [1, 2] {
            let builder = ours("typical.py", &core).max_protocol_version(version);
            let pool = builder.start().await.unwrap();
            let exception = exception(&pool, "predcit", &json!(null)).await;
            assert!(
                exception.functions().any(|it| it == "predict"),
                "{exception:?}"
            );
            let text = exception.to_string();
            assert!(
                text.starts_with(
                    "`predcit` failed with MethodNotFound: Method 'predcit' not found (did you mean `predict`?); the worker has `"
                ) && text.contains("`add`"),
                "{core}, version {version}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_text_of_a_script_that_exposes_nothing_says_what_to_do() {
    for core in cores() {
        let scratch = Scratch::new();
        let code =
            "from pyproc_worker import run_worker\ndef predict(req): return req\nrun_worker()\n";
        let builder = ours("typical.py", &core).worker_script(written(&scratch, code));
        let pool = builder.start().await.unwrap();
        let error = exception(&pool, "predict", &json!(null)).await;
        assert_eq!(
            error.to_string(),
            "`predict` failed with MethodNotFound: Method 'predict' not found; its script exposes no function, and it has only \
             the built-in `health`: put @expose above each function that is to be called"
        );
    }
}

#[tokio::test]
async fn a_function_may_raise_the_errors_of_the_worker_itself() {
    for core in cores() {
        let scratch = Scratch::new();
        let code = "import pyproc_worker\n\
                    @pyproc_worker.expose\n\
                    def f(req): raise getattr(pyproc_worker, req)('no')\n\
                    pyproc_worker.run_worker()\n";
        let builder = ours("typical.py", &core).worker_script(written(&scratch, code));
        let pool = builder.start().await.unwrap();
        let invalid = exception(&pool, "f", &json!("InvalidRequest")).await;
        assert_eq!(invalid.kind(), ErrorKind::InvalidRequest, "{core}");
        assert_eq!(invalid.to_string(), "`f` failed with InvalidRequest: no");
        let not_found = exception(&pool, "f", &json!("MethodNotFound")).await;
        assert_eq!(not_found.kind(), ErrorKind::NotFound, "{core}");
        assert_eq!(
            not_found.to_string(),
            "`f` failed with MethodNotFound: Method 'no' not found"
        );
    }
}

#[tokio::test]
async fn an_old_worker_that_lists_no_functions_has_the_same_kind() {
    let pool = odd(1).start().await.unwrap();
    let exception = exception(&pool, "fail", &json!("Method 'fail' not found")).await;
    assert_eq!(exception.kind(), ErrorKind::NotFound);
    assert_eq!(exception.functions().len(), 0);
    assert_eq!(
        exception.to_string(),
        "`fail` failed with MethodNotFound: Method 'fail' not found"
    );
}

#[test]
fn what_code_maps_to_statuses_can_be_made_in_its_tests() {
    use pyproc_pool::{DeathCause, StartFailure, StartFailureCause, TimeoutError, WorkerDeath};

    let raised = RemoteException::new("predict", "KeyError", "'x'");
    let no_such = RemoteException::new("f", RemoteException::METHOD_NOT_FOUND, "no");
    let late = TimeoutError::new("predict", Duration::from_secs(1));
    let died = WorkerDeath::new(3, DeathCause::Disconnected);
    let failed = StartFailure::new(0, StartFailureCause::NeverServed);
    for (error, kind, expected) in [
        (
            Error::Remote(raised),
            ErrorKind::FunctionError,
            "`predict` raised KeyError: 'x'",
        ),
        (
            Error::Remote(no_such.with_functions(["g"])),
            ErrorKind::NotFound,
            "`f` failed with MethodNotFound: no (did you mean `g`?); the worker has `g`",
        ),
        (
            Error::Timeout(late),
            ErrorKind::Timeout,
            "no answer from `predict` within the pool's request_timeout of 1s; no worker was free to take it",
        ),
        (
            Error::WorkerDied(died.into()),
            ErrorKind::WorkerUnavailable,
            "worker 3 closed its connection",
        ),
        (
            Error::NoWorkers(failed.into()),
            ErrorKind::WorkerUnavailable,
            "no worker is left, and starting one failed too often: worker 0 did not start: the script came to its end \
             without serving: it never calls run_worker(), or only under a condition that does not hold",
        ),
    ] {
        assert_eq!((error.kind(), &*text(&error)), (kind, expected));
    }
}
