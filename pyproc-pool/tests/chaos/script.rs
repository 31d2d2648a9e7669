//! A script that somebody breaks while the pool serves, and repairs.

use std::{fs, time::Duration};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::{
    callers::Callers,
    campaign::Round,
    support::{LONG, Scratch, ours, pids, script, until},
};

const WORKERS: usize = 2;

pub(crate) async fn run(round: &mut Round) -> Result<()> {
    let scratch = Scratch::new();
    let (path, sound) = (
        scratch.path().join("worker.py"),
        fs::read(script("chaos.py"))?,
    );
    fs::write(&path, &sound)?;
    let pool = ours("chaos.py", &round.core)
        .worker_script(&path)
        .workers(WORKERS)
        .start()
        .await?;
    let callers = Callers::start(8, 0, &pool, &round.tally, &mut round.rng);

    fs::write(&path, "raise SystemExit('broken on purpose')\n")?;
    for pid in pids(&pool) {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    sleep(Duration::from_millis(round.rng.u64(..2000))).await;
    fs::write(&path, &sound)?;
    // A slot that is out of attempts waits for a reload.
    while pool.reload(Duration::from_secs(5)).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    until("all workers are ready again", || {
        pool.health().ready() == WORKERS
    })
    .await;
    callers.finish().await?;
    pool.shutdown(LONG).await;
    round.tally.count("script broken and repaired");
    Ok(())
}
