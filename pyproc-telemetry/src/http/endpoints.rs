use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY},
};
use prometheus::Registry;
use pyproc_pool::{Health, Pool, WorkerState};

use super::{body::Body, scrape::ScrapeQueue};
use crate::{
    Exemplars, MetricsFormat,
    metrics::exposition::{Exposition, MAX_BYTES},
};

const TEXT: &str = "text/plain; charset=utf-8";

/// Whether the service is ready.
///
/// Called for each request to `/readyz`, on a thread of the server, so it must return at once.
pub trait Readiness: Send + Sync {
    /// The error is part of the answer.
    ///
    /// # Errors
    ///
    /// Why the service is not ready.
    fn check(&self) -> Result<(), String>;
}

impl<F: Fn() -> Result<(), String> + Send + Sync> Readiness for F {
    fn check(&self) -> Result<(), String> {
        self()
    }
}

/// Answers `/metrics`, `/healthz` and `/readyz`. Cheap to clone.
///
/// A thread of its own gathers and writes metrics while they are read, for one scrape at a time. The next scrape waits.
/// While others wait, a scrape ends early if its reader stalls for one second (less if many wait), or if it takes
/// longer than ten seconds. So an answer takes little memory, whatever its size.
#[derive(Clone)]
pub struct Endpoints {
    registry: Registry,
    exemplars: Exemplars,
    readiness: Arc<dyn Readiness>,
    max_metrics_bytes: usize,
    queue: ScrapeQueue,
}

impl Endpoints {
    /// Endpoints for this registry. `/readyz` always answers ready.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            exemplars: Exemplars::default(),
            readiness: Arc::new(|| Ok(())),
            max_metrics_bytes: MAX_BYTES,
            queue: ScrapeQueue::default(),
        }
    }

    /// Adds these exemplars to OpenMetrics answers.
    #[must_use]
    pub fn exemplars(mut self, exemplars: &Exemplars) -> Self {
        self.exemplars = exemplars.clone();
        self
    }

    /// The most bytes of one answer to `/metrics`. Default 64 MiB, at least 4 KiB. Series beyond that are left out and
    /// counted in a gauge `pyproc_metrics_omitted_series`, which exists only then. A warning is logged, too.
    #[must_use]
    pub fn max_metrics_bytes(mut self, bytes: usize) -> Self {
        self.max_metrics_bytes = bytes.max(4 * 1024);
        self
    }

    /// Answers ready while this check passes.
    #[must_use]
    pub fn ready_when(mut self, readiness: impl Readiness + 'static) -> Self {
        self.readiness = Arc::new(readiness);
        self
    }

    /// Answers ready while a worker of the pool is ready; otherwise the answer has the workers' states. It does not
    /// keep the pool alive.
    #[must_use]
    pub fn ready_with(self, pool: &Pool) -> Self {
        let pool = pool.downgrade();
        self.ready_when(move || match pool.upgrade() {
            Some(pool) => any_worker(&pool.health()),
            None => Err("the pool has ended".into()),
        })
    }

    /// Answers any request: 404 for other paths, 405 for other methods than `GET` and `HEAD`.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<Body> {
        let answer = match request.uri().path() {
            "/metrics" => Self::metrics,
            "/healthz" => |_: &Self, _: &HeaderMap| Self::healthz(),
            "/readyz" => |this: &Self, _: &HeaderMap| this.readyz(),
            _ => {
                return text(
                    StatusCode::NOT_FOUND,
                    "no such path; try /metrics, /healthz or /readyz\n",
                );
            }
        };
        match *request.method() {
            Method::GET => answer(self, request.headers()),
            Method::HEAD => answer(self, request.headers()).map(|_| Body::text("")),
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
        }
    }

    /// The metrics, in the format that the header `Accept` prefers. The body is an error if they cannot be written
    /// completely.
    pub fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let accept: Vec<_> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|it| it.to_str().ok())
            .collect();
        let format = MetricsFormat::accepted(Some(&accept.join(",")));
        let scrape = self.queue.scrape(Exposition {
            registry: self.registry.clone(),
            exemplars: self.exemplars.clone(),
            format,
            max_bytes: self.max_metrics_bytes,
        });
        let mut response = match scrape {
            Ok(reader) => answer(StatusCode::OK, format.content_type(), Body::metrics(reader)),
            Err(error) => {
                tracing::warn!(%error, "no thread for the metrics");
                text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no thread for the metrics\n",
                )
            }
        };
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("accept"));
        response
    }

    /// The liveness probe: always 200.
    pub fn healthz() -> Response<Body> {
        text(StatusCode::OK, "ok\n")
    }

    /// The readiness probe: 200 when ready, else 503 with the reason.
    pub fn readyz(&self) -> Response<Body> {
        match self.readiness.check() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {reason}\n"),
            ),
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Endpoints {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

/// Without the reasons, which may quote a worker's output: the endpoint is public.
fn any_worker(health: &Health) -> Result<(), String> {
    let count = |states: &[WorkerState]| {
        let workers = health.workers.iter();
        workers.filter(|it| states.contains(&it.state)).count()
    };
    if health.ready() > 0 {
        return Ok(());
    }
    Err(format!(
        "none of {} workers is ready: {} starting, {} stopped",
        health.workers.len(),
        count(&[WorkerState::Starting, WorkerState::Restarting]),
        count(&[WorkerState::Stopped]),
    ))
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    answer(status, TEXT, Body::text(text))
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
