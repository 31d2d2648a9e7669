//! A client that sends on without waiting for answers.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use bytes::BytesMut;
use pyproc_pool::protocol::{
    DEFAULT_MAX_FRAME_SIZE, FrameDecoder, Message, RawJson, Request, Response,
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
    let mut requests = Vec::new();
    for id in 1..=CALLS {
        let request = Request::new(id, "echo", RawJson::encode(&id)?);
        request.encode(DEFAULT_MAX_FRAME_SIZE, &mut requests)?;
    }
    let all = tokio::spawn(async move { write.write_all(&requests).await.map(|()| write) });
    let mut answers = Answers::new(read);
    let mut unanswered: BTreeSet<u64> = (1..=CALLS).collect();
    while !unanswered.is_empty() {
        let response = answers.next().await?;
        let body = response.result.map_err(anyhow::Error::msg)?;
        ensure!(body.decode::<u64>()? == response.id);
        ensure!(
            unanswered.remove(&response.id),
            "{} was answered twice",
            response.id
        );
    }
    all.await??;
    Ok(())
}

struct Answers {
    read: OwnedReadHalf,
    input: BytesMut,
    decoder: FrameDecoder,
}

impl Answers {
    fn new(read: OwnedReadHalf) -> Self {
        Self {
            read,
            input: BytesMut::new(),
            decoder: FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE),
        }
    }

    async fn next(&mut self) -> Result<Response> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input)? {
                match Message::decode(&frame)? {
                    Message::Response(response) => return Ok(response),
                    other => bail!("the worker sent {other:?}"),
                }
            }
            let read = self.read.read_buf(&mut self.input).await?;
            ensure!(read > 0, "the worker hung up");
        }
    }
}
