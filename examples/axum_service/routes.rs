use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    routing::{get, post},
};
use pyproc_pool::{Health, Pool, WorkerState};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;

pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/predict", post(predict))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pool)
}

/// Input and result are forwarded as JSON: only Python knows their structure.
///
/// A request waits in the pool's short queue if all workers are busy, so that a burst is served instead of rejected
/// (`try_call` would reject it). The queue and the timeout limit the wait; a request beyond them gets a response at once
/// that asks the client to retry later.
async fn predict(
    State(pool): State<Pool>,
    input: Result<Json<Box<RawValue>>, JsonRejection>,
) -> Result<Json<Box<RawValue>>, Failure> {
    let Json(input) = input?;
    Ok(Json(pool.call("predict", &input).await?))
}

/// The process is alive. A restart of the service would not help if a worker died, so this does not check workers.
async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Readiness {
    workers: usize,
    ready: usize,
    in_flight: usize,
    queued: usize,
    /// The reason why no worker is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The service can handle requests as long as one worker is ready.
async fn readyz(State(pool): State<Pool>) -> (StatusCode, Json<Readiness>) {
    let (health, stats) = (pool.health(), pool.stats());
    let reason = (health.ready() == 0).then(|| why_not_ready(&health));
    let status = match reason {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let readiness = Readiness {
        workers: health.workers.len(),
        ready: health.ready(),
        in_flight: stats.in_flight,
        queued: stats.queued,
        reason,
    };
    (status, Json(readiness))
}

fn why_not_ready(health: &Health) -> String {
    let (mut given_up, mut reason) = (0, "the pool is shut down");
    for worker in &health.workers {
        given_up += usize::from(worker.state == WorkerState::Stopped);
        // Advice and the worker's output follow the cause; they are for the log.
        let error = worker.last_error.as_deref();
        reason = error.and_then(|it| it.split(';').next()).unwrap_or(reason);
    }
    let restarting = health.workers.len() - given_up;
    format!("{restarting} workers restart, {given_up} are given up: {reason}")
}
