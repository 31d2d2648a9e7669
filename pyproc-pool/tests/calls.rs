//! Calls, back-pressure, cancellation and shutdown.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    fs,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pyproc_pool::{Deadline, Error, ErrorKind, Pool, WorkerState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Killed, LONG, Scratch, echoes, is_alive, leaves_nothing, odd, pids, script, until};
use tokio::task::JoinSet;

/// A call that a worker keeps until the file exists.
fn held(pool: &Pool, file: &std::path::Path) -> tokio::task::JoinHandle<Result<String, Error>> {
    let (pool, file) = (pool.clone(), file.to_owned());
    tokio::spawn(async move { pool.call("wait_for_file", &file).await })
}

#[tokio::test]
async fn a_result_is_read_into_the_callers_type() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Point {
        x: f64,
        name: String,
    }
    let pool = odd(1).start().await.unwrap();
    let point = Point {
        x: 1.5,
        name: "größe 雪 🐍 \0 \"".into(),
    };
    assert_eq!(pool.call::<_, Point>("echo", &point).await.unwrap(), point);
    assert_eq!(pool.call::<_, ()>("echo", &()).await.unwrap(), ());
}

#[tokio::test]
async fn a_result_of_another_type_names_the_field() {
    #[derive(Deserialize, Debug)]
    struct Item {
        #[allow(dead_code)]
        price: u32,
    }
    let pool = odd(1).start().await.unwrap();
    let input = json!([{"price": 1}, {"price": "cheap"}]);
    let error = pool.call::<_, Vec<Item>>("echo", &input).await.unwrap_err();
    let Error::Decode { method, path, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((method.as_str(), path.as_str()), ("echo", "[1].price"));
    echoes(&pool).await;
}

#[tokio::test]
async fn an_input_without_json_form_names_the_field() {
    #[derive(Serialize)]
    struct Input {
        table: std::collections::BTreeMap<(u8, u8), u8>,
    }
    let pool = odd(1).start().await.unwrap();
    let input = Input {
        table: [((1, 2), 3)].into(),
    };
    let error = pool.call::<_, Value>("echo", &input).await.unwrap_err();
    let Error::Encode { path, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(path, "table");
    echoes(&pool).await;
}

#[tokio::test]
async fn too_many_headers_are_an_encode_error() {
    let pool = odd(1).start().await.unwrap();
    let mut request = pool.request("echo", &1);
    for i in 0..200 {
        request = request.header(i.to_string(), "x");
    }
    let error = request.call::<Value>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
}

#[tokio::test]
async fn an_unknown_function_is_a_remote_error_that_names_it() {
    let pool = odd(1).start().await.unwrap();
    let error = pool.call::<_, Value>("nope", &()).await.unwrap_err();
    let Error::Remote(exception) = error else {
        panic!("{error:?}");
    };
    assert_eq!(exception.message, "Method 'nope' not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_at_once_each_get_their_own_answer() {
    let pool = odd(2).max_queue(10_000).start().await.unwrap();
    let mut calls = JoinSet::new();
    for i in 0..10_000_u64 {
        let pool = pool.clone();
        calls.spawn(async move { (i, pool.call::<_, u64>("echo", &i).await.unwrap()) });
    }
    while let Some(answer) = calls.join_next().await {
        let (asked, got) = answer.unwrap();
        assert_eq!(asked, got);
    }
    assert_eq!(pool.stats().answered, 10_000);
    assert_eq!((pool.stats().in_flight, pool.stats().queued), (0, 0));
}

#[tokio::test]
async fn calls_wait_in_the_queue_and_then_fail_at_once() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).max_in_flight(1).max_queue(1).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let waiting = held(&pool, &gate);
    until("a call waits", || pool.stats().queued == 1).await;

    let error = pool.call::<_, Value>("echo", &1).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Overloaded {
                ready: 1,
                in_flight: 1,
                queued: 1
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(pool.stats().rejected, 1);

    fs::write(&gate, "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "seen");
    assert_eq!(waiting.await.unwrap().unwrap(), "seen");
    echoes(&pool).await;
}

#[tokio::test]
async fn try_call_never_waits_for_capacity() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).max_in_flight(1).start().await.unwrap();
    assert_eq!(pool.try_call::<_, u8>("echo", &1).await.unwrap(), 1);
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let error = pool.try_call::<_, u8>("echo", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_says_so_and_may_be_retried() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1)
        .max_in_flight(1)
        .request_timeout(Duration::from_millis(30))
        .start()
        .await
        .unwrap();
    let holding = pool.request("wait_for_file", &gate).timeout(LONG);
    let mut holding = pin!(holding.call::<String>());
    assert!(poll_once(holding.as_mut()).is_pending());
    let error = pool.call::<_, Value>("echo", &1).await.unwrap_err();
    let Error::Timeout(timeout) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((timeout.worker, timeout.deadline), (None, Deadline::Pool));
    assert!(error.is_retryable());
    assert_eq!(pool.stats().queued, 0);
    fs::write(&gate, "").unwrap();
    holding.await.unwrap();
}

#[tokio::test]
async fn a_late_answer_reaches_nobody_and_frees_its_capacity() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).max_in_flight(1).start().await.unwrap();
    let limit = Duration::from_millis(20);
    let late = pool
        .request("wait_for_file", &gate)
        .timeout(limit)
        .call::<Value>()
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(pool.stats().in_flight, 1);

    let next = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, String>("echo", &"mine").await })
    };
    until("the next call waits", || pool.stats().queued == 1).await;
    fs::write(&gate, "").unwrap();
    assert_eq!(next.await.unwrap().unwrap(), "mine");
    assert_eq!(pool.stats().in_flight, 0);
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Drops a call after each number of polls, for calls that end well, badly, late and never.
#[tokio::test]
async fn a_call_dropped_at_any_await_point_leaks_nothing() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    for method in ["echo", "fail", "wait_for_file", "never"] {
        for polls in 0..3 {
            let pool = odd(1).max_in_flight(2).start().await.unwrap();
            for _ in 0..3 {
                let mut call = Box::pin(pool.call::<_, Value>(method, &gate));
                for _ in 0..polls {
                    let _ = poll_once(call.as_mut());
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(pool.stats().queued, 0, "{method} after {polls} polls");
            if method == "never" {
                continue;
            }
            fs::write(&gate, "").unwrap();
            until("all capacity is back", || pool.stats().in_flight == 0).await;
            fs::remove_file(&gate).unwrap();
            echoes(&pool).await;
        }
    }
}

#[tokio::test]
async fn a_call_goes_to_the_worker_with_the_fewest() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(2).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let busy = pool
        .health()
        .workers
        .iter()
        .find(|w| w.in_flight == 1)
        .unwrap()
        .pid;
    for _ in 0..10 {
        let answered: u32 = pool.call("pid", &()).await.unwrap();
        assert_ne!(Some(answered), busy);
    }
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_wait_in_the_pool_rather_than_behind_a_slow_one() {
    let files = Scratch::new();
    let (first, second) = (files.path().join("first"), files.path().join("second"));
    let pool = odd(2).max_in_flight(64).start().await.unwrap();
    let slow = [held(&pool, &first), held(&pool, &second)];
    until("both workers are busy", || pool.stats().in_flight == 2).await;
    let quick: Vec<_> = (0..20)
        .map(|i| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.call::<_, u8>("echo", &i).await })
        })
        .collect();
    until("the quick calls have come", || pool.stats().queued == 18).await;
    // One worker becomes free and does all but the call that the other has ahead.
    fs::write(&first, "").unwrap();
    until("only the slow worker has calls", || {
        (pool.stats().in_flight, pool.stats().queued) == (2, 0)
    })
    .await;
    fs::write(&second, "").unwrap();
    for call in quick {
        call.await.unwrap().unwrap();
    }
    for call in slow {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_under_load_fails_only_its_own_calls() {
    let sockets = Scratch::new();
    let pool = odd(2)
        .max_queue(4000)
        .socket_dir(sockets.path())
        .start()
        .await
        .unwrap();
    let victims = pids(&pool);
    let mut calls = JoinSet::new();
    for i in 0..4000_u32 {
        let pool = pool.clone();
        calls.spawn(async move {
            let answer = pool.call::<_, u32>("echo", &i).await;
            (i, answer)
        });
    }
    until("calls are answered", || pool.stats().answered > 100).await;
    let killed = std::process::Command::new("kill")
        .args(["-9", &victims[0].to_string()])
        .status();
    assert!(killed.unwrap().success());
    let (mut answered, mut died) = (0, 0);
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            (asked, Ok(got)) => {
                assert_eq!(asked, got);
                answered += 1;
            }
            (_, Err(Error::WorkerDied(death))) => {
                assert_eq!(death.pid, Some(victims[0]));
                died += 1;
            }
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    assert_eq!(answered + died, 4000);
    until("the death is on record", || pool.stats().restarts == 1).await;
    assert!(
        died <= 64,
        "no more than max_in_flight can be on one worker, {died} were"
    );
    until("the worker is replaced", || pool.health().ready() == 2).await;
    let all: Vec<u32> = victims.into_iter().chain(pids(&pool)).collect();
    leaves_nothing(pool, &sockets, &all).await;
}

#[tokio::test]
async fn shutdown_lets_calls_finish_and_refuses_new_ones() {
    let (files, sockets) = (Scratch::new(), Scratch::new());
    let gate = files.path().join("gate");
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let shutdown = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.shutdown(LONG).await })
    };
    tokio::task::yield_now().await;
    let refused = pool.call::<_, Value>("echo", &1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ShutDown);
    fs::write(&gate, "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "seen");
    let report = shutdown.await.unwrap();
    assert_eq!((report.cut_off, report.killed), (0, 0));
    assert_eq!(pool.health().workers[0].state, WorkerState::Stopped);
    leaves_nothing(pool, &sockets, &all_pids).await;
}

