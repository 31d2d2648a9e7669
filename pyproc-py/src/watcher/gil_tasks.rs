//! What needs the interpreter lock (GIL) while a function runs: cancelling functions, answering hellos, and starting
//! `async def` functions. A thread of its own waits for the lock, so that the watcher goes on.
//!
//! A function may keep the lock for long, so the tasks that wait for the thread are bounded. Beyond
//! [`MAX_WAITING_BYTES`], requests stay with their connection, which stops reading in time, and cancelled functions
//! are collected, each once.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use pyproc_protocol::AcceptedHello;

use crate::package::Functions;
use crate::run::answers::{self, FailedRequest};
use crate::run::{async_calls, hello};
use crate::state::{CancelledCalls, ConnectionId, Core};
use crate::transport::{Call, Channel, PendingRequest, Target};
use crate::types::json::KeyCache;

/// While the tasks that wait have more bytes, no requests are added.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// About the bytes of a task, and of a call without its body.
const OVERHEAD: usize = 512;

/// What is left to do after a connection was read.
pub(super) struct GilTask {
    pub(super) connection_id: ConnectionId,
    pub(super) cancelled: CancelledCalls,
    /// Calls of `async def` functions.
    pub(super) calls: Vec<Call>,
    pub(super) channel: Option<Channel>,
    /// A hello to answer.
    pub(super) greeting: Option<AcceptedHello>,
}

impl GilTask {
    fn cancellation(connection_id: ConnectionId, cancelled: CancelledCalls) -> Self {
        Self {
            connection_id,
            cancelled,
            calls: Vec::new(),
            channel: None,
            greeting: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.cancelled.is_empty() && self.calls.is_empty() && self.greeting.is_none()
    }

    fn size(&self) -> usize {
        let calls = self.calls.iter().map(|call| OVERHEAD + call.body.len());
        OVERHEAD + calls.sum::<usize>()
    }
}

/// The thread, which starts with the first task and ends with this value.
pub(super) struct GilTasks {
    core: Arc<Core>,
    thread: Option<(Sender<GilTask>, JoinHandle<()>)>,
    /// Bytes of the tasks that wait for the thread.
    waiting_bytes: Arc<AtomicUsize>,
    /// Functions to cancel when fewer bytes wait.
    postponed: Option<GilTask>,
}

impl GilTasks {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            thread: None,
            waiting_bytes: Arc::default(),
            postponed: None,
        }
    }

    /// Whether so much waits that tasks with requests must not be sent.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) > MAX_WAITING_BYTES
    }

    pub(super) fn send(&mut self, mut task: GilTask) {
        if self.is_full() {
            self.postpone(task.connection_id, mem::take(&mut task.cancelled));
        }
        if !task.is_empty() {
            self.send_now(task);
        }
    }

    /// Sends the cancellations that were postponed because too much waited.
    pub(super) fn send_postponed(&mut self) {
        if let Some(task) = self.postponed.take() {
            self.send_now(task);
        }
    }

    fn postpone(&mut self, connection_id: ConnectionId, cancelled: CancelledCalls) {
        match &mut self.postponed {
            Some(task) => task.cancelled.merge(cancelled),
            None => self.postponed = Some(GilTask::cancellation(connection_id, cancelled)),
        }
    }

    fn send_now(&mut self, task: GilTask) {
        if self.thread.is_none() {
            let (sender, receiver) = channel();
            let (core, waiting_bytes) = (Arc::clone(&self.core), Arc::clone(&self.waiting_bytes));
            let builder = thread::Builder::new().name("pyproc-gil".into());
            let Ok(thread) = builder.spawn(move || run(&core, &receiver, &waiting_bytes)) else {
                return self.put_back(task);
            };
            self.thread = Some((sender, thread));
        }
        if let Some((sender, _)) = &self.thread {
            self.waiting_bytes.fetch_add(task.size(), Ordering::AcqRel);
            // The thread ends only with the sender.
            let _ = sender.send(task);
        }
    }

    /// Without a thread, clients wait until the function has ended.
    fn put_back(&mut self, task: GilTask) {
        self.postponed = Some(GilTask::cancellation(task.connection_id, task.cancelled));
        let mut state = self.core.lock();
        state.put_back_async(task.connection_id, task.calls);
        if let Some(greeting) = task.greeting {
            state.put_back_hello(task.connection_id, greeting);
        }
    }
}

impl Drop for GilTasks {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // It ends by itself even if it panicked.
            let _ = thread.join();
        }
    }
}

fn run(core: &Arc<Core>, tasks: &Receiver<GilTask>, waiting_bytes: &AtomicUsize) {
    let (mut functions, mut keys) = (Functions::default(), KeyCache::new());
    for task in tasks {
        let size = task.size();
        Python::attach(|py| {
            core.cancel(py, task.cancelled);
            let (connection_id, count) = (task.connection_id, task.calls.len());
            let channel = task.channel.as_ref();
            let started = start_calls(
                py,
                core,
                &mut functions,
                &mut keys,
                connection_id,
                task.calls,
                channel,
            );
            if let Err(error) = started {
                error.write_unraisable(py, None);
            }
            if let Some(greeting) = task.greeting {
                answer_hello(py, core, &mut functions, connection_id, &greeting);
            }
            core.lock().on_async_begun(connection_id, count);
            core.wake();
        });
        waiting_bytes.fetch_sub(size, Ordering::AcqRel);
    }
    Python::attach(|_| drop((functions, keys)));
}

fn answer_hello(
    py: Python<'_>,
    core: &Arc<Core>,
    functions: &mut Functions,
    connection_id: ConnectionId,
    greeting: &AcceptedHello,
) {
    let mut out = Vec::new();
    let answered = hello::answer(py, core, functions, connection_id, greeting, &mut out);
    if let Err(error) = answered {
        error.write_unraisable(py, None);
    }
    if let Some(connection) = core.lock().get(connection_id) {
        connection.outgoing.append(&mut out);
        connection.is_blocked = false;
        // The thread that polls the connection notices if the client is gone.
        let _ = connection.flush();
    }
}

fn start_calls(
    py: Python<'_>,
    core: &Arc<Core>,
    functions: &mut Functions,
    keys: &mut KeyCache,
    connection_id: ConnectionId,
    calls: Vec<Call>,
    channel: Option<&Channel>,
) -> PyResult<()> {
    let mut prepared = Vec::new();
    let mut failures = Vec::new();
    for call in calls {
        let Target::Name(name) = &call.target else {
            continue;
        };
        let Some(id) = functions.find(py, &core.package, name)? else {
            continue;
        };
        let (function, plan) = functions.get(py, id)?;
        if !function.is_async {
            // A plain function has replaced it under its name.
            let request = PendingRequest::Call(call);
            core.lock().put_back_plain(connection_id, request);
            continue;
        }
        let (version, id) = (call.version, call.id);
        match async_calls::prepare(core, keys, connection_id, channel, call, function, plan) {
            Ok(call) => prepared.push(call),
            Err(error) => {
                let form = core.response_encoder(connection_id, version);
                let failed = FailedRequest {
                    id,
                    method: &function.name,
                    times: None,
                };
                answers::write_failure(py, &core.package, form, failed, &error, &mut failures)?;
            }
        }
    }
    if !prepared.is_empty() {
        async_calls::submit(py, core, prepared)?;
    }
    if let Some(connection) = core.lock().get(connection_id) {
        connection.outgoing.append(&mut failures);
    }
    Ok(())
}
