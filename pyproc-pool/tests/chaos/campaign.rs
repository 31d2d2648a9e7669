//! The rounds of a campaign, and its verdict.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use pyproc_pool::RestartConfig;

use crate::{descriptors, inventory::Inventory, proxy, script, service, storm, tally::Tally};

pub(crate) struct Campaign {
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    /// Which of our worker's loops serves.
    pub(crate) core: String,
}

/// What the scenes of one round need.
pub(crate) struct Round {
    pub(crate) core: String,
    pub(crate) rng: Rng,
    pub(crate) tally: Arc<Tally>,
}

impl Campaign {
    pub(crate) fn run(&self) -> ExitCode {
        println!("seed {}, core {}", self.seed, self.core);
        let tally = Arc::new(Tally::new());
        let mut number = 0;
        let result = self.rounds(&tally, &mut number);
        println!("{number} rounds\n{tally}");
        match result.and_then(|()| tally.verdict()) {
            Ok(()) => {
                println!("passed: each call had one outcome, its own, in time");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("FAILED: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn rounds(&self, tally: &Arc<Tally>, number: &mut u64) -> Result<()> {
        // The first pool of a process makes what the runtime then keeps, such as its pipe for signals.
        in_runtime(storm::warm_up(&self.core)).context("first start")?;
        let begin = Inventory::take()?;
        let end = Instant::now() + self.duration;
        while *number == 0 || Instant::now() < end {
            let done = self.round(*number, tally, &begin);
            done.with_context(|| format!("round {number} of seed {} ({})", self.seed, self.core))?;
            *number += 1;
        }
        Ok(())
    }

    /// Every round has a storm; the other scenes take turns beside it.
    fn round(&self, number: u64, tally: &Arc<Tally>, begin: &Inventory) -> Result<()> {
        let mut round = Round {
            core: self.core.clone(),
            rng: Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number)),
            tally: Arc::clone(tally),
        };
        in_runtime(storm::run(&mut round)).context("storm")?;
        match number % 4 {
            0 => in_runtime(script::run(&mut round)).context("broken script")?,
            1 => in_runtime(proxy::run(&mut round)).context("faulty transport")?,
            2 => in_runtime(descriptors::run(&mut round)).context("no descriptors")?,
            _ => in_runtime(service::run(&round)).context("killed service")?,
        }
        let left = begin.grown()?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}

/// A runtime of its own for each scene, so that its threads and descriptors end with it.
fn in_runtime(scene: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(scene)
}

/// So that a scene sees many deaths.
pub(crate) fn quick_restarts() -> RestartConfig {
    RestartConfig {
        initial_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(200),
        ..RestartConfig::default()
    }
}