#[tokio::test]
async fn shutdown_cuts_off_what_does_not_finish_and_kills_who_does_not_listen() {
    let sockets = Scratch::new();
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let pid: u32 = pool.call("stubborn", &()).await.unwrap();
    let endless = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, Value>("never", &()).await })
    };
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let report = pool.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.cut_off, report.killed), (1, 1));
    assert_eq!(
        endless.await.unwrap().unwrap_err().kind(),
        ErrorKind::ShutDown
    );
    leaves_nothing(pool, &sockets, &[pid]).await;
}

#[tokio::test]
async fn an_answer_to_a_call_that_shutdown_cut_off_does_no_harm() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let shutdown = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.shutdown(Duration::ZERO).await })
    };
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    fs::write(&gate, "").unwrap();
    let report = shutdown.await.unwrap();
    assert_eq!((report.cut_off, report.killed), (1, 0));
    assert_eq!(pool.health().workers[0].last_error, None);
}

#[tokio::test]
async fn two_shutdowns_at_once_both_end() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let mut first = Box::pin(pool.shutdown(Duration::MAX));
    let mut second = Box::pin(pool.shutdown(Duration::MAX));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    fs::write(&gate, "").unwrap();
    tokio::join!(first, second);
    running.await.unwrap().unwrap();
}

