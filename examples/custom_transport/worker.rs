//! The end that answers.

use pyproc_protocol::{
    DEFAULT_MAX_FRAME_SIZE, ERROR_TYPE, Features, FunctionInfo, RawJson, Request, Response,
    SessionError, WorkerEvent, WorkerInfo, WorkerSession,
};
use serde_json::json;

use crate::transport::Transport;

type Function = fn([i64; 2]) -> Result<i64, Failure>;

/// The name of the error's type, and its message.
type Failure = (&'static str, String);

const FUNCTIONS: [(&str, &str, Function); 2] = [
    ("add", "The sum of two integers.", |[a, b]| {
        a.checked_add(b).ok_or_else(overflow)
    }),
    (
        "divide",
        "The quotient of two integers.",
        |[a, b]| match b {
            0 => Err(("ZeroDivisionError", "division by zero".into())),
            _ => a.checked_div(b).ok_or_else(overflow),
        },
    ),
];

/// Answers until the client closes the connection.
pub(crate) fn serve(mut transport: Transport) -> anyhow::Result<()> {
    let mut session = WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE);
    loop {
        let outcome = answer_all(&mut session, &mut transport);
        // Also after an error, which has left a farewell to send.
        transport.flush()?;
        outcome?;
        if !transport.fill()? {
            return Ok(());
        }
    }
}

/// Answers the requests that have arrived whole.
fn answer_all(session: &mut WorkerSession, transport: &mut Transport) -> anyhow::Result<()> {
    while let Some(event) = next_event(session, transport)? {
        // Functions are done before a cancellation could be read, so there is nothing to cancel.
        if let WorkerEvent::Request(request) = event {
            session.respond(answer(&request)?, &mut transport.output)?;
        }
    }
    Ok(())
}

fn next_event(
    session: &mut WorkerSession,
    transport: &mut Transport,
) -> Result<Option<WorkerEvent>, SessionError> {
    session.receive(&mut transport.input, &mut transport.output)
}

fn answer(request: &Request) -> anyhow::Result<Response> {
    match run(request) {
        Ok(result) => Ok(Response::success(request.id, RawJson::encode(&result)?)),
        Err((kind, message)) => {
            let mut response = Response::failure(request.id, message);
            response.headers.insert(ERROR_TYPE.into(), kind.into());
            Ok(response)
        }
    }
}

fn run(request: &Request) -> Result<i64, Failure> {
    let method = &request.method;
    let (_, _, function) = FUNCTIONS
        .iter()
        .find(|(name, ..)| name == method)
        .ok_or_else(|| {
            (
                "pyproc_worker.MethodNotFound",
                format!("Method '{method}' not found"),
            )
        })?;
    let input = request.body.decode();
    function(input.map_err(|error| ("pyproc_worker.InvalidRequest", error.to_string()))?)
}

fn overflow() -> Failure {
    ("OverflowError", "the result has no room in 64 bits".into())
}

fn info() -> WorkerInfo {
    let describe = |(name, doc, _): &(&str, &str, Function)| FunctionInfo {
        name: (*name).into(),
        doc: (*doc).into(),
        parameters: json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        returns: json!({"type": "integer"}),
    };
    WorkerInfo {
        features: Features::ALL,
        agent: "arithmetic/1.0".into(),
        pid: std::process::id(),
        functions: FUNCTIONS.iter().map(describe).collect(),
        ..WorkerInfo::default()
    }
}
