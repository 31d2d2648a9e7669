use std::{
    fmt,
    future::poll_fn,
    io,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pyproc_protocol::{Codec, EncodeError, Failure, Headers, RequestHead, encode_json, v2::Body};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    pending::{DeadlinePassed, Pending, take_buffer},
    read,
};
use crate::{
    Deadline, Error, ErrorKind, RemoteException, TimeoutError,
    observe::{CallOutcome, CallSummary, CallTracker},
    outgoing::{Envelope, Outgoing, Payload, TRACEPARENT_ROOM},
    scheduler::{Admission, Answered, LARGE},
    shared::Shared,
};

/// A call with settings of its own, from [`Pool::request`](crate::Pool::request) or
/// [`Pool::request_bytes`](crate::Pool::request_bytes).
///
/// ```no_run
/// # async fn example(pool: pyproc_pool::Pool) -> Result<(), pyproc_pool::Error> {
/// use std::time::Duration;
///
/// let answer: f64 = pool
///     .request("score", &["a", "b"])
///     .timeout(Duration::from_millis(200))
///     .header("tenant", "acme")
///     .call()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before `call` or `try_call`"]
pub struct CallRequest<'a, In: ?Sized> {
    shared: &'a Shared,
    method: &'a str,
    input: Input<'a, In>,
    timeout: Option<Duration>,
    headers: Headers,
}

enum Input<'a, In: ?Sized> {
    Json(&'a In),
    #[cfg(feature = "msgpack")]
    MessagePack(&'a In),
    Raw(Bytes),
}

/// Without the input and the values of headers, which may be secret.
impl<In: ?Sized> fmt::Debug for CallRequest<'_, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRequest")
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .field("headers", &Vec::from_iter(self.headers.keys()))
            .finish_non_exhaustive()
    }
}

impl<'a> CallRequest<'a, ()> {
    pub(crate) fn raw(shared: &'a Shared, method: &'a str, input: Bytes) -> Self {
        Self::of(shared, method, Input::Raw(input))
    }
}

impl<'a, In: Serialize + ?Sized> CallRequest<'a, In> {
    pub(crate) fn new(shared: &'a Shared, method: &'a str, input: &'a In) -> Self {
        Self::of(shared, method, Input::Json(input))
    }

    fn of(shared: &'a Shared, method: &'a str, input: Input<'a, In>) -> Self {
        Self {
            shared,
            method,
            input,
            timeout: None,
            headers: Headers::new(),
        }
    }

    /// How long the call may take, waiting included, instead of the pool's
    /// `request_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds a header: metadata that travels beside the input. At most 128, with 64 KiB together.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sends the input as MessagePack, with structs as maps, and gets the result as MessagePack. The worker must speak
    /// version 2 of the protocol and have the Python package `msgspec` or `msgpack`.
    #[cfg(feature = "msgpack")]
    pub fn msgpack(mut self) -> Self {
        if let Input::Json(input) = self.input {
            self.input = Input::MessagePack(input);
        }
        self
    }

    /// Makes the call; waits for capacity if need be.
    ///
    /// # Errors
    ///
    /// See [`Pool::call`](crate::Pool::call).
    pub fn call<Out: DeserializeOwned>(self) -> impl Future<Output = Result<Out, Error>> {
        self.run(Admission::Queue, read::value)
    }

    /// Makes the call if there is capacity for it now.
    ///
    /// # Errors
    ///
    /// See [`Pool::try_call`](crate::Pool::try_call).
    pub fn try_call<Out: DeserializeOwned>(self) -> impl Future<Output = Result<Out, Error>> {
        self.run(Admission::Now, read::value)
    }

    /// Makes a call whose result is bytes, which are not copied; waits for capacity if need be.
    ///
    /// # Errors
    ///
    /// See [`Pool::call`](crate::Pool::call); [`Error::Decode`] when the function returned something else than
    /// `bytes`, `bytearray` or `memoryview`.
    pub fn call_bytes(self) -> impl Future<Output = Result<Bytes, Error>> {
        self.run(Admission::Queue, read::bytes)
    }

    async fn run<Out>(
        self,
        admission: Admission,
        read: fn(&str, Body) -> Result<Out, Error>,
    ) -> Result<Out, Error> {
        let now = self.shared.clock.now();
        let (shared, method, timeout) = (self.shared, self.method, self.timeout);
        let limit = timeout.unwrap_or(shared.config.request_timeout);
        let deadline = far(now, limit);
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut tracker = CallTracker::new(now, shared.clock);
        // The future keeps little but the pending call while it waits, because every call has such a future.
        let outcome = match self.submit(admission, deadline, waker, &mut tracker) {
            Ok(mut pending) => pending.outcome().await,
            Err(error) => Ok(Err(error)),
        };
        let mut seen = CallSummary::default();
        let result = match outcome {
            Ok(outcome) => outcome.and_then(|answered| {
                let Answered {
                    worker,
                    sent,
                    received,
                    ref answer,
                    ..
                } = answered;
                seen = tracker.summary(worker, sent, received, answer);
                let worker_lists_none = answered.worker_lists_none;
                let result = result(shared, method, answered)?;
                if worker_lists_none && !tracker.confirmed {
                    tracker.confirmed = shared.driver.lock().methods().confirm(method);
                }
                read(method, result)
            }),
            Err(passed) => Err(timed_out(method, limit, timeout, passed)),
        };
        let outcome = match &result {
            Ok(_) => CallOutcome::Success,
            Err(error) => {
                seen.worker = seen.worker.or(error.worker());
                CallOutcome::Error(error)
            }
        };
        shared.finish(method, &mut tracker, seen, outcome);
        result
    }

