use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::{HeaderName, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use pyproc_pool::{Error, ErrorKind, RemoteException};
use serde_json::json;

const RETRY_AFTER_ONE_SECOND: [(HeaderName, &str); 1] = [(RETRY_AFTER, "1")];

/// An error response: a status, and JSON with `type` and `message`.
pub(crate) struct Failure {
    status: StatusCode,
    kind: String,
    message: String,
    retryable: bool,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(json!({"type": self.kind, "message": self.message}));
        if self.retryable {
            (self.status, RETRY_AFTER_ONE_SECOND, body).into_response()
        } else {
            (self.status, body).into_response()
        }
    }
}

/// The body is not JSON (400), is too large (413), or has another content type (415).
impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            kind: "bad_request".into(),
            message: rejection.body_text(),
            retryable: false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Remote(exception) => Self::raised(exception),
            error => Self::of_the_pool(error),
        }
    }
}

impl Failure {
    fn raised(exception: RemoteException) -> Self {
        let status = match exception.kind() {
            // The input does not match the function's type hints, or the function raised an error that blames its caller.
            ErrorKind::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            _ => {
                eprintln!("{exception}");
                eprintln!("{}", exception.traceback.as_deref().unwrap_or_default());
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self {
            status,
            kind: exception.type_name.unwrap_or("unknown".into()),
            message: exception.message,
            retryable: false,
        }
    }

    /// The details are in the service's log, for its operator; a client cannot use them.
    fn of_the_pool(error: Error) -> Self {
        let (status, message) = match &error {
            Error::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, error.to_string()),
            Error::Overloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Error::NoWorkers(_) | Error::ShutDown | Error::RuntimeEnded => {
                (StatusCode::SERVICE_UNAVAILABLE, "no worker is left".into())
            }
            Error::WorkerDied(_) | Error::Protocol { .. } => (
                StatusCode::BAD_GATEWAY,
                "the worker failed that had the request".into(),
            ),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "the pool failed".into()),
        };
        let (kind, retryable) = (error.kind().to_string(), error.is_retryable());
        if !retryable {
            eprintln!("{error}");
        }
        Self {
            status,
            kind,
            message,
            retryable,
        }
    }
}
