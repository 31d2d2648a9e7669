//! The native core of the Python package `pyproc-worker`: the module `pyproc_worker._core`.
//!
//! It does what the package's pure loop does, and passes the same tests. What the bytes of a
//! connection mean is [`WorkerSession`](pyproc_protocol::WorkerSession)'s; new parts of the wire are added
//! there, and the pure loop is frozen.
//!
//! From top to bottom; a folder uses only those below it:
//!
//! | folder | idea |
//! | --- | --- |
//! | `server` | the serving thread: waits for sockets, runs plain functions |
//! | `watcher` | the thread that serves clients while a function runs for long |
//! | `run` | how a call runs: argument, context, answer; `async def` functions; the hello |
//! | `telemetry` | the channel for records to a client |
//! | `state` | what these threads share, behind one lock |
//! | `transport` | a client's socket, its buffers, its requests; who may connect |
//! | `types` | payloads become objects, and objects become payloads |
//! | `package` | what is used of the Python package |
//! | `ffi` | all unsafe code |

mod ffi;
mod package;
mod run;
mod server;
mod state;
mod telemetry;
mod transport;
mod types;
mod watcher;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyproc_protocol::{Codec, Failure};

use crate::package::{Limits, Package};
use crate::run::CallLookup;
use crate::server::{Server, Sources};
use crate::state::{Core, fork};
use crate::transport::AllowedPeers;
use crate::types::json::{self, KeyCache};

/// The native core.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{dumps, loads, serve};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("JSON", "native")?;
        let keywords = pyo3::types::PyDict::new(py);
        keywords.set_item(
            "after_in_child",
            pyo3::wrap_pyfunction!(super::on_fork, module)?,
        )?;
        let os = py.import("os")?;
        os.call_method("register_at_fork", (), Some(&keywords))?;
        Ok(())
    }
}

/// Serves the exposed functions until the worker is to end.
#[pyfunction]
fn serve(
    py: Python<'_>,
    listener: &Bound<'_, PyAny>,
    settings: &Bound<'_, PyAny>,
    termination: Bound<'_, PyAny>,
) -> PyResult<()> {
    listener.call_method1("setblocking", (false,))?;
    let listener = duplicate(listener)?;
    let termination_fd = duplicate(&termination)?;
    let (wake, waker) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    let package = Package::import(py)?;
    let cancelled = package.error(py, "cancelled_before_start", ());
    let cancelled = failure_of(&cancelled.to_string());
    let max_frame_size = settings.getattr("max_frame_size")?.extract()?;
    let limits = Limits::import(py)?;
    let peers = AllowedPeers::new(settings)?;
    let core = Core::new(package, limits, max_frame_size, cancelled, peers, waker);
    let core = Arc::new(core);
    let sources = Sources {
        listener: listener.as_fd(),
        termination,
        termination_fd: termination_fd.as_fd(),
        wake: &wake,
        parent_pid: settings.getattr("parent_pid")?.extract()?,
        wait_with_greenlets: py
            .import("pyproc_worker._system.unpatched")?
            .call_method0("wait_with_greenlets")?
            .extract()?,
    };
    let spin = Duration::from_micros(settings.getattr("spin_us")?.extract()?);
    let watcher = watcher::start(Arc::clone(&core), listener.try_clone()?)?;
    CallLookup::install(py, &core)?;
    let served = Server::new(py, &core, sources, spin).serve();
    CallLookup::remove(py)?;
    let ended = server::end(py, &core, watcher);
    served.and(ended)
}

/// A `Cancelled` as Python would report it. Python would need a large module for that.
fn failure_of(error: &str) -> Failure {
    let type_name = "pyproc_worker.Cancelled";
    let message = error.strip_prefix("Cancelled: ").unwrap_or(error);
    Failure {
        type_name: type_name.into(),
        message: message.into(),
        traceback: format!("{type_name}: {message}\n"),
        retryable: false,
    }
}

/// A duplicate of a Python object's descriptor.
fn duplicate(object: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    let fd: i32 = object.call_method0("fileno")?.extract()?;
    Ok(ffi::borrow_fd(object, fd).try_clone_to_owned()?)
}

#[pyfunction]
fn on_fork() {
    fork::on_fork();
}

/// The value that a JSON document is. Raises `InvalidRequest`. For tests.
#[pyfunction]
fn loads<'py>(py: Python<'py>, document: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let package = Package::import(py)?;
    types::decode(py, &package, &mut KeyCache::new(), Codec::Json, document)
}

/// A result as JSON. Raises as `json::encode` does. For tests.
#[pyfunction]
#[pyo3(signature = (value, maximum = isize::MAX as usize))]
fn dumps<'py>(
    value: &Bound<'py, PyAny>,
    maximum: usize,
) -> PyResult<Bound<'py, pyo3::types::PyBytes>> {
    let mut out = Vec::new();
    json::encode(value, maximum, &mut out)?;
    Ok(pyo3::types::PyBytes::new(value.py(), &out))
}
