//! The pool for tests of users: what they can script, and that its time is that of a paused clock.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{sync::Arc, time::Duration};

use pyproc_pool::{
    DeathCause, Error, ErrorKind, Pool, RemoteException, WorkerState,
    testing::{TestPool, TestPoolBuilder},
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

const MINUTE: Duration = Duration::from_secs(60);

/// `double`, and `wait`, which ends when the gate lets it.
fn builder(gate: &Arc<Semaphore>) -> TestPoolBuilder {
    let gate = Arc::clone(gate);
    TestPool::builder()
        .function("double", |number: i64| async move { Ok(number * 2) })
        .function("wait", move |()| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok("let through")
            }
        })
}

fn closed() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Makes so many calls of `wait`, and returns when all are in flight or wait.
async fn waiting(pool: &Pool, calls: usize) -> Vec<tokio::task::JoinHandle<Result<String, Error>>> {
    let make = |_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call("wait", &()).await })
    };
    let made = (0..calls).map(make).collect();
    while pool.stats().in_flight + pool.stats().queued < calls {
        tokio::task::yield_now().await;
    }
    made
}

/// How a service such as `examples/axum_service` answers.
fn status(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::InvalidRequest => 422,
        ErrorKind::NotFound => 404,
        ErrorKind::Timeout => 504,
        ErrorKind::Overloaded => 503,
        ErrorKind::WorkerUnavailable => 502,
        _ => 500,
    }
}

#[tokio::test]
async fn a_function_answers_in_json_and_in_bytes() {
    let pool = builder(&closed())
        .function("predict", |input: Value| async move {
            Ok(json!({"result": input["value"].as_i64().unwrap() * 2}))
        })
        .bytes_function("reverse", |input: bytes::Bytes| async move {
            Ok(input.iter().rev().copied().collect::<Vec<u8>>())
        })
        .start()
        .await
        .unwrap();
    let pool: &Pool = &pool;
    let answer: Value = pool.call("predict", &json!({"value": 42})).await.unwrap();
    assert_eq!(answer, json!({"result": 84}));
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);
    let reversed = pool.request_bytes("reverse", "abc").call_bytes().await;
    assert_eq!(reversed.unwrap(), "cba");
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn a_function_answers_messagepack_in_messagepack() {
    let pool = builder(&closed()).start().await.unwrap();
    let doubled: i64 = pool.request("double", &4).msgpack().call().await.unwrap();
    assert_eq!(doubled, 8);
}

#[tokio::test]
async fn an_older_protocol_serves_too() {
    let pool = builder(&closed()).settings(|it| it.max_protocol_version(1));
    let pool = pool.start().await.unwrap();
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);
}

