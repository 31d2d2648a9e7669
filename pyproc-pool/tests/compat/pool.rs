//! Calls of a pool to a worker.

use std::{
    future::poll_fn,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use pyproc_pool::{
    Error, Pool, RemoteException, TimeoutError,
    observe::{CallEnd, CallObserver, CallStart, Observer, RequestMetadata},
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::{candidate::Candidate, gate::Gate, support::until};

pub(crate) async fn call(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    for input in [
        json!(null),
        json!(-1.5),
        json!([[], {}]),
        json!({"value": {"": [true]}}),
    ] {
        ensure!(pool.call::<_, Value>("echo", &input).await? == input);
    }
    Ok(())
}

pub(crate) async fn exception(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    let raised = exception_of(&pool, "fail", "no such model: größe").await?;
    ensure!(raised.message == "no such model: größe");
    if worker.is_original() {
        ensure!(raised.type_name.is_none() && raised.traceback.is_none());
    } else {
        ensure!(raised.type_name.as_deref() == Some("ValueError"));
        let traceback = raised.traceback.unwrap_or_default();
        ensure!(
            traceback.contains("in fail"),
            "no line of the function in {traceback:?}"
        );
    }
    ensure!(pool.call::<_, u8>("echo", &1).await? == 1);
    Ok(())
}

pub(crate) async fn unknown_method(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    let refused = exception_of(&pool, "nope", "").await?;
    ensure!(refused.message == "Method 'nope' not found");
    let type_name = (!worker.is_original()).then_some("pyproc_worker.MethodNotFound");
    ensure!(refused.type_name.as_deref() == type_name);
    ensure!(pool.call::<_, u8>("echo", &1).await? == 1);
    Ok(())
}

async fn exception_of(pool: &Pool, method: &str, input: &str) -> Result<RemoteException> {
    match pool.call::<_, Value>(method, input).await {
        Err(Error::Remote(exception)) => Ok(exception),
        other => bail!("expected an exception, got {other:?}"),
    }
}

/// Old workers list no functions, so only a success separates their functions from invented names.
pub(crate) async fn names(worker: Candidate) -> Result<()> {
    let seen = Names::default();
    let observer = Arc::new(seen.clone());
    let pool = worker.pool(1).observer(observer).start().await?;
    ensure!(pool.call::<_, u8>("echo", &1).await? == 1);
    exception_of(&pool, "nope", "").await?;
    let seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = [("echo", true), ("nope", false)];
    ensure!(*seen == expected.map(|(name, known)| (name.to_owned(), known)));
    Ok(())
}

/// Of each call its function's name, and whether that is one.
#[derive(Debug, Default, Clone)]
struct Names(Arc<Mutex<Vec<(String, bool)>>>);

struct Named {
    name: String,
    names: Names,
}

impl Observer for Names {
    fn begin(
        &self,
        call: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(Named {
            name: call.method.to_owned(),
            names: self.clone(),
        }))
    }
}

impl CallObserver for Named {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        let names = self.names.0.lock();
        let mut names = names.unwrap_or_else(PoisonError::into_inner);
        names.push((self.name, end.listed));
    }
}

pub(crate) async fn text_beyond_ascii(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    let text =
        "größe 雪 🐍 👩‍🔬 \u{2028} \0 \u{7f} \u{feff} \u{ffff} \u{10ffff} \" \\ \\u0041 / \r\n\t";
    let input = json!({ text: [text] });
    ensure!(pool.call::<_, Value>("echo", &input).await? == input);
    ensure!(pool.call::<_, usize>("größe", text).await? == text.chars().count());
    Ok(())
}

pub(crate) async fn five_mebibytes(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    let input: String = ('a'..='z').cycle().take(5 * 1024 * 1024).collect();
    let output: String = pool.call("echo", &input).await?;
    ensure!(
        output == input,
        "{} bytes came back, or in another order",
        output.len()
    );
    Ok(())
}

pub(crate) async fn ten_thousand_calls(worker: Candidate) -> Result<()> {
    const CALLS: usize = 10_000;
    let gate = Gate::closed();
    let pool = worker
        .pool(1)
        .max_in_flight(CALLS)
        .max_queue(CALLS)
        .start()
        .await?;
    let first = held(&pool, gate.file());
    until("the worker has the first call", || gate.is_awaited()).await;
    let mut calls = JoinSet::new();
    for i in 0..CALLS {
        let pool = pool.clone();
        calls.spawn(async move { (i, pool.call::<_, usize>("echo", &i).await) });
    }
    until(
        "all calls have come, one of them behind the first on its connection",
        || (pool.stats().in_flight, pool.stats().queued) == (2, CALLS - 1),
    )
    .await;
    gate.open()?;
    first.await??;
    while let Some(call) = calls.join_next().await {
        let (asked, got) = call?;
        ensure!(got? == asked);
    }
    Ok(())
}

pub(crate) async fn health(worker: Candidate) -> Result<()> {
    let pool = worker.pool(1).start().await?;
    let health: Value = pool.call("health", &()).await?;
    let pid = pool.health().workers[0].pid;
    ensure!(
        health["status"] == "healthy" && health["pid"] == json!(pid),
        "{health}"
    );
    ensure!(pool.health().ready() == 1);
    Ok(())
}

pub(crate) async fn late_reply(worker: Candidate) -> Result<()> {
    let gate = Gate::closed();
    let pool = worker.pool(1).max_in_flight(2).start().await?;
    let call = pool
        .request("hold", gate.file())
        .timeout(Duration::from_millis(20));
    let late = call.call::<Value>().await;
    let timed_out = matches!(
        late,
        Err(Error::Timeout(TimeoutError {
            worker: Some(0),
            ..
        }))
    );
    ensure!(timed_out, "expected a timeout, got {late:?}");

    let mut next = pin!(pool.call::<_, Value>("echo", &"mine"));
    let sent = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
    ensure!(sent, "the next call did not wait behind the late one");
    gate.open()?;
    ensure!(next.await? == "mine");
    ensure!(pool.stats().in_flight == 0);
    for i in 0..10 {
        ensure!(pool.call::<_, u8>("echo", &i).await? == i);
    }
    Ok(())
}

/// A call that a worker has until the gate opens, and answers with its process id.
pub(crate) fn held(pool: &Pool, gate: &Path) -> JoinHandle<Result<u32, Error>> {
    let (pool, gate) = (pool.clone(), gate.to_owned());
    tokio::spawn(async move { pool.call("hold", &gate).await })
}
