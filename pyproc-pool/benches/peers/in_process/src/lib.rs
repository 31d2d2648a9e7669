//! Calls Python functions of the process that it is loaded into, as a service with an embedded
//! interpreter does: the floor for isolation's cost, and the way it is most often done today.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyBytes, PyDict},
};
use pyproc_bench::{
    job::{Answer, Job, Number, check_echo},
    latencies::Latencies,
    plan::{Runtime, Session, Step},
    process::Sample,
    row::Row,
};
use pythonize::{depythonize, pythonize};
use serde_json::Value;

/// As the other Rust clients have it; Python's objects are in Python's own memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module.
#[pymodule]
fn pyproc_bench_in_process(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(take_steps, module)?)
}

/// Takes the steps of a session, and prints a row for each.
#[pyfunction]
fn take_steps(py: Python<'_>, session: &str) -> PyResult<()> {
    print_rows(py, session).map_err(|error| PyRuntimeError::new_err(format!("{error:#}")))
}

fn print_rows(py: Python<'_>, session: &str) -> Result<()> {
    let session: Session = serde_json::from_str(session)?;
    let job = Job::of(&session);
    let function = py.import("functions")?.getattr(job.method())?;
    let call = kind(&session.peer)?;
    // What a service would do before it takes calls.
    if session.runtime == Runtime::Blocking {
        call(&function, &job)?;
    }
    for step in &session.steps {
        let Step::ClosedLoop { in_flight, seconds } = *step else {
            bail!("the module knows closed loops only");
        };
        let time = Duration::from_secs_f64(seconds);
        let measure = |time| match session.runtime {
            Runtime::Blocking => sequential(&function, &job, call, time),
            _ => spawn_blocking(&function, &job, in_flight, time),
        };
        measure(time / 10)?;
        let before = Sample::take(&[]);
        let begin = Instant::now();
        let latencies = measure(time)?;
        let mut row = Row::new(&session, *step);
        row.set_latencies(&latencies, begin.elapsed());
        row.set_usage(&before, &Sample::take(&[]), row.calls as f64);
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

type Call = fn(&Bound<'_, PyAny>, &Job) -> Result<()>;

fn kind(peer: &str) -> Result<Call> {
    match peer {
        "pyo3-dict" | "pyo3-spawn-blocking" => Ok(by_hand),
        "pyo3-pythonize" => Ok(by_pythonize),
        _ => bail!("no such peer: {peer}"),
    }
}

/// Builds the input and takes the answer apart object by object, without serde.
fn by_hand(function: &Bound<'_, PyAny>, job: &Job) -> Result<()> {
    let py = function.py();
    let answer = match job {
        Job::Predict(Number { value }) => {
            let input = PyDict::new(py);
            input.set_item(pyo3::intern!(py, "value"), value)?;
            function.call1((input,))?
        }
        Job::Total(array) => function.call1((PyBytes::new(py, array),))?,
        Job::Echo(_) | Job::Burn(_) => bail!("no such work by hand"),
    };
    let result = answer.get_item(pyo3::intern!(py, "result"))?.extract()?;
    job.check_answer(Answer { result })
}

/// Converts input and answer through serde, like the pool's callers.
fn by_pythonize(function: &Bound<'_, PyAny>, job: &Job) -> Result<()> {
    let py = function.py();
    match job {
        Job::Predict(number) => {
            let answer = function.call1((pythonize(py, number)?,))?;
            job.check_answer(depythonize(&answer)?)
        }
        Job::Echo(document) => {
            let answer = function.call1((pythonize(py, document)?,))?;
            check_echo(document, &depythonize::<Value>(&answer)?)
        }
        Job::Total(_) | Job::Burn(_) => bail!("no such work through pythonize"),
    }
}

fn sequential(
    function: &Bound<'_, PyAny>,
    job: &Job,
    call: Call,
    time: Duration,
) -> Result<Latencies> {
    let end = Instant::now() + time;
    let mut latencies = Latencies::default();
    let mut sent = Instant::now();
    while sent < end {
        call(function, job)?;
        let answered = Instant::now();
        latencies.add(answered - sent);
        sent = answered;
    }
    Ok(latencies)
}

/// From async code: each call on a thread for blocking work, attached for as long as the call.
fn spawn_blocking(
    function: &Bound<'_, PyAny>,
    job: &Job,
    in_flight: usize,
    time: Duration,
) -> Result<Latencies> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let end = Instant::now() + time;
    let callers: Vec<_> = (0..in_flight)
        .map(|_| call_until(function.clone().unbind(), job.clone(), end))
        .collect();
    function.py().detach(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = callers.into_iter().map(tokio::spawn).collect();
            let mut all = Latencies::default();
            for task in tasks {
                all.append(task.await??);
            }
            Ok(all)
        })
    })
}

async fn call_until(function: Py<PyAny>, job: Job, end: Instant) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut function = function;
    let mut sent = Instant::now();
    while sent < end {
        let job = job.clone();
        let called = tokio::task::spawn_blocking(move || {
            Python::attach(|py| by_hand(function.bind(py), &job))?;
            anyhow::Ok(function)
        });
        function = called.await.context("the call panicked")??;
        let answered = Instant::now();
        latencies.add(answered - sent);
        sent = answered;
    }
    Ok(latencies)
}
