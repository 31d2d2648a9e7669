//! A worker that is a task of this process. It speaks the protocol, so all code above the transport is the same as in
//! production.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use pyproc_protocol::{
    Failure, Features, FunctionInfo, Version, WorkerEvent, WorkerInfo, WorkerSession,
    v2::{Body, Method, Request, Response},
};
use serde_json::json;
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};

use super::function::{Function, unwritable};
use crate::{
    RemoteException,
    transport::{Transport, pair},
};

pub(super) type Functions = BTreeMap<String, Function>;

/// The capacity of each direction, in bytes.
const ROOM: usize = 64 * 1024;

/// The workers of one pool.
pub(super) struct Workers {
    functions: Functions,
    max_frame_size: usize,
    /// The newest worker of each slot.
    newest: Mutex<HashMap<usize, AbortHandle>>,
}

impl Workers {
    pub(super) fn new(functions: Functions, max_frame_size: usize) -> Self {
        Self {
            functions,
            max_frame_size,
            newest: Mutex::default(),
        }
    }

    /// Starts a worker for a slot. Must be called within a runtime.
    pub(super) fn start(self: &Arc<Self>, slot: usize) -> Transport {
        let (ours, theirs) = pair(ROOM);
        let worker = Worker {
            session: WorkerSession::new(self.info(), self.max_frame_size),
            of: Arc::clone(self),
            running: JoinSet::new(),
            cancels: HashMap::new(),
            output: Vec::new(),
        };
        let task = tokio::spawn(worker.serve(Transport::Memory(theirs)));
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(slot, task.abort_handle());
        Transport::Memory(ours)
    }

    /// Kills the newest worker of a slot, if it lives; `false` if the slot never had one.
    pub(super) fn kill(&self, slot: usize) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&slot).map(AbortHandle::abort).is_some()
    }

    fn info(&self) -> WorkerInfo {
        let functions = self.functions.keys().map(|name| FunctionInfo {
            name: name.clone(),
            doc: String::new(),
            parameters: json!({}),
            returns: json!({}),
            concurrent: true,
        });
        WorkerInfo {
            features: Features::CALLS,
            agent: concat!("pyproc-pool-testing/", env!("CARGO_PKG_VERSION")).into(),
            functions: functions.collect(),
            ..WorkerInfo::default()
        }
    }
}

struct Worker {
    session: WorkerSession,
    of: Arc<Workers>,
    running: JoinSet<Answered>,
    /// Dropping a sender cancels its call.
    cancels: HashMap<u64, oneshot::Sender<()>>,
    output: Vec<u8>,
}

struct Answered {
    id: u64,
    version: Version,
    result: Result<Body, Failure>,
}

impl Worker {
    /// Serves until the pool closes the connection, the protocol is violated, or a function panics; a panic ends the
    /// worker as a crash ends a process.
    async fn serve(mut self, mut transport: Transport) {
        let mut input = BytesMut::new();
        loop {
            let goes_on = tokio::select! {
                biased;
                Some(answered) = self.running.join_next() => match answered {
                    Ok(answered) => self.answer(answered),
                    Err(_) => return,
                },
                read = transport.read(&mut input) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => self.receive(&mut input),
                },
            };
            let sent = transport.write_all(&self.output).await;
            self.output.clear();
            if !goes_on || sent.is_err() {
                return;
            }
        }
    }

    /// Handles all that has arrived; `false` if it violates the protocol.
    fn receive(&mut self, input: &mut BytesMut) -> bool {
        loop {
            match self.session.receive(input, &mut self.output) {
                Ok(Some(WorkerEvent::Request { version, request })) => self.run(version, request),
                Ok(Some(WorkerEvent::Cancellation(it))) => drop(self.cancels.remove(&it.id)),
                // A drain: the pool closes the connection when it has its answers.
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn run(&mut self, version: Version, request: Request) {
        let Request {
            id, method, body, ..
        } = request;
        let function = match &method {
            Method::Name(name) => self.of.functions.get(name).cloned(),
            Method::Index(at) => self.of.functions.values().nth((*at).into()).cloned(),
        };
        let (cancel, cancelled) = oneshot::channel();
        self.cancels.insert(id, cancel);
        self.running.spawn(async move {
            let call = async {
                match function {
                    Some(function) => function(body).await,
                    None => Err(not_found(&method)),
                }
            };
            let result = tokio::select! {
                biased;
                _ = cancelled => Err(cancellation()),
                result = call => result,
            };
            Answered {
                id,
                version,
                result,
            }
        });
    }

    /// Encodes an answer; `false` if that is impossible.
    fn answer(&mut self, answered: Answered) -> bool {
        let Answered {
            id,
            version,
            result,
        } = answered;
        self.cancels.remove(&id);
        let answer = match result {
            Ok(body) => Response::success(id, body),
            Err(failure) => Response::failure(id, failure),
        };
        let Err(error) = self.session.respond(version, answer, &mut self.output) else {
            return true;
        };
        let answer = Response::failure(id, unwritable(error));
        let responded = self.session.respond(version, answer, &mut self.output);
        responded.is_ok()
    }
}

fn not_found(method: &Method) -> Failure {
    let name = match method {
        Method::Name(name) => name.clone(),
        Method::Index(at) => at.to_string(),
    };
    Failure {
        type_name: RemoteException::METHOD_NOT_FOUND.into(),
        message: format!("Method '{name}' not found"),
        ..Failure::default()
    }
}

/// The failure of a cancelled call, as that of an `async def` function.
fn cancellation() -> Failure {
    Failure {
        type_name: "asyncio.CancelledError".into(),
        ..Failure::default()
    }
}
