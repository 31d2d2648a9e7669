use std::{
    fmt,
    future::poll_fn,
    path::PathBuf,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    CallRequest, ConfigError, Error, Health, PoolConfig, ReloadReport, ShutdownReport,
    StartFailure, Stats, WorkerHealth,
    call::Deadlines,
    config::unknown,
    shared::{Attached, Shared},
    worker::{
        Lifecycle, Reload, Running, SHORTEST_GRACE, Slot, SocketDir, Stop, Worker, WorkerKind,
        Workers, kill_and_wait,
    },
};

/// A pool of Python worker processes.
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, its workers
/// are killed; [`shutdown`](Self::shutdown) ends them in order.
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Handle>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.handle.shared.config)
            .finish_non_exhaustive()
    }
}

/// A handle that does not keep its pool alive, from [`Pool::downgrade`].
#[derive(Debug, Clone)]
pub struct WeakPool {
    handle: Weak<Handle>,
}

impl WeakPool {
    /// The pool, if another handle still exists. Drop the result soon, because it keeps the pool alive.
    pub fn upgrade(&self) -> Option<Pool> {
        let handle = self.handle.upgrade()?;
        Some(Pool { handle })
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    _deadlines: Deadlines,
    stop: watch::Sender<Stop>,
    /// One task for each slot. It returns how many workers it had to kill.
    tasks: Mutex<JoinSet<usize>>,
    /// The senders of reload requests to these tasks.
    reloads: Vec<mpsc::Sender<Reload>>,
    /// Held by the reload that replaces a worker, so that they take turns.
    reload_turn: Arc<Mutex<()>>,
    /// Removed by the shutdown, or with the last handle.
    socket_dir: std::sync::Mutex<Option<SocketDir>>,
}

impl Pool {
    /// Starts the workers, and returns when all are ready.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when a setting makes no sense, [`Error::StartFailed`] when a worker does not
    /// start; the others are killed then. [`Error::NoThread`] and [`Error::NoDescriptor`] when the system has no thread
    /// or file descriptor for the pool.
    ///
    /// # Cancellation safety
    ///
    /// When the future is dropped, the workers that were started are killed.
    pub async fn start(config: PoolConfig) -> Result<Self, Error> {
        Self::start_with(config, Attached::default()).await
    }