    fn submit<'w>(
        self,
        admission: Admission,
        deadline: Instant,
        waker: Waker,
        tracker: &'w mut CallTracker,
    ) -> Result<Pending<'w>, Error>
    where
        'a: 'w,
    {
        let (shared, method) = (self.shared, self.method);
        let submitted = match self.prepare(deadline, tracker) {
            Ok(request) => {
                tracker.request_bytes = request.payload.as_slice().len();
                Pending::submit(shared, method, request, admission, waker, tracker)
            }
            Err(error) => {
                let mut scheduler = shared.driver.lock();
                let number = scheduler.methods().find(method);
                tracker.confirmed = scheduler.methods().is_confirmed(number);
                Err(error)
            }
        };
        submitted.inspect_err(|error| shared.log_refusal(error))
    }

    fn prepare(mut self, deadline: Instant, tracker: &mut CallTracker) -> Result<Outgoing, Error> {
        if let Some(inject) = &self.shared.inject_headers.0 {
            inject(&mut self.headers);
        }
        let observer = self.shared.observer.as_deref();
        let wants_times = tracker.begin(observer, self.method, &mut self.headers);
        let max = self.shared.config.max_frame_size;
        let mut room = RequestHead::max_payload(self.method, &self.headers, max);
        if tracker.trace.is_some() {
            room = room.saturating_sub(TRACEPARENT_ROOM);
        }
        let (codec, payload) =
            self.input
                .payload(room)
                .map_err(|(path, source)| Error::Encode {
                    method: self.method.into(),
                    path,
                    source: match source {
                        EncodeError::TooLarge { .. } => EncodeError::TooLarge { max },
                        other => other,
                    },
                })?;
        let envelope = Envelope {
            codec,
            headers: self.headers,
            trace: tracker.trace,
            wants_times,
            deadline,
        };
        Ok(Outgoing { envelope, payload })
    }
}

impl<In: Serialize + ?Sized> Input<'_, In> {
    /// The payload, of at most `room` bytes; or the path of the error, and the error.
    fn payload(self, room: usize) -> Result<(Codec, Payload), (String, EncodeError)> {
        match self {
            Self::Json(value) => {
                let mut buffer = take_buffer();
                buffer.clear();
                match encode_json(value, room, &mut buffer) {
                    Ok(()) => Ok((Codec::Json, Payload::Buffer(buffer))),
                    Err(source @ EncodeError::Json(_)) => Err((path_of_bad_field(value), source)),
                    Err(source) => Err((String::new(), source)),
                }
            }
            #[cfg(feature = "msgpack")]
            Self::MessagePack(value) => {
                let payload = crate::call::msgpack::encode(value, room);
                let payload = payload.map_err(|source| (String::new(), source))?;
                Ok((Codec::MessagePack, Payload::Buffer(payload)))
            }
            Self::Raw(bytes) if bytes.len() > room => {
                Err((String::new(), EncodeError::TooLarge { max: room }))
            }
            // It would be copied anyway, but under the scheduler's lock, where dropping it would run its owner's code.
            Self::Raw(bytes) if bytes.len() < LARGE => {
                let mut buffer = take_buffer();
                buffer.clear();
                buffer.extend_from_slice(&bytes);
                Ok((Codec::Raw, Payload::Buffer(buffer)))
            }
            Self::Raw(bytes) => Ok((Codec::Raw, Payload::Shared(bytes))),
        }
    }
}

fn timed_out(
    method: &str,
    limit: Duration,
    own: Option<Duration>,
    passed: DeadlinePassed,
) -> Error {
    Error::Timeout(TimeoutError {
        method: method.into(),
        limit,
        deadline: match own {
            Some(_) => Deadline::Call,
            None => Deadline::Pool,
        },
        worker: passed.0,
    })
}

fn result(shared: &Shared, method: &str, answered: Answered) -> Result<Body, Error> {
    let worker = answered.worker;
    answered
        .answer
        .result
        .map_err(|failure| Error::Remote(remote(shared, method, worker, *failure)))
}

#[cold]
fn remote(shared: &Shared, method: &str, worker: usize, failure: Failure) -> RemoteException {
    let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut exception = RemoteException::new(method, failure.type_name, failure.message);
    exception.worker = worker;
    exception.type_name = exception.type_name.and_then(non_empty);
    exception.traceback = non_empty(failure.traceback);
    exception.retryable = failure.retryable;
    match exception.kind() {
        ErrorKind::NotFound => exception.with_functions(shared.driver.lock().functions_of(worker)),
        _ => exception,
    }
}

#[cold]
fn path_of_bad_field<T: Serialize + ?Sized>(value: &T) -> String {
    let mut track = serde_path_to_error::Track::new();
    let mut discard = serde_json::Serializer::new(io::sink());
    let tracked = serde_path_to_error::Serializer::new(&mut discard, &mut track);
    match value.serialize(tracked) {
        Ok(()) => String::new(),
        Err(_) => match track.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        },
    }
}

/// A limit that the clock cannot represent becomes a year.
fn far(now: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + limit.min(YEAR)
}
