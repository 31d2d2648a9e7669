//! A web service in front of a pool: every failure has its status, the queue has its limits,
//! SIGHUP replaces the workers, and SIGTERM or Ctrl-C ends it, without losing a request.

mod args;
mod failure;
mod reload;
mod routes;
mod stop_signal;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use pyproc_pool::Pool;
use tokio::{net::TcpListener, time::sleep};

use crate::{args::Args, stop_signal::StopSignal};

/// Maximum time for requests and their clients to finish, after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Maximum time for workers to exit after that, and to finish their calls when they are replaced.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let pool = args.start_pool().await?;
    // Clients cannot connect before the workers are ready.
    let listener = TcpListener::bind(&args.addr).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", args.addr))?;
    let stop = StopSignal::install()?;
    reload::on_hangup(pool.clone(), GRACE)?;
    println!("listening on http://{}", listener.local_addr()?);

    serve(listener, &pool, &stop).await?;
    let report = pool.shutdown(GRACE).await;
    println!(
        "stopped: {} calls cut off, {} workers killed",
        report.cut_off, report.killed
    );
    Ok(())
}

/// Serves until the signal arrives; then it accepts no more connections and finishes its requests.
async fn serve(listener: TcpListener, pool: &Pool, stop: &StopSignal) -> anyhow::Result<()> {
    let served =
        axum::serve(listener, routes::routes(pool.clone())).with_graceful_shutdown(stop.received());
    // The pool's timeouts limit the calls, but not a client that never completes its request.
    let overdue = async {
        stop.received().await;
        sleep(DRAIN).await;
    };
    tokio::select! {
        result = served => result?,
        () = overdue => eprintln!("some connections did not end within {DRAIN:?}"),
    }
    Ok(())
}