    pub(crate) async fn start_with(config: PoolConfig, attached: Attached) -> Result<Self, Error> {
        config.validate()?;
        let (kinds, socket_dir) = worker_kinds(&config, &attached)?;
        let shared = Arc::new(Shared::new(config, attached, kinds.len()));
        let workers = Arc::new(Workers::new(kinds.len()));
        if shared.subscriber.is_there() {
            shared.subscriber.with_guarded(unknown::warn_once);
        }
        let deadlines = Deadlines::watch(Arc::clone(&shared)).map_err(Error::NoThread)?;
        let (stop, on_stop) = watch::channel(Stop::No);
        let (mut starts, mut reloads) = (Vec::new(), Vec::new());
        for (worker, kind) in kinds.into_iter().enumerate() {
            let (reload, on_reload) = mpsc::channel(1);
            let slot = Slot {
                worker,
                kind,
                shared: Arc::clone(&shared),
                workers: Arc::clone(&workers),
                stop: on_stop.clone(),
            };
            starts.push(Lifecycle::new(slot, on_reload));
            reloads.push(reload);
        }
        let tasks = match start_all(starts).await {
            Ok(tasks) => tasks,
            Err(failure) => {
                end_all(&shared, &workers).await;
                return Err(Error::StartFailed(Arc::new(failure)));
            }
        };
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                workers,
                _deadlines: deadlines,
                stop,
                tasks: Mutex::new(tasks),
                reloads,
                reload_turn: Arc::default(),
                socket_dir: std::sync::Mutex::new(socket_dir),
            }),
        })
    }

    /// Calls a function, and waits for its result.
    ///
    /// ```no_run
    /// # async fn example(pool: pyproc_pool::Pool) -> Result<(), pyproc_pool::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Prediction {
    ///     result: i64,
    /// }
    ///
    /// let input = serde_json::json!({"value": 42});
    /// let prediction: Prediction = pool.call("predict", &input).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Timeout`] when the deadline passes: the pool's `request_timeout`;
    /// - [`Error::Overloaded`] at once when `max_queue` calls wait already;
    /// - [`Error::WorkerDied`] and [`Error::Protocol`] when the worker that had the call died or violated the protocol,
    ///   as soon as its end is explained: at once when the process ended, after about a second when it only closed the
    ///   connection;
    /// - [`Error::NoWorkers`] when none is left, [`Error::ShutDown`] after a shutdown, [`Error::RuntimeEnded`] when the
    ///   runtime in which the pool was started is gone;
    /// - [`Error::Remote`] when the worker answered with an error: the function raised it, does not exist, or does not
    ///   take the input;
    /// - [`Error::Encode`] and [`Error::Decode`] when input or result do not fit.
    ///
    /// # Cancellation safety
    ///
    /// A call whose future is dropped is cancelled: a worker that supports cancellations gets one, a late answer is
    /// dropped, and the call's capacity is free again when the worker answers or dies.
    pub async fn call<In, Out>(&self, method: &str, input: &In) -> Result<Out, Error>
    where
        In: Serialize + ?Sized,
        Out: DeserializeOwned,
    {
        self.request(method, input).call().await
    }

    /// Like [`call`](Self::call), but never waits for capacity.
    ///
    /// # Errors
    ///
    /// As for `call`, and [`Error::Overloaded`] when the workers that are ready have no free capacity.
    pub async fn try_call<In, Out>(&self, method: &str, input: &In) -> Result<Out, Error>
    where
        In: Serialize + ?Sized,
        Out: DeserializeOwned,
    {
        self.request(method, input).try_call().await
    }

    /// A call with a timeout or headers of its own.
    pub fn request<'a, In>(&'a self, method: &'a str, input: &'a In) -> CallRequest<'a, In>
    where
        In: Serialize + ?Sized,
    {
        CallRequest::new(&self.handle.shared, method, input)
    }

    /// A call whose input is bytes, which the function gets as `bytes`. They are not copied on their way
    /// to the worker, which must speak version 2 of the protocol: in a pool that also has older workers, a call that
    /// comes to one of those fails with [`Error::Encode`].
    ///
    /// ```no_run
    /// # async fn example(pool: pyproc_pool::Pool) -> Result<(), pyproc_pool::Error> {
    /// let samples: Vec<u8> = [1.5_f64, 2.5].iter().flat_map(|it| it.to_le_bytes()).collect();
    /// let sum: f64 = pool.request_bytes("sum", samples).call().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_bytes<'a>(
        &'a self,
        method: &'a str,
        input: impl Into<Bytes>,
    ) -> CallRequest<'a, ()> {
        CallRequest::raw(&self.handle.shared, method, input.into())
    }

    /// A handle that does not keep the pool alive, for code that only looks at it from time to time.
    pub fn downgrade(&self) -> WeakPool {
        WeakPool {
            handle: Arc::downgrade(&self.handle),
        }
    }

    /// The state of the workers at this moment.
    pub fn health(&self) -> Health {
        let workers = self.handle.workers.lock();
        let scheduler = self.handle.shared.driver.lock();
        let health = |(worker, it): (usize, &Worker)| WorkerHealth {
            worker,
            state: it.state,
            pid: it.pid,
            restarts: it.restarts,
            in_flight: scheduler.in_flight_of(worker),
            last_error: it.last_error.clone(),
        };
        Health {
            workers: workers.iter().enumerate().map(health).collect(),
        }
    }

    /// Counts of the calls at this moment, and since the start.
    pub fn stats(&self) -> Stats {
        let restarts = self
            .handle
            .workers
            .lock()
            .iter()
            .map(|it| it.restarts)
            .sum();
        let scheduler = self.handle.shared.driver.lock();
        let counters = scheduler.counters();
        Stats {
            in_flight: scheduler.in_flight(),
            queued: scheduler.queued(),
            capacity: scheduler.capacity(),
            answered: counters.answered,
            rejected: counters.rejected,
            abandoned: counters.abandoned,
            restarts,
        }
    }

    /// Replaces the workers while calls go on, for example after the script or its model changed.
    ///
    /// The workers are replaced one after another. A new worker is started beside the old one, and gets the slot's
    /// calls once it is ready. The old one finishes its calls and gets SIGTERM. It is killed if both together take
    /// longer than `grace`, but it always has half a second to end. So at most one more process runs at a time, and
    /// never one fewer. A slot whose restarts had ended is filled again.
    ///
    /// ```no_run
    /// # async fn example(pool: pyproc_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::signal::unix::{SignalKind, signal};
    ///
    /// let mut hangup = signal(SignalKind::hangup())?;
    /// while hangup.recv().await.is_some() {
    ///     if let Err(error) = pool.reload(Duration::from_secs(30)).await {
    ///         eprintln!("the old workers go on: {error:?}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::StartFailed`] when a new worker does not start; the old one goes on, and so do those after it.
    /// - [`Error::ShutDown`] when the pool is shut down during the reload, [`Error::RuntimeEnded`] when its runtime is
    ///   gone.
    /// - [`Error::Config`] when the workers are external, because the pool cannot start those.
    ///
    /// A call that an old worker has not finished within `grace` fails with [`Error::WorkerDied`], whose cause is
    /// [`DeathCause::Replaced`](crate::DeathCause::Replaced).
    ///
    /// # Cancellation safety
    ///
    /// When the future is dropped, the worker that is being replaced still is, and those after it are not.
    pub async fn reload(&self, grace: Duration) -> Result<ReloadReport, Error> {
        let handle = &self.handle;
        if !handle.shared.config.external_sockets.is_empty() {
            let reason = "workers that the pool has not started are not its own to reload; reload them where they run";
            return Err(ConfigError::new("external_sockets", reason).into());
        }
        let mut killed = 0;
        for slot in &handle.reloads {
            let (done, on_done) = oneshot::channel();
            let turn = Arc::clone(&handle.reload_turn).lock_owned().await;
            let reload = Reload::new(grace, done, turn);
            let asked = slot.send(reload).await;
            asked.map_err(|_| handle.end())?;
            let replaced = on_done.await.map_err(|_| handle.end())?;
            killed += usize::from(replaced.map_err(Error::StartFailed)?);
        }
        Ok(ReloadReport { killed })
    }

    /// Ends the pool in order: rejects new calls, waits up to `deadline` for those that it has, fails the rest with
    /// [`Error::ShutDown`], sends SIGTERM to the workers, and kills those that don't end within the rest of `deadline`,
    /// or half a second if that is longer. Processes that workers leave running get SIGTERM, and are killed two seconds
    /// later. External workers are only disconnected.
    ///
    /// # Cancellation safety
    ///
    /// When the future is dropped, new calls stay rejected; call it again to finish.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let begin = Instant::now();
        let shared = &self.handle.shared;
        shared.driver.lock().refuse_calls();
        let drained = poll_fn(|cx| shared.driver.lock().poll_drained(cx));
        let _ = timeout(deadline, drained).await;
        let cut_off = self.handle.cut_off();

        let rest = deadline.saturating_sub(begin.elapsed());
        let grace = rest.max(SHORTEST_GRACE);
        self.handle.stop.send_replace(Stop::Within(grace));
        let mut killed = 0;
        let mut tasks = self.handle.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            killed += ended.unwrap_or(1);
        }
        self.handle.workers.groups.ended().await;
        self.handle.remove_sockets();
        ShutdownReport { cut_off, killed }
    }
}

