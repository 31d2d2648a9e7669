//! A service that has no file descriptor left for a while, in which workers die.

use std::{fs::File, time::Duration};

use anyhow::Result;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::time::sleep;

use crate::{
    callers::Callers,
    campaign::Round,
    support::{LONG, ours, pids, until},
};

const WORKERS: usize = 2;
/// Enough that the pool's own needs fit in when it has started.
const LIMIT: u64 = 256;

pub(crate) async fn run(round: &mut Round) -> Result<()> {
    let pool = ours("chaos.py", &round.core)
        .workers(WORKERS)
        .start()
        .await?;
    let callers = Callers::start(8, 0, &pool, &round.tally, &mut round.rng);
    let before = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(LIMIT),
            ..before
        },
    )?;
    let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    if let Some(pid) = round
        .rng
        .choice(pids(&pool))
        .and_then(|it| Pid::from_raw(it.cast_signed()))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    sleep(Duration::from_millis(round.rng.u64(..800))).await;
    drop(taken);
    setrlimit(Resource::Nofile, before)?;
    until("all workers are ready again", || {
        pool.health().ready() == WORKERS
    })
    .await;
    callers.finish().await?;
    pool.shutdown(LONG).await;
    round.tally.count("descriptors exhausted");
    Ok(())
}
