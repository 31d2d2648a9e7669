//! The worker's end.

use pyproc_protocol::{
    DEFAULT_MAX_FRAME_SIZE, Failure, Features, FunctionInfo, WorkerEvent, WorkerInfo,
    WorkerSession,
    v2::{Body, Method, Request, Response},
};
use serde_json::json;

use crate::transport::Transport;

type Function = fn([i64; 2]) -> Result<i64, Failure>;

const FUNCTIONS: [(&str, &str, Function); 2] = [
    ("add", "The sum of two integers.", |[a, b]| {
        a.checked_add(b).ok_or_else(overflow)
    }),
    (
        "divide",
        "The quotient of two integers.",
        |[a, b]| match b {
            0 => Err(failure("ZeroDivisionError", "division by zero")),
            _ => a.checked_div(b).ok_or_else(overflow),
        },
    ),
];

/// Answers requests until the client closes the connection.
pub(crate) fn serve(mut transport: Transport) -> anyhow::Result<()> {
    let mut session = WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE);
    loop {
        let outcome = answer_all(&mut session, &mut transport);
        // Also after an error: its reason is still to be sent.
        transport.flush()?;
        outcome?;
        if !transport.fill()? {
            return Ok(());
        }
    }
}

/// Answers the requests that have arrived completely.
fn answer_all(session: &mut WorkerSession, transport: &mut Transport) -> anyhow::Result<()> {
    loop {
        match session.receive(&mut transport.input, &mut transport.output) {
            Ok(Some(WorkerEvent::Request { version, request })) => {
                session.respond(version, answer(&request)?, &mut transport.output)?;
            }
            // Functions are complete before a cancellation is read, so there is nothing to cancel.
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => {
                session.write_error(&error, &mut transport.output);
                return Err(error.into());
            }
        }
    }
}

fn answer(request: &Request) -> anyhow::Result<Response> {
    let result = match run(request) {
        Ok(result) => Ok(Body::json(serde_json::to_vec(&result)?.into())),
        Err(failure) => Err(failure.into()),
    };
    Ok(Response {
        id: request.id,
        times: None,
        result,
    })
}

fn run(request: &Request) -> Result<i64, Failure> {
    let (_, _, function) = match &request.method {
        Method::Index(index) => FUNCTIONS.get(usize::from(*index)),
        Method::Name(name) => FUNCTIONS.iter().find(|(known, ..)| known == name),
    }
    .ok_or_else(|| not_found(&request.method))?;
    let input = serde_json::from_slice(&request.body.bytes);
    function(input.map_err(|error| failure("pyproc_worker.InvalidRequest", &error.to_string()))?)
}

fn not_found(method: &Method) -> Failure {
    let name = match method {
        Method::Index(index) => format!("number {index}"),
        Method::Name(name) => format!("'{name}'"),
    };
    failure(
        "pyproc_worker.MethodNotFound",
        &format!("Method {name} not found"),
    )
}

fn overflow() -> Failure {
    failure("OverflowError", "the result has no room in 64 bits")
}

fn failure(type_name: &str, message: &str) -> Failure {
    Failure {
        type_name: type_name.into(),
        message: message.into(),
        ..Failure::default()
    }
}

fn info() -> WorkerInfo {
    let describe = |(name, doc, _): &(&str, &str, Function)| FunctionInfo {
        name: (*name).into(),
        doc: (*doc).into(),
        parameters: json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        returns: json!({"type": "integer"}),
        concurrent: false,
    };
    WorkerInfo {
        features: Features::ALL,
        agent: "arithmetic/1.0".into(),
        pid: std::process::id(),
        functions: FUNCTIONS.iter().map(describe).collect(),
        ..WorkerInfo::default()
    }
}
