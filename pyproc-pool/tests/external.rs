//! External workers, which another program runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    pin::pin,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use pyproc_pool::{
    Error, ErrorKind, Pool,
    protocol::{
        DEFAULT_MAX_FRAME_SIZE, WorkerEvent, WorkerInfo, WorkerSession,
        v2::{Body, Message, Request, Response},
    },
};
use sidecar::{Reply, serve, serve_reporting};
use support::{Killed, LONG, Scratch, echoes, is_alive, poll_once, script, until};

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

#[tokio::test]
async fn a_caller_writes_to_a_worker_that_has_nothing_to_do_itself() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("idle.sock");
    let requests = serve(&socket, |_| None);
    let pool = Pool::builder().external_sockets([&socket]).start();
    let pool = pool.await.unwrap();
    assert!(poll_once(pin!(pool.call::<_, u32>("any", &1))).is_pending());
    // This thread is the runtime's only one, and it waits here.
    assert_eq!(requests.recv_timeout(LONG).unwrap().body.bytes, "1");
}

#[tokio::test]
async fn what_a_caller_finds_no_room_for_arrives_all_the_same() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("large.sock");
    let requests = ones(&socket);
    let pool = Pool::builder().external_sockets([&socket]);
    let pool = pool.start().await.unwrap();
    // From now on the connection sleeps.
    assert_eq!(pool.call::<_, u32>("any", &0).await.unwrap(), 1);
    requests.recv().unwrap();
    let input = vec![7; 4 << 20];
    let call = pool.request_bytes("any", input.clone()).call::<u32>();
    assert_eq!(call.await.unwrap(), 1);
    assert!(requests.recv().unwrap().body.bytes == input);
}

/// Answers each call with 1.
fn ones(socket: &Path) -> Receiver<Request> {
    serve(socket, |it| {
        Some(Response::success(it.id, Body::json(b"1"[..].into())))
    })
}

/// Bytes that ask the pool for its figures, from another thread, when they are dropped.
struct Owned(Vec<u8>, Pool, Sender<bool>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let (pool, (answer, is_answered)) = (self.1.clone(), channel());
        thread::spawn(move || answer.send(pool.stats()));
        let _ = self.2.send(is_answered.recv_timeout(LONG).is_ok());
    }
}

#[tokio::test]
async fn input_that_a_caller_owns_is_dropped_without_the_pools_lock() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("bytes.sock");
    let _requests = ones(&socket);
    let pool = Pool::builder().external_sockets([&socket]).start();
    let pool = pool.await.unwrap();
    for size in [10, 100_000] {
        let (notify, notified) = channel();
        let owned = Bytes::from_owner(Owned(vec![7; size], pool.clone(), notify));
        let call = pool.request_bytes("any", owned).call::<u32>();
        assert_eq!(call.await.unwrap(), 1);
        assert!(notified.recv().unwrap(), "{size} bytes");
    }
}

#[tokio::test]
async fn input_that_no_worker_takes_is_dropped_without_the_pools_lock() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("bytes.sock");
    let _requests = serve(&socket, |_| None);
    for version in [1, 2] {
        let pool = Pool::builder().external_sockets([&socket]);
        let pool = pool.max_protocol_version(version).start().await.unwrap();
        let (notify, notified) = channel();
        let mut calls: Vec<_> = (0..6)
            .map(|_| Owned(vec![7; 1 << 20], pool.clone(), notify.clone()))
            .map(|owned| pool.request_bytes("any", Bytes::from_owner(owned)))
            .map(|request| Box::pin(request.call::<u32>()))
            .collect();
        for call in &mut calls {
            // Version 1 refuses bytes at once.
            assert_eq!(poll_once(call.as_mut()).is_ready(), version == 1);
        }
        pool.shutdown(Duration::ZERO).await;
        for _ in calls {
            assert!(notified.recv_timeout(LONG).unwrap(), "version {version}");
        }
    }
}

/// Bytes whose owner panics when they are dropped.
struct Panics(Vec<u8>);

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("a test of an owner that panics");
    }
}