#[tokio::test]
async fn an_exception_has_its_type_message_and_traceback_and_the_calls_own_method_and_worker() {
    let pool = TestPool::builder()
        .function("predict", |(): ()| async move {
            let mut raised = RemoteException::new("other", "shop.NoSuchModel", "no model x");
            raised.traceback = Some("Traceback: line 1".into());
            raised.retryable = true;
            Err::<(), _>(raised)
        })
        .start()
        .await
        .unwrap();
    let error = pool.call::<_, ()>("predict", &()).await.unwrap_err();
    let Error::Remote(raised) = error else {
        panic!("{error:?}");
    };
    assert_eq!((raised.method.as_str(), raised.worker), ("predict", 0));
    assert_eq!(raised.type_name.as_deref(), Some("shop.NoSuchModel"));
    assert_eq!(raised.message, "no model x");
    assert_eq!(raised.traceback.as_deref(), Some("Traceback: line 1"));
    assert!(raised.retryable);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_each_kind_of_error_can_be_tested() {
    let pool = builder(&closed())
        .function("fail", |type_name: String| async move {
            Err::<(), _>(RemoteException::new("fail", type_name, "it failed"))
        })
        .settings(|it| it.max_in_flight(2).max_queue(0))
        .start()
        .await
        .unwrap();
    let raised = pool.call::<_, ()>("fail", "ValueError").await.unwrap_err();
    assert_eq!(status(&raised), 500);
    let refused = pool.call::<_, ()>("fail", RemoteException::INVALID_REQUEST);
    assert_eq!(status(&refused.await.unwrap_err()), 422);
    let misfit = pool.call::<_, i64>("double", "four").await.unwrap_err();
    assert_eq!(status(&misfit), 422, "{misfit}");
    let unknown = pool.call::<_, i64>("dobule", &4).await.unwrap_err();
    assert_eq!(status(&unknown), 404);
    assert!(
        unknown.to_string().contains("did you mean `double`?"),
        "{unknown}"
    );
    let late = pool.call::<_, String>("wait", &()).await.unwrap_err();
    assert_eq!(status(&late), 504);
    while pool.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }

    let calls = waiting(&pool, 2).await;
    let full = pool.call::<_, i64>("double", &4).await.unwrap_err();
    assert_eq!(status(&full), 503);
    pool.kill(0);
    for call in calls {
        assert_eq!(status(&call.await.unwrap().unwrap_err()), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn delays_and_deadlines_follow_a_paused_clock() {
    let pool = TestPool::builder()
        .function("slow", |seconds: u64| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        })
        .settings(|it| it.request_timeout(60 * MINUTE))
        .start()
        .await
        .unwrap();
    let (real, begin) = (std::time::Instant::now(), Instant::now());
    pool.call::<_, ()>("slow", &1800).await.unwrap();
    let took = begin.elapsed();
    assert!((30 * MINUTE..31 * MINUTE).contains(&took), "{took:?}");

    // Deadlines of calls from before and after the clock went on come in their order.
    let begin = Instant::now();
    let call = |limit| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let called = pool
                .request("slow", &86_400)
                .timeout(limit)
                .call::<()>()
                .await;
            (called.unwrap_err().kind(), begin.elapsed())
        })
    };
    let long = call(10 * MINUTE);
    sleep(5 * MINUTE).await;
    let short = call(MINUTE);
    for (call, due) in [(short, 6 * MINUTE), (long, 10 * MINUTE)] {
        let (kind, took) = call.await.unwrap();
        assert_eq!(kind, ErrorKind::Timeout);
        assert!(
            (due..due + Duration::from_secs(1)).contains(&took),
            "{took:?}"
        );
    }
    assert!(real.elapsed() < MINUTE, "the clock is not paused");
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_fails_its_calls_and_is_replaced() {
    let gate = closed();
    let pool = builder(&gate).start().await.unwrap();
    let calls = waiting(&pool, 3).await;
    pool.kill(0);
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        let Error::WorkerDied(death) = &error else {
            panic!("{error:?}");
        };
        assert!(matches!(death.cause, DeathCause::Disconnected), "{death:?}");
        assert_eq!((death.worker, death.pid), (0, None));
    }
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);
    let health = pool.health();
    assert_eq!(health.workers[0].state, WorkerState::Ready);
    assert_eq!(health.workers[0].restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_takes_its_worker_along() {
    let pool = TestPool::builder().function("crash", |(): ()| async move {
        if true {
            panic!("as a segmentation fault");
        }
        Ok(())
    });
    let pool = pool.start().await.unwrap();
    let error = pool.call::<_, ()>("crash", &()).await.unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error:?}");
}

#[tokio::test]
#[should_panic(expected = "the pool has no worker 1")]
async fn a_worker_that_the_pool_does_not_have_cannot_be_killed() {
    builder(&closed()).start().await.unwrap().kill(1);
}

#[tokio::test]
async fn a_full_pool_refuses_and_takes_calls_again_once_functions_end() {
    let gate = closed();
    let pool = builder(&gate).settings(|it| it.max_in_flight(1).max_queue(1));
    let pool = pool.start().await.unwrap();
    let calls = waiting(&pool, 2).await;
    let error = pool.call::<_, i64>("double", &4).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Overloaded {
                in_flight: 1,
                queued: 1,
                ..
            }
        ),
        "{error:?}"
    );
    gate.add_permits(2);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "let through");
    }
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);
}

#[tokio::test]
async fn a_function_whose_caller_is_gone_is_dropped_and_its_capacity_comes_back() {
    let pool = builder(&closed()).settings(|it| it.max_in_flight(1).max_queue(0));
    let pool = pool.start().await.unwrap();
    for call in waiting(&pool, 1).await {
        call.abort();
    }
    while pool.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_reload_lets_calls_finish_and_a_shutdown_ends_the_pool() {
    let gate = closed();
    let pool = builder(&gate)
        .settings(|it| it.workers(2))
        .start()
        .await
        .unwrap();
    let calls = waiting(&pool, 4).await;
    let reloading = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(MINUTE).await })
    };
    sleep(Duration::from_secs(1)).await;
    gate.add_permits(4);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "let through");
    }
    assert_eq!(reloading.await.unwrap().unwrap().killed, 0);
    assert_eq!(pool.call::<_, i64>("double", &4).await.unwrap(), 8);

    let report = pool.shutdown(MINUTE).await;
    assert_eq!((report.cut_off, report.killed), (0, 0));
    let error = pool.call::<_, i64>("double", &4).await.unwrap_err();
    assert!(matches!(error, Error::ShutDown), "{error:?}");
}

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_an_error() {
    let pool = builder(&closed()).settings(|it| it.workers(0));
    assert_eq!(pool.start().await.unwrap_err().kind(), ErrorKind::Config);
}
