//! Calls, back-pressure and cancellation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, pin::pin, time::Duration};

use pyproc_pool::{Deadline, Error, ErrorKind, Pool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{LONG, Scratch, echoes, held, leaves_nothing, odd, pids, poll_once, until};
use tokio::task::JoinSet;

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
    let text = "`nope` failed with MethodNotFound: Method 'nope' not found";
    assert_eq!(error.to_string(), text);
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
async fn a_deadline_that_passes_in_the_queue_is_named_and_may_be_retried() {
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
async fn a_late_answer_is_dropped_and_frees_its_capacity() {
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

#[test]
fn a_pool_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Pool>();
    fn sent<T: Send + Sync + 'static>() {}
    sent::<Error>();
}

#[tokio::test]
async fn a_call_that_waits_takes_less_than_a_kibibyte_of_its_callers_task() {
    let pool = odd(1).start().await.unwrap();
    let size = size_of_val(&pool.call::<_, Value>("echo", &1));
    assert!(size <= 1024 - 320, "{size}");
}

#[test]
fn a_deadline_passes_also_while_the_pools_runtime_does_not_run() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (pools, callers) = (runtime(), runtime());
    let pool = pools.block_on(odd(1).start()).unwrap();
    let late = callers.block_on(async {
        let request = pool.request("echo", &1).timeout(Duration::from_millis(20));
        request.call::<Value>().await
    });
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    pools.block_on(pool.shutdown(LONG));
}
