use std::{io, time::Duration};

use pyproc_protocol::{
    ERROR_TRACEBACK, ERROR_TYPE, EncodeError, Headers, PreparedRequest, RawJson, Response,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    Deadline, Error, RemoteException, TimeoutError,
    pending::{DeadlinePassed, Pending, take_buffer},
    scheduler::Admission,
    shared::Shared,
};

/// A call with settings of its own, from [`Pool::request`](crate::Pool::request).
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
#[derive(Debug)]
#[must_use = "nothing is sent before `call` or `try_call`"]
pub struct CallRequest<'a, In: ?Sized> {
    shared: &'a Shared,
    method: &'a str,
    input: &'a In,
    timeout: Option<Duration>,
    headers: Headers,
}

impl<'a, In: Serialize + ?Sized> CallRequest<'a, In> {
    pub(crate) fn new(shared: &'a Shared, method: &'a str, input: &'a In) -> Self {
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

    /// Makes the call; waits for capacity if need be.
    ///
    /// # Errors
    ///
    /// See [`Pool::call`](crate::Pool::call).
    pub async fn call<Out: DeserializeOwned>(self) -> Result<Out, Error> {
        self.run(Admission::Queue).await
    }

    /// Makes the call if there is capacity for it now.
    ///
    /// # Errors
    ///
    /// See [`Pool::try_call`](crate::Pool::try_call).
    pub async fn try_call<Out: DeserializeOwned>(self) -> Result<Out, Error> {
        self.run(Admission::Now).await
    }

    async fn run<Out: DeserializeOwned>(self, admission: Admission) -> Result<Out, Error> {
        let now = Instant::now();
        let limit = self.timeout.unwrap_or(self.shared.config.request_timeout);
        let request = self.prepare()?;
        let pending = Pending::submit(self.shared, request, admission, now)?;
        let outcome = pending.outcome(far(now, limit)).await;
        let (worker, response) = outcome.map_err(|passed| self.timed_out(limit, passed))??;
        self.read(worker, response)
    }

    fn prepare(&self) -> Result<PreparedRequest, Error> {
        let max = self.shared.config.max_frame_size;
        PreparedRequest::new(self.method, self.input, &self.headers, max, take_buffer())
            .map_err(|source| self.cannot_send(source))
    }

    fn cannot_send(&self, source: EncodeError) -> Error {
        Error::Encode {
            method: self.method.into(),
            path: match source {
                EncodeError::Json(_) => path_of_bad_field(self.input),
                _ => String::new(),
            },
            source,
        }
    }

    fn timed_out(&self, limit: Duration, passed: DeadlinePassed) -> Error {
        Error::Timeout(TimeoutError {
            method: self.method.into(),
            limit,
            deadline: match self.timeout {
                Some(_) => Deadline::Call,
                None => Deadline::Pool,
            },
            worker: passed.0,
        })
    }

    fn read<Out: DeserializeOwned>(&self, worker: usize, response: Response) -> Result<Out, Error> {
        match response.result {
            Ok(body) => body.decode().map_err(|_| self.cannot_read::<Out>(&body)),
            Err(message) => Err(self.remote(worker, message, response.headers)),
        }
    }

    fn remote(&self, worker: usize, message: String, mut headers: Headers) -> Error {
        Error::Remote(RemoteException {
            method: self.method.into(),
            worker,
            type_name: headers.remove(ERROR_TYPE),
            message,
            traceback: headers.remove(ERROR_TRACEBACK),
        })
    }

    /// Reads a second time, now following the path: what everybody would pay for, only who
    /// fails does.
    #[cold]
    fn cannot_read<Out: DeserializeOwned>(&self, body: &RawJson) -> Error {
        let mut json = serde_json::Deserializer::from_slice(body.as_bytes());
        let (path, source) = match serde_path_to_error::deserialize::<_, Out>(&mut json) {
            Err(error) => (error.path().to_string(), error.into_inner()),
            // A type that reads differently the second time.
            Ok(_) => {
                let odd = io::Error::other("the type read the same bytes differently");
                (String::new(), serde::de::Error::custom(odd))
            }
        };
        Error::Decode {
            method: self.method.into(),
            path: if path == "." { String::new() } else { path },
            source,
        }
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

/// A limit too far away for the clock is as good as a year.
fn far(now: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + limit.min(YEAR)
}
