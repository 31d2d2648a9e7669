//! What a pool sends, and what it makes of what it gets, byte for byte.

use anyhow::{Context, Result, bail, ensure};
use pyproc_pool::{
    ErrorKind, Pool,
    protocol::{Headers, Version, v2},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    candidate::Candidate,
    gate::Gate,
    pool::held,
    process::WorkerProcess,
    recorder::Recorder,
    support::{LONG, until},
};

pub(crate) async fn without_headers(worker: Candidate) -> Result<()> {
    let process = WorkerProcess::start(&worker).await?;
    let recorder = Recorder::before(&process)?;
    let pool = connect(&worker, &recorder).await?;
    let bodies = [
        "null",
        r#""größe 🐍 <&> \" \\ \u0000""#,
        r#"{"list":[1,2.5,true],"value":42}"#,
    ];
    for body in bodies {
        let input: Value = serde_json::from_str(body)?;
        ensure!(pool.call::<_, Value>("echo", &input).await? == input);
    }
    let frames = recorder.requests()?;
    let (hello, requests) = frames.split_first().context("nothing was recorded")?;
    let begin = &hello[4..][..br#"{"id":1,"method":"pyproc.hello","body":{"#.len()];
    ensure!(
        begin == br#"{"id":1,"method":"pyproc.hello","body":{"#,
        "{}",
        text(hello)
    );
    ensure!(
        requests.len() == bodies.len(),
        "{} requests were sent",
        requests.len()
    );
    for (request, body) in requests.iter().zip(bodies) {
        match worker.protocol {
            Version::V1 => {
                let id = id(request)?;
                check_json(
                    request,
                    &format!(r#"{{"id":{id},"method":"echo","body":{body}}}"#),
                )?;
            }
            Version::V2 => check_binary(request, body, &Headers::new())?,
        }
    }
    Ok(())
}

pub(crate) async fn with_headers(worker: Candidate) -> Result<()> {
    let process = WorkerProcess::start(&worker).await?;
    let recorder = Recorder::before(&process)?;
    let pool = connect(&worker, &recorder).await?;
    let input = json!({"value": 42});
    let request = pool
        .request("echo", &input)
        .header("tenant", "größe")
        .header("a", "1");
    ensure!(request.call::<Value>().await? == input);
    let request = recorder.requests()?.pop().context("nothing was recorded")?;
    if worker.protocol == Version::V2 {
        let headers = [("a", "1"), ("tenant", "größe")];
        let headers = headers.map(|(name, value)| (name.into(), value.into()));
        return check_binary(&request, r#"{"value":42}"#, &Headers::from(headers));
    }
    let expected = format!(
        r#"{{"id":{},"method":"echo","body":{{"value":42}},"headers":{{"a":"1","tenant":"größe"}}}}"#,
        id(&request)?
    );
    check_json(&request, &expected)
}

/// Byte for byte, as the original's client writes it.
fn check_json(request: &[u8], expected: &str) -> Result<()> {
    ensure!(
        request == framed(expected),
        "{} instead of {expected}",
        text(request)
    );
    Ok(())
}

/// The function by its number, the deadline, and nothing that was not asked for.
fn check_binary(request: &[u8], body: &str, headers: &Headers) -> Result<()> {
    let v2::Message::Request(request) = v2::Message::decode(&request[4..].to_vec().into())? else {
        bail!("{} is no request", text(request));
    };
    ensure!(
        matches!(request.method, v2::Method::Index(_)),
        "{request:?}"
    );
    ensure!(request.deadline.is_some() && request.trace.is_none() && !request.wants_times);
    ensure!(
        request.headers == *headers && request.body.bytes == body,
        "{request:?}"
    );
    Ok(())
}

pub(crate) async fn repeated_reply(worker: Candidate) -> Result<()> {
    let process = WorkerProcess::start(&worker).await?;
    let recorder = Recorder::before(&process)?;
    let pool = connect(&worker, &recorder).await?;
    let gate = Gate::closed();
    ensure!(pool.call::<_, u32>("echo", &1).await? == 1);
    let next = held(&pool, gate.file());
    until("the worker has the next call", || gate.is_awaited()).await;
    recorder.repeat_last_answer()?;
    let outcome = next.await?;
    let kind = outcome.as_ref().map_err(|error| error.kind());
    ensure!(
        kind == Err(ErrorKind::Protocol),
        "the next call got {outcome:?}"
    );
    Ok(())
}

async fn connect(worker: &Candidate, recorder: &Recorder) -> Result<Pool> {
    let pool = Pool::builder()
        .max_protocol_version(worker.protocol.number())
        .external_sockets([recorder.socket()])
        .start_timeout(LONG)
        .request_timeout(LONG);
    Ok(pool.start().await?)
}

/// The id, which is the client's choice.
fn id(frame: &[u8]) -> Result<u64> {
    #[derive(Deserialize)]
    struct Request {
        id: u64,
    }
    Ok(serde_json::from_slice::<Request>(&frame[4..])?.id)
}

fn framed(body: &str) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body.as_bytes()].concat()
}

fn text(frame: &[u8]) -> impl std::fmt::Display {
    String::from_utf8_lossy(&frame[4..])
}
