//! Callers: each makes one call after another, and holds every outcome to what the call asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fastrand::Rng;
use pyproc_pool::{Error, Pool};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::tally::Tally;

/// A deadline that no call of a scene reaches unless its worker hangs.
const LONG: Duration = Duration::from_secs(20);
/// A call that has not ended by then never does.
const FOREVER: Duration = Duration::from_secs(60);

/// Functions that answer.
pub(crate) const HARMLESS: [&str; 4] = ["echo", "echo", "slow", "later"];
const HANGS: [&str; 4] = ["loops", "sleeps", "holds_the_lock", "blocks_the_loop"];
const DEADLY: [&str; 2] = ["exits", "crashes"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Request {
    token: u64,
    seconds: f64,
}

/// Callers that go on until they are stopped.
pub(crate) struct Callers {
    tasks: JoinSet<Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Callers {
    /// `harmful`: one call in so many hangs or ends its worker; zero is none.
    pub(crate) fn start(
        count: usize,
        harmful: u32,
        pool: &Pool,
        tally: &Arc<Tally>,
        rng: &mut Rng,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let caller = Caller {
                pool: pool.clone(),
                tally: Arc::clone(tally),
                rng: rng.fork(),
                harmful,
            };
            tasks.spawn(caller.run(Arc::clone(&stop)));
        }
        Self { tasks, stop }
    }

    /// Waits until each has its last outcome.
    pub(crate) async fn finish(mut self) -> Result<()> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

struct Caller {
    pool: Pool,
    tally: Arc<Tally>,
    rng: Rng,
    harmful: u32,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Result<()> {
        while !stop.load(Relaxed) {
            let outcome = self.call().await?;
            if matches!(outcome, "refused" | "no worker" | "shut down") {
                sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Makes one call and returns what became of it.
    async fn call(&mut self) -> Result<&'static str> {
        let function = self.function();
        let limit = match self.rng.u8(..20) {
            0 => Duration::from_micros(self.rng.u64(..5000)),
            1 => Duration::from_millis(self.rng.u64(..200)),
            _ => LONG,
        };
        let leaves_after = match self.rng.u8(..20) {
            0 => Some(Duration::from_micros(self.rng.u64(..5000))),
            _ => None,
        };
        let request = Request {
            token: self.tally.begin(),
            seconds: 0.1 + self.rng.f64() * 0.6,
        };
        let begin = Instant::now();
        let call = self
            .pool
            .request(function, &request)
            .timeout(limit)
            .call::<Request>();
        let Ok(ended) = timeout(leaves_after.unwrap_or(FOREVER), call).await else {
            if leaves_after.is_none() {
                bail!("call {} of {function} never ends", request.token);
            }
            self.tally.end("left by the caller", Duration::ZERO);
            return Ok("left by the caller");
        };
        let late = begin.elapsed().saturating_sub(limit);
        let outcome = self.judge(function, &request, ended)?;
        self.tally.end(outcome, late);
        Ok(outcome)
    }

    fn function(&mut self) -> &'static str {
        if self.harmful > 0 && self.rng.u32(..self.harmful) == 0 {
            let kinds: &[&str] = if self.rng.bool() { &HANGS } else { &DEADLY };
            return kinds[self.rng.usize(..kinds.len())];
        }
        match self.rng.u8(..50) {
            0 => "raises",
            1 if self.harmful > 0 => "eats_memory",
            _ => HARMLESS[self.rng.usize(..HARMLESS.len())],
        }
    }

    fn judge(
        &self,
        function: &str,
        request: &Request,
        ended: Result<Request, Error>,
    ) -> Result<&'static str> {
        Ok(match ended {
            Ok(answer) => {
                if answer != *request {
                    self.tally.cross();
                }
                "answered"
            }
            Err(Error::Remote(error)) => {
                let own = match function {
                    "raises" => error.message == format!("token {}", request.token),
                    "eats_memory" => error.type_name.as_deref() == Some("MemoryError"),
                    _ => false,
                };
                if !own {
                    self.tally.cross();
                }
                "raised"
            }
            Err(Error::Timeout(_)) => "timed out",
            Err(Error::WorkerDied(_)) => "worker died",
            Err(Error::Protocol { .. }) => "protocol broken",
            Err(Error::Overloaded { .. }) => "refused",
            Err(Error::NoWorkers(_)) => "no worker",
            Err(Error::ShutDown) => "shut down",
            Err(error) => bail!("{function} failed with {error:?}"),
        })
    }
}
