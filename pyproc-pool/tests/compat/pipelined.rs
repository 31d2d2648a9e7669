//! A client that sends on without waiting for answers.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use pyproc_pool::protocol::{
    ClientEvent, ClientSession, DEFAULT_MAX_FRAME_SIZE, Headers, Peer, RequestHead, Version,
    v2::Response,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
};

use crate::{candidate::Candidate, process::WorkerProcess};

pub(crate) async fn ten_thousand_frames(worker: Candidate) -> Result<()> {
    const CALLS: u64 = 10_000;
    let process = WorkerProcess::start(&worker).await?;
    let (read, mut write) = UnixStream::connect(process.socket()).await?.into_split();
    let mut hello = Vec::new();
    let session = ClientSession::start(worker.hello(), DEFAULT_MAX_FRAME_SIZE, &mut hello)?;
    write.write_all(&hello).await?;
    let mut answers = Answers::new(read, session);
    let version = answers.shake_hands().await?;
    ensure!(version == worker.protocol, "the worker chose {version:?}");

    let (mut requests, headers) = (Vec::new(), Headers::new());
    for id in 1..=CALLS {
        let head = RequestHead::new(id, "echo", &headers);
        let payload = id.to_string();
        let max = DEFAULT_MAX_FRAME_SIZE;
        head.encode(version, payload.as_bytes(), max, &mut requests)?;
    }
    let all = tokio::spawn(async move { write.write_all(&requests).await.map(|()| write) });
    let mut unanswered: BTreeSet<u64> = (1..=CALLS).collect();
    while !unanswered.is_empty() {
        let answer = answers.next().await?;
        let body = answer.result.map_err(|it| anyhow::anyhow!(it.message))?;
        ensure!(body.bytes == answer.id.to_string());
        ensure!(
            unanswered.remove(&answer.id),
            "{} was answered twice",
            answer.id
        );
    }
    all.await??;
    Ok(())
}

struct Answers {
    read: OwnedReadHalf,
    input: BytesMut,
    session: ClientSession,
}

impl Answers {
    fn new(read: OwnedReadHalf, session: ClientSession) -> Self {
        Self {
            read,
            input: BytesMut::new(),
            session,
        }
    }

    async fn shake_hands(&mut self) -> Result<Version> {
        self.event().await?;
        let peer = self.session.peer().context("the handshake is not over")?;
        Ok(Peer::version(peer))
    }

    async fn next(&mut self) -> Result<Response> {
        match self.event().await? {
            ClientEvent::Response(answer) => Ok(answer),
            other => anyhow::bail!("the worker sent {other:?}"),
        }
    }

    async fn event(&mut self) -> Result<ClientEvent> {
        loop {
            if let Some(event) = self.session.receive(&mut self.input)? {
                return Ok(event);
            }
            let read = self.read.read_buf(&mut self.input).await?;
            ensure!(read > 0, "the worker hung up");
        }
    }
}
