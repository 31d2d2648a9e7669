//! Makes the calls of a session's steps, for any peer.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    latencies::Latencies,
    plan::{Placement, Session, Step},
    process::{Sample, place_apart},
    row::Row,
};
use anyhow::{Result, bail};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::task::JoinSet;

use super::ticks::Ticks;

/// Maximum number of concurrent calls at a fixed rate. Further calls wait, and their wait counts.
const CALLERS_AT_FIXED_RATE: usize = 64;

/// Makes calls to one peer, one after another.
pub(crate) trait Caller: Send + 'static {
    /// Makes a call, and checks its answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// A peer whose workers run.
pub(crate) trait Target {
    type Caller: Caller;

    /// The caller number `slot`, connected.
    async fn caller(&self, slot: usize) -> Result<Self::Caller>;

    /// All processes on the workers' side.
    fn workers(&self) -> Vec<u32>;
}

/// Runs the steps of a session. `spawn` is the time until the first responses.
pub(crate) async fn measure<T: Target>(
    session: &Session,
    target: &T,
    spawn: Duration,
) -> Result<Vec<Row>> {
    let workers = target.workers();
    if session.placement == Placement::Apart {
        place_apart(&workers)?;
    }
    let mut rows = Vec::new();
    for step in &session.steps {
        let mut row = take(session, *step, target, &workers).await?;
        row.spawn_ms = spawn.as_secs_f64() * 1e3;
        rows.push(row);
    }
    Ok(rows)
}

async fn take<T: Target>(
    session: &Session,
    step: Step,
    target: &T,
    workers: &[u32],
) -> Result<Row> {
    let mut row = Row::new(session, step);
    match step {
        Step::ClosedLoop { in_flight, seconds } => {
            let time = Duration::from_secs_f64(seconds);
            // Warm-up: the depth of a connection adapts, and caches fill.
            let warm = closed_loop(callers(target, in_flight).await?, time / 10);
            let (callers, _) = warm.await?;
            let before = Sample::take(workers);
            let begin = Instant::now();
            let (_callers, latencies) = closed_loop(callers, time).await?;
            row.set_latencies(&latencies, begin.elapsed());
            row.set_usage(&before, &Sample::take(workers), row.calls as f64);
        }
        Step::FixedRate {
            per_second,
            seconds,
        } => {
            let callers = callers(target, CALLERS_AT_FIXED_RATE).await?;
            let (callers, _) = closed_loop(callers, Duration::from_millis(50)).await?;
            let before = Sample::take(workers);
            let begin = Instant::now();
            let calls = (seconds * f64::from(per_second)) as usize;
            let load = fixed_rate(callers, per_second, calls);
            let latencies = tokio::spawn(load).await??;
            row.set_latencies(&latencies, begin.elapsed());
            row.set_usage(&before, &Sample::take(workers), row.calls as f64);
        }
        Step::Idle { seconds } => {
            closed_loop(callers(target, 1).await?, Duration::from_millis(100)).await?;
            // A worker still polls for about a second after the last call.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let before = Sample::take(workers);
            let begin = Instant::now();
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            let elapsed = begin.elapsed().as_secs_f64();
            row.set_usage(&before, &Sample::take(workers), elapsed);
        }
        Step::Held { .. } => bail!("only our pool can hold calls"),
    }
    Ok(row)
}

async fn callers<T: Target>(target: &T, number: usize) -> Result<Vec<T::Caller>> {
    let mut callers = Vec::with_capacity(number);
    for slot in 0..number {
        callers.push(target.caller(slot).await?);
    }
    Ok(callers)
}

/// Each caller runs in its own task, one call after another.
async fn closed_loop<C: Caller>(callers: Vec<C>, time: Duration) -> Result<(Vec<C>, Latencies)> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(call_until(caller, end));
    }
    let mut all = (Vec::with_capacity(tasks.len()), Latencies::default());
    while let Some(ended) = tasks.join_next().await {
        let (caller, latencies) = ended??;
        all.0.push(caller);
        all.1.append(&latencies);
    }
    Ok(all)
}

async fn call_until<C: Caller>(mut caller: C, end: Instant) -> Result<(C, Latencies)> {
    let mut latencies = Latencies::default();
    let mut sent = Instant::now();
    while sent < end {
        caller.call().await?;
        let answered = Instant::now();
        latencies.add(answered - sent);
        sent = answered;
    }
    Ok((caller, latencies))
}

/// Starts a call whenever one is due, and measures its latency from that time: a stall of the peer also counts for the
/// calls that it delayed.
async fn fixed_rate<C: Caller>(idle: Vec<C>, per_second: u32, calls: usize) -> Result<Latencies> {
    let mut idle = idle;
    let mut latencies = Latencies::default();
    let mut running = FuturesUnordered::new();
    let mut waiting = VecDeque::new();
    let mut ticks = Ticks::start(per_second)?;
    let mut due = 0;
    while latencies.calls() < calls {
        tokio::select! {
            ticked = ticks.next(), if due < calls => {
                for intended in ticked?.take(calls - due) {
                    due += 1;
                    waiting.push_back(intended);
                }
            }
            Some(ended) = running.next() => {
                let (caller, latency) = ended?;
                idle.push(caller);
                latencies.add(latency);
            }
        }
        let starting = waiting.len().min(idle.len());
        let callers = idle.drain(idle.len() - starting..);
        for (intended, caller) in waiting.drain(..starting).zip(callers) {
            running.push(call_due(caller, intended));
        }
    }
    Ok(latencies)
}

async fn call_due<C: Caller>(mut caller: C, intended: Instant) -> Result<(C, Duration)> {
    caller.call().await?;
    Ok((caller, intended.elapsed()))
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    const STALL: Duration = Duration::from_millis(30);

    /// Stalls in its first call; fails in the one after `calls`.
    struct Stalling {
        calls: usize,
        made: usize,
    }

    impl Caller for Stalling {
        async fn call(&mut self) -> Result<()> {
            self.made += 1;
            ensure!(self.made <= self.calls, "one call too many");
            if self.made == 1 {
                tokio::time::sleep(STALL).await;
            }
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    fn caller(calls: usize) -> Stalling {
        Stalling { calls, made: 0 }
    }

    #[tokio::test]
    async fn a_stall_counts_for_the_calls_that_it_kept_from_starting() {
        let latencies = fixed_rate(vec![caller(10)], 1000, 10).await.unwrap();
        assert_eq!(latencies.calls(), 10);
        // All ten were due within ten milliseconds, and none could end before the stall.
        let [shortest] = latencies.quantiles_us([0.0]);
        assert!(shortest >= 20_000.0, "{shortest}");
    }

    #[tokio::test]
    async fn a_fixed_rate_ends_with_the_first_failure() {
        assert!(fixed_rate(vec![caller(3)], 1000, 10).await.is_err());
    }

    #[tokio::test]
    async fn a_closed_loop_ends_with_the_first_failure() {
        let callers = vec![caller(usize::MAX), caller(3)];
        let outcome = closed_loop(callers, Duration::from_secs(3600)).await;
        assert!(outcome.is_err());
    }
}