#[tokio::test]
async fn an_owner_that_panics_when_its_input_is_dropped_harms_no_call() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("bytes.sock");
    let _requests = ones(&socket);
    let pool = Pool::builder().external_sockets([&socket]).start();
    let pool = pool.await.unwrap();
    for _ in 0..3 {
        let input = Bytes::from_owner(Panics(vec![7; 100_000]));
        let call = pool.request_bytes("any", input).call::<u32>();
        assert_eq!(call.await.unwrap(), 1);
        assert_eq!(pool.call::<_, u32>("any", &0).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn an_owner_that_panics_when_its_worker_has_gone_keeps_no_other_from_its_place() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("bytes.sock");
    let (go, gone) = channel();
    // The first worker reads only one request, and closes the connection on request.
    let _requests = serve_reporting(&socket, move |it| match gone.recv() {
        Ok(()) => Reply {
            hang_up: true,
            ..Reply::default()
        },
        Err(_) => Reply::echo(it, Vec::new()),
    });
    let pool = Pool::builder().external_sockets([&socket]).start();
    let pool = pool.await.unwrap();
    let mut first = pin!(pool.call::<_, u32>("any", &1));
    assert!(poll_once(first.as_mut()).is_pending());
    let input = Bytes::from_owner(Panics(vec![7; 8 << 20]));
    let mut large = pin!(pool.request_bytes("any", input).call::<u32>());
    assert!(poll_once(large.as_mut()).is_pending());
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    drop(go);
    assert_eq!(
        first.await.unwrap_err().kind(),
        ErrorKind::WorkerUnavailable
    );
    assert_eq!(
        large.await.unwrap_err().kind(),
        ErrorKind::WorkerUnavailable
    );
    assert_eq!(pool.call::<_, u32>("any", &3).await.unwrap(), 3);
}

#[tokio::test]
async fn a_call_that_a_worker_refuses_keeps_no_other_from_its_timeout() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("bytes.sock");
    let _requests = serve(&socket, |_| None);
    let pool = Pool::builder()
        .external_sockets([&socket])
        .max_protocol_version(1)
        .request_timeout(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    let refused = pool.request_bytes("any", "bytes").call::<u32>().await;
    assert!(matches!(refused, Err(Error::Encode { .. })));
    let ended = tokio::time::timeout(LONG, pool.call::<_, u32>("any", &1)).await;
    let error = ended.expect("it times out").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

fn start_sidecar(socket: &Path) -> Killed {
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

/// Answers the first two requests, more than one read takes but less than a socket holds, and
/// hangs up at once.
fn answer_two_and_hang_up(listener: &UnixListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut session = WorkerSession::new(WorkerInfo::default(), DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut answered = 0;
    while answered < 2 {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        input.extend_from_slice(&buffer[..read]);
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let WorkerEvent::Request { version, request } = event else {
                continue;
            };
            let body = serde_json::to_vec(&"x".repeat(60_000)).unwrap();
            let answer = Response::success(request.id, Body::json(body.into()));
            session.respond(version, answer, &mut output).unwrap();
            answered += 1;
        }
        if answered != 1 {
            stream.write_all(&std::mem::take(&mut output)).unwrap();
        }
    }
}

#[tokio::test]
async fn answers_that_have_arrived_count_although_the_worker_hung_up() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("brief.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let worker = std::thread::spawn(move || answer_two_and_hang_up(&listener));
    let pool = Pool::builder()
        .external_sockets([&socket])
        .max_in_flight(2)
        .request_timeout(LONG)
        .start()
        .await
        .unwrap();
    let call = |i: u32| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, String>("any", &i).await })
    };
    let (first, second, _others) = (call(1), call(2), [call(3), call(4)]);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    // No other task runs on this thread until the first answer is read. So the other
    worker.join().unwrap();
    assert_eq!(first.await.unwrap().unwrap().len(), 60_000);
    assert_eq!(second.await.unwrap().unwrap().len(), 60_000);
}

/// Makes the handshake, sends in the same write that it takes no requests, and returns what arrives then.
fn drain_at_once(listener: &UnixListener) -> usize {
    let (mut stream, _) = listener.accept().unwrap();
    let mut session = WorkerSession::new(WorkerInfo::default(), DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut buffer = [0; 4096];
    while output.is_empty() {
        let read = stream.read(&mut buffer).unwrap();
        input.extend_from_slice(&buffer[..read]);
        assert_eq!(session.receive(&mut input, &mut output).unwrap(), None);
    }
    Message::Drain
        .encode(DEFAULT_MAX_FRAME_SIZE, &mut output)
        .unwrap();
    stream.write_all(&output).unwrap();
    stream.read(&mut buffer).unwrap()
}

#[tokio::test]
async fn a_worker_that_drains_with_its_hello_gets_no_request_and_is_let_go() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let first = std::thread::spawn(move || drain_at_once(&listener));
    let pool = Pool::builder()
        .external_sockets([&socket])
        .start_timeout(LONG)
        .request_timeout(LONG)
        .start()
        .await
        .unwrap();
    let call = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, u8>("echo", &7).await })
    };
    until("the first worker is let go", || first.is_finished()).await;
    assert_eq!(first.join().unwrap(), 0, "it got a request");
    fs::remove_file(&socket).unwrap();
    let _second = start_sidecar(&socket);
    assert_eq!(call.await.unwrap().unwrap(), 7);
    assert_eq!(pool.health().workers[0].restarts, 1);
}
