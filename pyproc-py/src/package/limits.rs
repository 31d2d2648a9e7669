//! The bounds that both cores keep. The Python package defines them in `_limits.py`.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// See `_limits.py`.
#[derive(Clone, Copy, FromPyObject)]
pub(crate) struct Limits {
    #[pyo3(attribute("READ_SIZE"))]
    pub(crate) read_size: usize,
    #[pyo3(attribute("BUFFERED"))]
    pub(crate) buffered: usize,
    #[pyo3(attribute("RUNNING"))]
    pub(crate) running: usize,
    #[pyo3(attribute("RUNNING_COST"))]
    pub(crate) running_cost: usize,
    #[pyo3(attribute("BURST"))]
    pub(crate) burst: usize,
    #[pyo3(attribute("TURN"), from_py_with = seconds)]
    pub(crate) time_slice: Duration,
    #[pyo3(attribute("QUICK"), from_py_with = seconds)]
    pub(crate) quick: Duration,
    #[pyo3(attribute("IDLE_CHECK"), from_py_with = seconds)]
    pub(crate) idle_check: Duration,
    #[pyo3(attribute("FLUSH"), from_py_with = seconds)]
    pub(crate) flush: Duration,
    #[pyo3(attribute("SPIN_MISSES"))]
    pub(crate) spin_misses: u32,
    #[pyo3(attribute("SPIN_REST"))]
    pub(crate) spin_rest: u32,
}

impl Limits {
    pub(crate) fn import(py: Python<'_>) -> PyResult<Self> {
        py.import("pyproc_worker._limits")?.extract()
    }
}

fn seconds(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let error = |error: std::time::TryFromFloatSecsError| PyValueError::new_err(error.to_string());
    Duration::try_from_secs_f64(value.extract()?).map_err(error)
}
