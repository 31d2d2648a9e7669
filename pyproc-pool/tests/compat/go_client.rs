//! A client that does what the Go original's pools do to a worker: version 1 without
//! hello, JSON as Go's `encoding/json` writes it, one request at a time on each connection. `Pool` counts its requests;
//! `PoolWithTransport` gives all of them the id 0, its health ping, too.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// One worker as a Go pool sees it.
pub(crate) struct GoClient {
    socket: PathBuf,
    /// Shared by all connections to the worker.
    last_id: AtomicU64,
}

/// A connection, and the pool's count of requests, if it counts.
pub(crate) struct GoConnection<'a> {
    stream: UnixStream,
    last_id: Option<&'a AtomicU64>,
}

impl GoClient {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            last_id: AtomicU64::new(0),
        }
    }

    pub(crate) async fn connect(&self) -> Result<GoConnection<'_>> {
        Ok(GoConnection {
            stream: UnixStream::connect(&self.socket).await?,
            last_id: Some(&self.last_id),
        })
    }

    /// A connection of `PoolWithTransport`, which has one to each worker.
    pub(crate) async fn transport(&self) -> Result<GoConnection<'_>> {
        Ok(GoConnection {
            stream: UnixStream::connect(&self.socket).await?,
            last_id: None,
        })
    }
}

impl GoConnection<'_> {
    /// Sends a request and reads its answer, which must be of the old shape: the value, or the
    /// error's text.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        body: &Value,
    ) -> Result<Result<Value, String>> {
        let id = self.send(method, body).await?;
        self.receive(id).await
    }

    pub(crate) async fn send(&mut self, method: &str, body: &Value) -> Result<u64> {
        let id = self
            .last_id
            .map_or(0, |last| last.fetch_add(1, Ordering::Relaxed) + 1);
        let request = format!(
            r#"{{"id":{id},"method":{},"body":{}}}"#,
            go_json(&json!(method)),
            go_json(body)
        );
        self.write_frame(request.as_bytes()).await?;
        Ok(id)
    }

    pub(crate) async fn receive(&mut self, id: u64) -> Result<Result<Value, String>> {
        let frame = self.read_frame().await?;
        let answer = || String::from_utf8_lossy(&frame).into_owned();
        old_answer(&frame, id).with_context(|| format!("the answer to {id} is {}", answer()))
    }

    /// What follows when the caller's context ends.
    pub(crate) async fn cancel_and_close(mut self, id: u64) -> Result<()> {
        self.cancel(id).await
    }

    pub(crate) async fn cancel(&mut self, id: u64) -> Result<()> {
        let cancellation = format!(
            r#"{{"type":"cancellation","payload":{{"id":{id},"reason":"context cancelled"}}}}"#
        );
        self.write_frame(cancellation.as_bytes()).await
    }

    async fn write_frame(&mut self, body: &[u8]) -> Result<()> {
        // Go's framer writes the two one after the other.
        self.stream
            .write_all(&(body.len() as u32).to_be_bytes())
            .await?;
        Ok(self.stream.write_all(body).await?)
    }

    async fn read_frame(&mut self) -> Result<Vec<u8>> {
        let mut body = vec![0; self.stream.read_u32().await? as usize];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// Takes `frame` for an answer with exactly the keys of the first release. The original
/// refuses a success without `body`, so that null must be written out.
fn old_answer(frame: &[u8], id: u64) -> Result<Result<Value, String>> {
    let mut answer: Map<String, Value> = serde_json::from_slice(frame)?;
    ensure!(answer.remove("id") == Some(json!(id)), "the id is another");
    let result = match answer.remove("ok") {
        Some(Value::Bool(true)) => Ok(answer.remove("body").context("`body` is missing")?),
        Some(Value::Bool(false)) => match answer.remove("error") {
            Some(Value::String(error)) => Err(error),
            other => anyhow::bail!("`error` is {other:?}"),
        },
        other => anyhow::bail!("`ok` is {other:?}"),
    };
    ensure!(answer.is_empty(), "there are further keys");
    Ok(result)
}

/// Go escapes what could end a script in a web page.
fn go_json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', r"\u003c")
        .replace('>', r"\u003e")
        .replace('&', r"\u0026")
        .replace('\u{2028}', r"\u2028")
        .replace('\u{2029}', r"\u2029")
}
