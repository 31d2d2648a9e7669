//! Pools of real Python workers.
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]

use std::{env, path::PathBuf, time::Duration};

use pyproc_pool::{Pool, PoolBuilder, WorkerOutput};

/// Long enough for the slowest machine.
const LONG: Duration = Duration::from_secs(60);

/// One worker that runs `shop.py`, in the Python of `PYPROC_PYTHON_EXEC` or, in a plain `cargo test`, from the sources of
/// the package.
pub fn shop() -> PoolBuilder {
    let dir = env!("CARGO_MANIFEST_DIR");
    let builder = Pool::builder()
        .workers(1)
        .worker_script(format!("{dir}/tests/workers/shop.py"))
        .output(WorkerOutput::Discard)
        .start_timeout(LONG)
        .request_timeout(LONG);
    match env::var_os("PYPROC_PYTHON_EXEC") {
        Some(python) => builder.python_exec(PathBuf::from(python)),
        None => builder.env("PYTHONPATH", format!("{dir}/../pyproc-py/python")),
    }
}
