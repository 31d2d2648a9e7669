//! OTLP, over HTTP (`http.rs`, `http_client/`) and gRPC (`grpc.rs`, `grpc_client.rs`). Here are the rules for both:
//! when to retry, and how many spans were refused. What must stay true: a request is retried until its deadline at
//! most, and a shutdown ends a pause between attempts.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

use super::{Pause, log_limit::LogLimit};
use crate::ExportError;

#[cfg(feature = "grpc")]
pub(crate) mod grpc;
#[cfg(feature = "grpc")]
pub(crate) mod grpc_client;
pub(crate) mod http;
pub(crate) mod http_client;

/// The pause between the first two attempts. Each further pause is twice as long, up to the longest. A random part of
/// up to a half is taken off, so that many services do not retry at the same moment.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: ExportError,
    /// The pause that the collector asked for.
    pub(crate) retry_after: Option<Duration>,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

/// Sends a request until it is delivered or refused, or the deadline passes.
pub(crate) fn send_until<T>(
    deadline: Instant,
    pause: &Pause,
    mut send: impl FnMut() -> Result<T, Failure>,
) -> Result<T, ExportError> {
    let mut wait = FIRST_WAIT;
    loop {
        let failure = match send() {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let jittered = wait.mul_f64(1.0 - fastrand::f64() / 2.0);
        let wake = Instant::now().checked_add(failure.retry_after.unwrap_or(jittered));
        let worth_waiting = wake.filter(|wake| *wake < deadline && !failure.error.refused);
        match worth_waiting {
            Some(wake) if pause.until(wake, &failure.error) => {}
            _ => return Err(failure.error),
        }
        wait = LONGEST_WAIT.min(wait * 2);
    }
}

/// How many spans of a delivered request were refused.
pub(super) fn refused(response: ExportTraceServiceResponse) -> u64 {
    let Some(partial) = response.partial_success else {
        return 0;
    };
    static LIMIT: LogLimit = LogLimit::new();
    let worth_a_line = partial.rejected_spans > 0 || !partial.error_message.is_empty();
    if worth_a_line && let Some(times) = LIMIT.record_event() {
        tracing::warn!(
            refused = partial.rejected_spans,
            message = partial.error_message,
            times,
            "the collector did not take all spans"
        );
    }
    u64::try_from(partial.rejected_spans).unwrap_or(0)
}
