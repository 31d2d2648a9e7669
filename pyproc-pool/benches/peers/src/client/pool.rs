//! Our pool, with whichever worker.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    job::{Answer, Job, check_echo},
    plan::{Session, Step},
    process::Sample,
    row::Row,
};
use anyhow::{Context as _, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use pyproc_pool::{Pool, WorkerOutput};
use serde::Serialize;
use serde_json::Value;

use super::{
    load::{self, Caller, Target},
    server::script_path,
};
use crate::catalog::{Array, Pooled};

pub(crate) async fn measure(session: &Session, pooled: Pooled) -> Result<Vec<Row>> {
    let begin = Instant::now();
    let pool = start(session, pooled).await?;
    let job = Arc::new(Job::of(session));
    let target = PoolTarget {
        pool: pool.clone(),
        job,
        array: pooled.array,
    };
    target.caller(0).await?.call().await?;
    let spawn = begin.elapsed();
    let rows = match session.steps.first() {
        Some(Step::Held { .. }) => hold(session, &target),
        _ => load::measure(session, &target, spawn).await,
    };
    pool.shutdown(Duration::ZERO).await;
    rows
}

async fn start(session: &Session, pooled: Pooled) -> Result<Pool> {
    let mut builder = Pool::builder()
        .workers(session.workers)
        .max_in_flight(256)
        .max_queue(8192)
        .max_frame_size(64 << 20)
        .spin(pooled.spin)
        .python_exec(&session.python)
        .worker_script(script_path("worker.py"))
        .output(WorkerOutput::Discard);
    if let Some(core) = pooled.core {
        builder = builder.env("PYPROC_WORKER_CORE", core);
    }
    let pool = builder.start().await;
    pool.with_context(|| format!("no worker with {}", session.python.display()))
}

struct PoolTarget {
    pool: Pool,
    job: Arc<Job>,
    array: Array,
}

impl Target for PoolTarget {
    type Caller = PoolCaller;

    async fn caller(&self, _slot: usize) -> Result<PoolCaller> {
        Ok(PoolCaller {
            pool: self.pool.clone(),
            job: Arc::clone(&self.job),
            array: self.array,
        })
    }

    fn workers(&self) -> Vec<u32> {
        let workers = self.pool.health().workers;
        workers.iter().filter_map(|worker| worker.pid).collect()
    }
}

struct PoolCaller {
    pool: Pool,
    job: Arc<Job>,
    array: Array,
}

#[derive(Serialize)]
struct Encoded {
    base64: String,
}

impl Caller for PoolCaller {
    async fn call(&mut self) -> Result<()> {
        match &*self.job {
            Job::Predict(number) => self.answer("predict", number).await,
            Job::Burn(rounds) => self.answer("burn", rounds).await,
            Job::Echo(document) => {
                let answer: Value = self.pool.call("echo", document).await?;
                check_echo(document, &answer)
            }
            Job::Total(array) => match self.array {
                Array::Base64 => {
                    let base64 = BASE64_STANDARD.encode(array);
                    self.answer("total_base64", &Encoded { base64 }).await
                }
                Array::Bytes => {
                    let request = self.pool.request_bytes("total", array.clone());
                    self.job.check_answer(request.call().await?)
                }
            },
        }
    }
}

impl PoolCaller {
    async fn answer(&self, method: &str, input: &impl Serialize) -> Result<()> {
        let answer: Answer = self.pool.call(method, input).await?;
        self.job.check_answer(answer)
    }
}

/// Makes calls that wait behind a slow one, and looks at the client's memory while they do.
fn hold(session: &Session, target: &PoolTarget) -> Result<Vec<Row>> {
    let workers = target.workers();
    let mut rows = Vec::new();
    let mut held = Vec::new();
    for step in &session.steps {
        let Step::Held { calls } = *step else {
            continue;
        };
        held.reserve_exact(calls);
        for _ in 0..calls {
            held.push(submitted(target.pool.call("hold", &0))?);
        }
        let sample = Sample::take(&workers);
        let mut row = Row::new(session, *step);
        row.set_usage(&sample, &sample, 1.0);
        rows.push(row);
    }
    Ok(rows)
}

type Held<'a> = Pin<Box<dyn Future<Output = Result<Value, pyproc_pool::Error>> + 'a>>;

/// A call that the pool has taken.
fn submitted<'a>(
    call: impl Future<Output = Result<Value, pyproc_pool::Error>> + 'a,
) -> Result<Held<'a>> {
    let mut call: Held<'a> = Box::pin(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(call),
        Poll::Ready(answer) => bail!("a call that was to wait has ended: {answer:?}"),
    }
}