#[test]
fn calls_to_a_pool_whose_runtime_is_gone_fail_at_once() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let pool = first.block_on(odd(1).start()).unwrap();
    drop(first);
    let error = runtime()
        .block_on(pool.call::<_, Value>("echo", &1))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_eq!(pool.health().workers[0].state, WorkerState::Stopped);
}

#[tokio::test]
async fn a_second_shutdown_has_nothing_to_do() {
    let pool = odd(1).start().await.unwrap();
    pool.shutdown(LONG).await;
    let report = pool.shutdown(LONG).await;
    assert_eq!((report.cut_off, report.killed), (0, 0));
}

#[tokio::test]
async fn dropping_the_last_handle_kills_the_workers() {
    let sockets = Scratch::new();
    let pool = odd(2).socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    let clone = pool.clone();
    drop(pool);
    echoes(&clone).await;
    drop(clone);
    until("the workers are gone", || {
        !all_pids.iter().any(|pid| is_alive(*pid))
    })
    .await;
    assert!(sockets.is_empty());
}

#[test]
fn dropping_the_last_handle_kills_the_workers_also_when_the_runtime_stands_still() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pool = runtime.block_on(odd(1).start()).unwrap();
    let pid = pids(&pool)[0];
    drop(pool);
    // Nothing drives the tasks of the first runtime here.
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    other.block_on(until("the worker is gone", || !is_alive(pid)));
    drop(runtime);
}

#[tokio::test]
async fn a_start_that_is_dropped_halfway_leaves_nothing() {
    let sockets = Scratch::new();
    let mut start = Box::pin(odd(2).args(["mute"]).socket_dir(sockets.path()).start());
    let before = children();
    tokio::select! {
        _ = &mut start => panic!("a mute worker never starts"),
        () = until("the workers run", || children() > before) => {}
    }
    drop(start);
    until("the workers are gone", || children() == 0).await;
    until("the directory is gone", || sockets.is_empty()).await;
}

/// Processes below this one whose script is ours and that were told to be mute.
fn children() -> usize {
    let output = std::process::Command::new("ps")
        .args(["-eo", "ppid=,stat=,args="])
        .output()
        .unwrap();
    let own = std::process::id().to_string();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.trim_start().starts_with(&own) && line.ends_with("odd.py mute"))
        .count()
}

#[tokio::test]
async fn external_workers_are_served_but_neither_started_nor_ended() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let sidecar = start_sidecar(&socket);
    let pool = Pool::builder()
        .external_sockets([&socket])
        .start_timeout(LONG)
        .start()
        .await
        .unwrap();
    echoes(&pool).await;
    assert_eq!(pool.health().ready(), 1);
    pool.shutdown(LONG).await;
    assert!(is_alive(sidecar.0.id()));
}

fn start_sidecar(socket: &std::path::Path) -> Killed {
    let sidecar = std::process::Command::new(support::python())
        .arg(script("odd.py"))
        .env("PYPROC_SOCKET_PATH", socket)
        .spawn();
    Killed(sidecar.unwrap())
}

#[tokio::test]
async fn an_external_worker_that_comes_back_is_used_again() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let first = start_sidecar(&socket);
    let pool = Pool::builder()
        .external_sockets([&socket])
        .start_timeout(LONG)
        .request_timeout(LONG)
        .start()
        .await
        .unwrap();
    echoes(&pool).await;
    drop(first);
    fs::remove_file(&socket).unwrap();
    until("the loss is noticed", || pool.health().ready() == 0).await;
    let _second = start_sidecar(&socket);
    echoes(&pool).await;
    assert_eq!(pool.stats().restarts, 1);
}

#[test]
fn a_pool_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Pool>();
    fn sent<T: Send + Sync + 'static>() {}
    sent::<Error>();
}
