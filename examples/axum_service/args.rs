use std::{path::PathBuf, time::Duration};

use clap::Parser;
use pyproc_pool::{Error, Pool};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/axum_service/worker.py");

#[derive(Parser)]
#[command(about = "A web service that calls Python functions.")]
pub(crate) struct Args {
    /// Listen on this address; port 0 takes any free port.
    #[arg(env = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) addr: String,
    /// Run the workers with this Python, which needs the package pyproc-worker.
    #[arg(
        long,
        value_name = "PATH",
        env = "PYPROC_PYTHON_EXEC",
        default_value = "python3"
    )]
    python: PathBuf,
    /// Start this many workers.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Send each worker at most this many requests at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    max_in_flight: usize,
    /// Queue at most this many more requests, and reject further ones.
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_queue: usize,
    /// The timeout of a request in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    timeout: u64,
}

impl Args {
    pub(crate) async fn start_pool(&self) -> Result<Pool, Error> {
        Pool::builder()
            .python_exec(&self.python)
            .worker_script(WORKER)
            .workers(self.workers)
            .max_in_flight(self.max_in_flight)
            .max_queue(self.max_queue)
            .request_timeout(Duration::from_millis(self.timeout))
            .start()
            .await
    }
}
