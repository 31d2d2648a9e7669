//! Calls over each transport, with a worker that is a task of this process: the connection's task is the same over all.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use pyproc_protocol::{
    ClientEvent, ClientSession, Failure, Features, Hello, WorkerEvent, WorkerInfo, WorkerSession,
    v2::{Method, Response},
};
use tokio::{net::UnixStream, task::JoinHandle};

use super::{Closed, Connection};
use crate::{
    CallRequest, Error, PoolConfig,
    clock::Clock,
    shared::{Attached, Shared},
    transport::{Transport, pair},
};

const MAX: usize = 1 << 20;

/// Both ends of each transport. The one in memory is so narrow that large frames go through it in pieces.
fn each() -> [(Transport, Transport); 2] {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (our_end, their_end) = pair(10_000);
    [
        (Transport::Unix(ours), Transport::Unix(theirs)),
        (Transport::Memory(our_end), Transport::Memory(their_end)),
    ]
}

/// Serves `echo`, which returns its input, and `quit`, which ends the worker in place of an answer.
async fn worker(mut transport: Transport) {
    let mut session = WorkerSession::new(WorkerInfo::default(), MAX);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    while transport.read(&mut input).await.unwrap() > 0 {
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let WorkerEvent::Request { version, request } = event else {
                continue;
            };
            let answer = match &request.method {
                Method::Name(name) if name == "echo" => Response::success(request.id, request.body),
                Method::Name(name) if name == "quit" => return,
                _ => Response::failure(request.id, Failure::default()),
            };
            session.respond(version, answer, &mut output).unwrap();
        }
        transport.write_all(&output).await.unwrap();
        output.clear();
    }
}

async fn connect(mut transport: Transport) -> Connection {
    let hello = Hello {
        features: Features::CALLS,
        ..Hello::new("test/1")
    };
    let (mut output, mut input) = (Vec::new(), BytesMut::new());
    let mut session = ClientSession::start(hello, MAX, &mut output).unwrap();
    transport.write_all(&output).await.unwrap();
    loop {
        if let Some(ClientEvent::Ready) = session.receive(&mut input).unwrap() {
            return Connection::new(transport, session, input, Duration::ZERO, Clock::System);
        }
        assert!(transport.read(&mut input).await.unwrap() > 0);
    }
}

/// A pool without processes, and its one connection.
async fn start(ours: Transport, theirs: Transport) -> (Arc<Shared>, JoinHandle<Closed>) {
    tokio::spawn(worker(theirs));
    let shared = Arc::new(Shared::new(PoolConfig::default(), Attached::default(), 1));
    let mut connection = connect(ours).await;
    connection.open(&mut shared.driver.lock(), 0, None);
    let for_task = Arc::clone(&shared);
    let task = tokio::spawn(async move {
        let closed = connection
            .run(&for_task.driver, for_task.records.sender(0))
            .await;
        let mut scheduler = for_task.driver.lock();
        scheduler.close(connection.id());
        scheduler.fail(connection.id(), || Error::ShutDown);
        closed
    });
    (shared, task)
}

async fn call(shared: &Shared, method: &str, input: &str) -> Result<String, Error> {
    CallRequest::new(shared, method, input).call().await
}

#[tokio::test]
async fn many_calls_of_any_size_are_each_answered_with_their_own_result() {
    for (ours, theirs) in each() {
        let (shared, _task) = start(ours, theirs).await;
        let calls = (0..200_usize).map(|number| {
            let (shared, input) = (
                Arc::clone(&shared),
                format!("{number}.").repeat(number * 50),
            );
            tokio::spawn(async move {
                let output = call(&shared, "echo", &input).await.unwrap();
                assert!(output == input, "another call's result");
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        assert_eq!(shared.driver.lock().in_flight(), 0);
    }
}

#[tokio::test]
async fn a_failure_is_that_of_its_call_alone() {
    for (ours, theirs) in each() {
        let (shared, _task) = start(ours, theirs).await;
        let failed = call(&shared, "other", "1").await;
        assert!(matches!(failed, Err(Error::Remote(_))), "{failed:?}");
        assert_eq!(call(&shared, "echo", "1").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn a_worker_that_quits_ends_its_connection_and_its_calls() {
    for (ours, theirs) in each() {
        let (shared, task) = start(ours, theirs).await;
        let failed = call(&shared, "quit", "").await;
        assert!(matches!(failed, Err(Error::ShutDown)), "{failed:?}");
        let closed = task.await.unwrap();
        assert!(matches!(closed, Closed::ByPeer), "{closed:?}");
        assert_eq!(shared.driver.lock().in_flight(), 0);
    }
}
