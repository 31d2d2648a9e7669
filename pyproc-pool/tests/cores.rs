//! What only workers of ours can do, with each of their loops and in each version of the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use bytes::Bytes;
use pyproc_pool::{Error, Pool};
use serde_json::Value;
use support::{Scratch, cores, ours, pids, until};
use tokio::task::{JoinHandle, JoinSet};

/// A pool of each loop, with the newest version to agree on.
async fn pools(versions: &[u32]) -> Vec<(String, Pool)> {
    let mut pools = Vec::new();
    for core in cores() {
        for &version in versions {
            let builder = ours("cores.py", &core)
                .max_in_flight(200)
                .max_protocol_version(version);
            let pool = builder.start().await.unwrap();
            pools.push((format!("{core}, version {version}"), pool));
        }
    }
    pools
}

fn spawn(pool: &Pool, method: &'static str, dir: &Path) -> JoinHandle<Result<Value, Error>> {
    let (pool, dir) = (pool.clone(), dir.to_owned());
    tokio::spawn(async move { pool.call(method, &dir).await })
}

#[tokio::test]
async fn a_workers_socket_is_for_its_user_alone() {
    for core in cores() {
        let sockets = Scratch::new();
        let builder = ours("cores.py", &core).socket_dir(sockets.path());
        let _pool = builder.start().await.unwrap();
        let dir = fs::read_dir(sockets.path()).unwrap().next().unwrap();
        let files = fs::read_dir(dir.unwrap().path())
            .unwrap()
            .map(Result::unwrap);
        let modes: Vec<u32> = files
            .filter(|file| file.file_name().to_string_lossy().ends_with(".sock"))
            .map(|file| file.metadata().unwrap().permissions().mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o600], "{core}");
    }
}

#[tokio::test]
async fn calls_of_an_async_function_run_at_the_same_time() {
    for (name, pool) in pools(&[1, 2]).await {
        let mut calls = JoinSet::new();
        for _ in 0..100 {
            let pool = pool.clone();
            calls.spawn(async move { pool.call::<_, u32>("meet", &100).await });
        }
        while let Some(call) = calls.join_next().await {
            assert_eq!(call.unwrap().unwrap(), 100, "{name}");
        }
    }
}

#[tokio::test]
async fn async_functions_go_on_while_a_plain_one_runs() {
    for (name, pool) in pools(&[1, 2]).await {
        let dir = Scratch::new();
        let early: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.call::<_, u32>("meet", &2).await })
            })
            .collect();
        let held = spawn(&pool, "hold", dir.path());
        for call in early {
            assert_eq!(call.await.unwrap().unwrap(), 2, "{name}");
        }
        fs::write(dir.path().join("open"), "").unwrap();
        assert_eq!(held.await.unwrap().unwrap(), "held", "{name}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_cancels_its_task_or_sets_its_event() {
    for (name, pool) in pools(&[1, 2]).await {
        for method in ["until_cancelled", "until_told"] {
            let dir = Scratch::new();
            let call = spawn(&pool, method, dir.path());
            until("the function runs", || dir.path().join("runs").exists()).await;
            call.abort();
            until("the function is cancelled", || {
                dir.path().join("cancelled").exists()
            })
            .await;
            until("the capacity is free", || pool.stats().in_flight == 0).await;
            assert_eq!(pool.call::<_, u8>("echo", &7).await.unwrap(), 7, "{name}");
        }
    }
}