impl Handle {
    /// Fails the calls that have no outcome yet, and returns their number.
    fn cut_off(&self) -> usize {
        let mut scheduler = self.shared.driver.lock();
        let unanswered = scheduler.unanswered();
        scheduler.cut_off();
        unanswered
    }

    /// Why the tasks of the slots have ended.
    fn end(&self) -> Error {
        self.shared.driver.lock().why_closed()
    }

    fn remove_sockets(&self) {
        let mut dir = self
            .socket_dir
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(dir.take());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The tasks also kill their workers, but only when their runtime runs, and it may never run again.
        for worker in self.workers.lock().iter_mut() {
            worker.processes.take().for_each(|it| it.kill());
        }
    }
}

#[cfg_attr(
    not(feature = "testing"),
    expect(unused_variables, reason = "only tests attach workers")
)]
fn worker_kinds(
    config: &PoolConfig,
    attached: &Attached,
) -> Result<(Vec<WorkerKind>, Option<SocketDir>), Error> {
    #[cfg(feature = "testing")]
    if let Some(workers) = &attached.in_process {
        let kind = WorkerKind::InProcess(workers.clone());
        return Ok((vec![kind; config.workers], None));
    }
    if !config.external_sockets.is_empty() {
        let external = |path: &PathBuf| WorkerKind::External(path.clone());
        return Ok((config.external_sockets.iter().map(external).collect(), None));
    }
    let dir = SocketDir::create(config.socket_dir.as_deref())?;
    let spawned = |_| WorkerKind::Spawned(dir.sockets().clone());
    Ok(((0..config.workers).map(spawned).collect(), Some(dir)))
}

/// Kills the workers that were started.
async fn end_all(shared: &Shared, workers: &Workers) {
    let processes: Vec<_> = workers
        .lock()
        .iter_mut()
        .enumerate()
        .flat_map(|(worker, it)| it.processes.take().map(move |process| (worker, process)))
        .collect();
    for (worker, process) in processes {
        kill_and_wait(shared, worker, &process).await;
    }
    workers.groups.ended().await;
}

/// Starts all workers at the same time. The first failure ends the start.
async fn start_all(lifecycles: Vec<Lifecycle>) -> Result<JoinSet<usize>, StartFailure> {
    let mut starts = JoinSet::new();
    for mut lifecycle in lifecycles {
        starts.spawn(async move {
            let running = lifecycle.start().await?;
            Ok((lifecycle, running))
        });
    }
    let mut started: Vec<(Lifecycle, Running)> = Vec::new();
    while let Some(result) = starts.join_next().await {
        match result {
            Ok(Ok(worker)) => started.push(worker),
            Ok(Err(failure)) => return Err(failure),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down, and drops this future, too.
                Err(_) => std::future::pending().await,
            },
        }
    }
    let mut tasks = JoinSet::new();
    for (lifecycle, running) in started {
        tasks.spawn(lifecycle.run(running));
    }
    Ok(tasks)
}
