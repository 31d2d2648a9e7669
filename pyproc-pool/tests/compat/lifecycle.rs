//! The death and the end of workers.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use pyproc_pool::{Error, Pool};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    candidate::Candidate,
    gate::Gate,
    pool::held,
    support::{LONG, Scratch, is_alive, pids, until},
};

pub(crate) async fn killed_under_load(worker: Candidate) -> Result<()> {
    const CALLS: u32 = 1000;
    let gate = Gate::closed();
    let pool = worker.pool(2).max_queue(CALLS as usize).start().await?;
    let before = pids(&pool);
    let mut calls = JoinSet::new();
    let busy = hold_all(&pool, &gate).await;
    for i in 0..CALLS {
        let pool = pool.clone();
        calls.spawn(async move { (i, pool.call::<_, u32>("echo", &i).await) });
    }
    until("all calls have come", || {
        pool.stats().in_flight + pool.stats().queued == CALLS as usize + busy.len()
    })
    .await;

    let (victim, survivor) = (before[0], before[1]);
    let had = pool.health().workers[0].in_flight;
    kill(victim)?;
    until("the worker is replaced", || {
        pool.health().workers[0].restarts == 1
    })
    .await;
    gate.open()?;
    let mut died = 0;
    for call in busy {
        died += usize::from(unless_died(call.await?, survivor, victim)?);
    }
    while let Some(call) = calls.join_next().await {
        let (asked, outcome) = call?;
        died += usize::from(unless_died(outcome, asked, victim)?);
    }
    ensure!(
        died == had,
        "{died} calls failed; the killed worker had {had}"
    );
    everyone_serves(&pool, victim).await
}

/// A call for each worker, which it has until the gate opens.
async fn hold_all(pool: &Pool, gate: &Gate) -> Vec<tokio::task::JoinHandle<Result<u32, Error>>> {
    let workers = pool.health().workers.len();
    let calls = (0..workers).map(|_| held(pool, gate.file())).collect();
    until("every worker has a call", || {
        pool.health().workers.iter().all(|it| it.in_flight == 1)
    })
    .await;
    calls
}

/// Whether the call failed with the victim; otherwise it must have the right answer.
fn unless_died(outcome: Result<u32, Error>, expected: u32, victim: u32) -> Result<bool> {
    match outcome {
        Ok(answer) if answer == expected => Ok(false),
        Err(Error::WorkerDied(death)) if death.pid == Some(victim) => Ok(true),
        other => bail!("expected {expected} or the death of {victim}, got {other:?}"),
    }
}

async fn everyone_serves(pool: &Pool, dead: u32) -> Result<()> {
    let gate = Gate::closed();
    let calls = hold_all(pool, &gate).await;
    gate.open()?;
    let mut answered = BTreeSet::new();
    for call in calls {
        answered.insert(call.await??);
    }
    ensure!(
        answered.len() == 2 && !answered.contains(&dead),
        "{answered:?} answered"
    );
    Ok(())
}

pub(crate) async fn reloaded_under_load(worker: Candidate) -> Result<()> {
    let gate = Gate::closed();
    let pool = worker.pool(2).start().await?;
    let before = pids(&pool);
    let busy = hold_all(&pool, &gate).await;
    let (over, on_over) = watch::channel(false);
    let mut callers = JoinSet::new();
    for caller in 0..8_u32 {
        let (pool, over) = (pool.clone(), on_over.clone());
        callers.spawn(async move {
            while !*over.borrow() {
                ensure!(pool.call::<_, u32>("echo", &caller).await? == caller);
            }
            Ok(())
        });
    }
    let reload = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(LONG).await })
    };
    until("a worker is replaced", || pids(&pool) != before).await;
    gate.open()?;
    for call in busy {
        ensure!(before.contains(&call.await??), "it began in an old worker");
    }
    let report = reload.await??;
    over.send_replace(true);
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    ensure!(
        report.killed == 0 && pool.stats().restarts == 2,
        "{report:?}"
    );
    ensure!(
        !before
            .iter()
            .any(|&pid| is_alive(pid) || pids(&pool).contains(&pid))
    );
    Ok(())
}

fn kill(pid: u32) -> Result<()> {
    let pid = Pid::from_raw(pid as i32).context("no process has the id 0")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

pub(crate) async fn shutdown(worker: Candidate) -> Result<()> {
    let (gate, sockets) = (Gate::closed(), Scratch::new());
    let pool = worker.pool(2).socket_dir(sockets.path()).start().await?;
    let all = pids(&pool);
    ensure!(all.len() == 2 && all.iter().all(|&pid| is_alive(pid)));
    let running = held(&pool, gate.file());
    until("a worker has a call", || gate.is_awaited()).await;
    let ending = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.shutdown(LONG).await })
    };
    gate.open()?;
    ensure!(all.contains(&running.await??));
    let report = ending.await?;
    ensure!((report.cut_off, report.killed) == (0, 0), "{report:?}");
    drop(pool);
    ensure!(
        !all.iter().any(|&pid| is_alive(pid)),
        "a process was left behind"
    );
    ensure!(
        sockets.is_empty(),
        "something was left in the socket directory"
    );
    Ok(())
}
