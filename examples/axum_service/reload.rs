use std::{io, time::Duration};

use pyproc_pool::Pool;
use tokio::signal::unix::{SignalKind, signal};

/// From now on each SIGHUP replaces the workers without an interruption, for example to load a new model.
pub(crate) fn on_hangup(pool: Pool, grace: Duration) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match pool.reload(grace).await {
                Ok(report) => println!("reloaded: {} workers killed", report.killed),
                Err(error) => eprintln!("not reloaded, the workers of before go on: {error:?}"),
            }
        }
    });
    Ok(())
}
