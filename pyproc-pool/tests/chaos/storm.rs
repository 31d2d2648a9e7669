//! A pool under load, whose workers are killed, stopped, hung and reloaded by seed, and which is then shut down.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pyproc_pool::{Pool, PoolBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::{
    callers::Callers,
    campaign::{Round, quick_restarts},
    support::{self, LONG, Scratch, ours, pids},
};

const WORKERS: usize = 3;
const CALLERS: usize = 48;
/// One call in so many hangs or ends its worker.
const HARMFUL: u32 = 3000;
const LENGTH: Duration = Duration::from_secs(4);

pub(crate) async fn run(round: &mut Round) -> Result<()> {
    let sockets = Scratch::new();
    let pool = storm_pool(round).socket_dir(sockets.path()).start().await?;
    let callers = Callers::start(CALLERS, HARMFUL, &pool, &round.tally, &mut round.rng);
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        sleep(Duration::from_millis(round.rng.u64(..250))).await;
        inflict(&pool, round).await?;
    }
    // In one round of two the pool is shut down under load.
    if round.rng.bool() {
        callers.finish().await?;
        pool.shutdown(LONG).await;
    } else {
        let grace = Duration::from_millis(round.rng.u64(..500));
        pool.shutdown(grace).await;
        callers.finish().await?;
    }
    ensure!(
        pool.stats().in_flight == 0,
        "calls are left: {:?}",
        pool.stats()
    );
    drop(pool);
    support::nothing_is_left(&sockets).await;
    Ok(())
}

fn storm_pool(round: &Round) -> PoolBuilder {
    ours("chaos.py", &round.core)
        .workers(WORKERS)
        .max_in_flight(16)
        .restart(quick_restarts())
}

/// Starts a pool and ends it.
pub(crate) async fn warm_up(core: &str) -> Result<()> {
    let pool = ours("chaos.py", core).start().await?;
    pool.shutdown(LONG).await;
    Ok(())
}

/// One fault, by seed.
async fn inflict(pool: &Pool, round: &mut Round) -> Result<()> {
    let Some(pid) = round.rng.choice(pids(pool)) else {
        return Ok(());
    };
    let fault = match round.rng.u8(..10) {
        0..3 => signal(pid, Signal::KILL, "SIGKILL"),
        3 => signal(pid, Signal::SEGV, "SIGSEGV"),
        4 => signal(pid, Signal::TERM, "SIGTERM"),
        5 | 6 => {
            let pause = Duration::from_millis(round.rng.u64(..300));
            signal(pid, Signal::STOP, "");
            sleep(pause).await;
            signal(pid, Signal::CONT, "SIGSTOP, then SIGCONT")
        }
        7 => {
            let pause = Duration::from_millis(round.rng.u64(..300));
            signal(pid, Signal::STOP, "");
            sleep(pause).await;
            signal(pid, Signal::KILL, "SIGSTOP, then SIGKILL")
        }
        _ => {
            // A worker that dies during the reload makes it fail.
            let reloaded = pool
                .reload(Duration::from_millis(round.rng.u64(..1000)))
                .await;
            if reloaded.is_ok() {
                "reload"
            } else {
                "reload that failed"
            }
        }
    };
    round.tally.count(fault);
    Ok(())
}

fn signal(pid: u32, signal: Signal, name: &'static str) -> &'static str {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
    name
}
