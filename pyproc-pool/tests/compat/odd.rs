//! Results that cannot be sent, inputs that cannot be read, and connections that are one too many.

use std::{fs, time::Duration};

use anyhow::{Result, bail, ensure};
use pyproc_pool::{Error, ErrorKind, Pool};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::task::JoinSet;

use crate::{
    candidate::Candidate,
    gate::Gate,
    pool::held,
    process::WorkerProcess,
    support::{LONG, Scratch, until},
};

/// Enough for several to be on the connection behind it.
const NEIGHBOURS: usize = 26;

pub(crate) async fn results(worker: Candidate) -> Result<()> {
    let odd = [
        ("no JSON", ErrorKind::FunctionError),
        ("circular", ErrorKind::FunctionError),
        ("a key that is no text", ErrorKind::FunctionError),
        ("bytes", ErrorKind::FunctionError),
        ("nested", ErrorKind::FunctionError),
        ("a huge number", ErrorKind::FunctionError),
        ("NaN", ErrorKind::Protocol),
        ("a lone surrogate", ErrorKind::Decode),
        ("too large", ErrorKind::Protocol),
    ];
    for (odd, of_the_first_release) in odd {
        let outcome = among_neighbours(&worker, "odd", odd).await?;
        // Later ones refuse what the pool cannot read, and write bytes as base64.
        let expected = match worker.is_original() {
            true => Some(of_the_first_release),
            false => (odd != "bytes").then_some(ErrorKind::FunctionError),
        };
        let kind = outcome.as_ref().err().map(Error::kind);
        ensure!(kind == expected, "{odd}: {outcome:?}");
    }
    Ok(())
}

pub(crate) async fn inputs(worker: Candidate) -> Result<()> {
    const LEVELS: usize = 100_000;
    // It is sent as it is: to write such a value takes recursion.
    let input = ["[".repeat(LEVELS), "]".repeat(LEVELS)].concat();
    let input = RawValue::from_string(input)?;
    let outcome = among_neighbours(&worker, "echo", &input).await?;
    ensure!(
        matches!(outcome, Err(Error::Remote(_))),
        "{LEVELS} levels: {outcome:?}"
    );
    Ok(())
}

/// The outcome of a call, before and behind which are others on the same connection. They are answered, each runs once, and
/// the worker stays.
async fn among_neighbours<T: Serialize + ?Sized>(
    worker: &Candidate,
    method: &str,
    input: &T,
) -> Result<Result<Value, Error>> {
    let (gate, dir) = (Gate::closed(), Scratch::new());
    let marks = dir.path().join("marks");
    let pool = worker.pool(1).start().await?;
    let pid = pool.call::<_, Value>("health", &()).await?["pid"].clone();
    warm_up(&pool).await?;
    let first = held(&pool, gate.file());
    until("the worker has the first call", || gate.is_awaited()).await;
    let odd = pool.call::<_, Value>(method, input);
    let neighbours = async {
        let mut neighbours = JoinSet::new();
        for _ in 0..NEIGHBOURS {
            let (pool, marks) = (pool.clone(), marks.clone());
            neighbours.spawn(async move { pool.call::<_, Value>("mark", &marks).await });
        }
        until("all calls have come", || {
            let stats = pool.stats();
            stats.in_flight + stats.queued == NEIGHBOURS + 2
        })
        .await;
        gate.open()?;
        while let Some(neighbour) = neighbours.join_next().await {
            neighbour??;
        }
        anyhow::Ok(())
    };
    let (outcome, neighbours) = tokio::join!(odd, neighbours);
    neighbours?;
    first.await??;
    ensure!(fs::read(&marks)?.len() == NEIGHBOURS, "some ran twice");
    ensure!(pool.call::<_, Value>("health", &()).await?["pid"] == pid);
    ensure!(pool.stats().restarts == 0, "the worker was replaced");
    Ok(outcome)
}

/// Short calls, after which the worker gets many ahead.
async fn warm_up(pool: &Pool) -> Result<()> {
    let mut calls = JoinSet::new();
    for i in 0..500 {
        let pool = pool.clone();
        calls.spawn(async move { pool.call::<_, Value>("echo", &i).await });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    Ok(())
}

pub(crate) async fn second_pool(worker: Candidate) -> Result<()> {
    let process = WorkerProcess::start(&worker).await?;
    let pool = |limit| {
        Pool::builder()
            .max_protocol_version(worker.protocol.number())
            .external_sockets([process.socket()])
            .start_timeout(limit)
            .request_timeout(LONG)
    };
    let first = pool(LONG).start().await?;
    if worker.is_original() {
        let Err(error) = pool(Duration::from_millis(200)).start().await else {
            bail!("it serves two connections");
        };
        let error = error.to_string();
        ensure!(error.contains("serves one connection at a time"), "{error}");
        ensure!(first.call::<_, u8>("echo", &1).await? == 1);
        first.shutdown(LONG).await;
    }
    let second = pool(LONG).start().await?;
    ensure!(second.call::<_, u8>("echo", &2).await? == 2);
    Ok(())
}
