//! A service that is killed: its workers end with it, and the next pool sweeps what it left.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    callers::Callers,
    campaign::Round,
    support::{Killed, LONG, Scratch, is_alive, nothing_is_left, ours, pids, until},
    tally::Tally,
};

/// Set in the process that is to be killed: where its sockets are.
pub(crate) const SOCKETS: &str = "PYPROC_CHAOS_SOCKETS";
const CORE: &str = "PYPROC_CHAOS_CORE";

/// The service: prints the ids of its workers and makes calls until it is killed.
pub(crate) fn serve(sockets: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new();
    let served = runtime
        .map_err(Into::into)
        .and_then(|it| it.block_on(serve_in(sockets)));
    eprintln!("the service ended: {served:?}");
    std::process::exit(1)
}

async fn serve_in(sockets: &Path) -> Result<()> {
    let core = env::var(CORE)?;
    let pool = ours("chaos.py", &core)
        .workers(2)
        .socket_dir(sockets)
        .start()
        .await?;
    println!("workers: {:?}", pids(&pool));
    let tally = Tally::new().into();
    let _callers = Callers::start(16, 0, &pool, &tally, &mut fastrand::Rng::new());
    std::future::pending().await
}

pub(crate) async fn run(round: &Round) -> Result<()> {
    let sockets = Scratch::new();
    let mut service = Command::new(env::current_exe()?)
        .env(SOCKETS, sockets.path())
        .env(CORE, &round.core)
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)?;
    let lines = BufReader::new(service.0.stdout.take().context("no output")?).lines();
    let workers: Vec<u32> = lines
        .map_while(Result::ok)
        .find_map(|line| serde_json::from_str(line.strip_prefix("workers: ")?).ok())
        .context("the service did not start")?;
    ensure!(
        workers.iter().all(|pid| is_alive(*pid)),
        "a worker of the service has ended"
    );
    drop(service);
    until("the workers have ended with their service", || {
        !workers.iter().any(|pid| is_alive(*pid))
    })
    .await;

    let next = ours("chaos.py", &round.core)
        .socket_dir(sockets.path())
        .start()
        .await?;
    next.shutdown(LONG).await;
    drop(next);
    nothing_is_left(&sockets).await;
    round.tally.count("service killed");
    Ok(())
}