#[tokio::test]
async fn a_worker_that_gets_sigterm_answers_its_calls_and_is_replaced() {
    for (name, pool) in pools(&[2]).await {
        let dir = Scratch::new();
        let held = spawn(&pool, "hold", dir.path());
        until("the function runs", || dir.path().join("runs").exists()).await;
        let pid = rustix::process::Pid::from_raw(pids(&pool)[0] as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        fs::write(dir.path().join("open"), "").unwrap();
        assert_eq!(held.await.unwrap().unwrap(), "held", "{name}");
        until("it is replaced", || pool.health().workers[0].restarts == 1).await;
        assert_eq!(pool.health().workers[0].last_error, None, "{name}");
        assert_eq!(pool.call::<_, u8>("echo", &7).await.unwrap(), 7, "{name}");
    }
}

#[tokio::test]
async fn an_exception_of_an_async_function_is_an_error_with_its_traceback() {
    for (name, pool) in pools(&[1, 2]).await {
        let error = pool.call::<_, Value>("fail_later", &"gone").await;
        let Err(Error::Remote(exception)) = error else {
            panic!("{name}: {error:?}");
        };
        assert_eq!(exception.type_name.as_deref(), Some("LookupError"));
        assert_eq!(exception.message, "gone");
        let traceback = exception.traceback.unwrap();
        assert!(traceback.contains("in fail_later"), "{traceback}");
        assert!(!traceback.contains("pyproc_worker/"), "{traceback}");
    }
}

#[tokio::test]
async fn bytes_travel_as_they_are_in_both_directions() {
    for (name, pool) in pools(&[2]).await {
        for size in [0, 1, 255, 100_000, 9_000_000] {
            let bytes: Vec<u8> = (0..size).map(|i: u32| i as u8).collect();
            let length: usize = pool
                .request_bytes("length", bytes.clone())
                .call()
                .await
                .unwrap();
            assert_eq!(length, bytes.len(), "{name}");
            let echoed = pool.request_bytes("echo", bytes.clone()).call_bytes();
            assert_eq!(echoed.await.unwrap(), bytes, "{name}, {size} bytes");
        }
        let request = pool.request_bytes("backwards", &b"\0\xff\x01"[..]);
        assert_eq!(request.call_bytes().await.unwrap(), &b"\x01\xff\0"[..]);
        let request = pool.request("slow_bytes", &3);
        assert_eq!(request.call_bytes().await.unwrap(), "ababab");
    }
}

#[tokio::test]
async fn the_error_of_a_result_in_another_encoding_names_the_call_for_it() {
    for (name, pool) in pools(&[2]).await {
        let error = pool.request_bytes("echo", Bytes::from_static(b"x"));
        let error = error.call::<Value>().await.unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{name}: {error:?}");
        let hint = error.to_string();
        assert!(hint.contains("call_bytes"), "{hint}");
        let error = pool.request("echo", &1).call_bytes().await.unwrap_err();
        let hint = error.to_string();
        assert!(hint.contains("`call`"), "{hint}");
    }
}

#[tokio::test]
async fn bytes_cannot_be_sent_in_version_1_and_results_of_bytes_are_base64_there() {
    for (name, pool) in pools(&[1]).await {
        let error = pool.request_bytes("length", "abc").call::<usize>().await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Encode { .. }), "{name}: {error:?}");
        let text: String = pool.call("slow_bytes", &1).await.unwrap();
        assert_eq!(text, "YWI=");
    }
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn messagepack_carries_what_json_does() {
    for (name, pool) in pools(&[2]).await {
        let input =
            serde_json::json!({"text": "größe", "list": [1, -2.5, null, true], "deep": {"": [{}]}});
        let output = pool.request("echo", &input).msgpack().call::<Value>().await;
        assert_eq!(output.unwrap(), input, "{name}");
        let error = pool.request("fail_later", &"gone").msgpack();
        let error = error.call::<Value>().await.unwrap_err();
        assert!(matches!(error, Error::Remote(_)), "{error:?}");
    }
}

#[tokio::test]
async fn numbers_and_texts_survive_exactly() {
    for (name, pool) in pools(&[1, 2]).await {
        for text in [
            "0",
            "-0.0",
            "1e-7",
            "1.7976931348623157e308",
            "5e-324",
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            r#""\u0000 \u2028 \ud83d\udc0d \" \\ é""#,
            r#"{"a":{"b":[[],{}]},"":null}"#,
        ] {
            let input: Value = serde_json::from_str(text).unwrap();
            let output: Value = pool.call("echo", &input).await.unwrap();
            assert_eq!(output, input, "{name}: {text}");
        }
    }
}

/// Processor time of all threads, in nanoseconds.
#[cfg(target_os = "linux")]
fn used(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_spins_answers_all_the_same_and_uses_no_processor_when_idle() {
    for core in cores() {
        let spinning = ours("cores.py", &core).spin(Duration::from_micros(200));
        let pool = spinning.start().await.unwrap();
        for i in 0..500 {
            assert_eq!(pool.call::<_, u32>("echo", &i).await.unwrap(), i);
        }
        let worker = pids(&pool)[0];
        let idle = || {
            let before = used(worker);
            std::thread::sleep(Duration::from_millis(50));
            used(worker) == before
        };
        until("the worker sleeps", idle).await;
        assert_eq!(pool.call::<_, u8>("echo", &1).await.unwrap(), 1, "{core}");
    }
}
