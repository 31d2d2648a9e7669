//! A proxy between a pool and a worker that keeps every byte.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
};

use crate::{process::WorkerProcess, support::Scratch};

/// Listens in the worker's place, for one connection.
pub(crate) struct Recorder {
    dir: Scratch,
    requests: Recording,
    answers: Recording,
    repeat: mpsc::UnboundedSender<Vec<u8>>,
    task: JoinHandle<Result<()>>,
}

/// All that went in one direction.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<u8>>>);

impl Recorder {
    pub(crate) fn before(worker: &WorkerProcess) -> Result<Self> {
        let dir = Scratch::new();
        let listener = UnixListener::bind(dir.path().join("proxy.sock"))?;
        let (requests, answers) = (Recording::default(), Recording::default());
        let (repeat, repeats) = mpsc::unbounded_channel();
        let (up, down) = (requests.clone(), answers.clone());
        let worker = worker.socket();
        let task = tokio::spawn(async move {
            let (from_pool, to_pool) = listener.accept().await?.0.into_split();
            let (from_worker, to_worker) = UnixStream::connect(worker).await?.into_split();
            tokio::try_join!(
                carry_requests(from_pool, to_worker, up),
                carry_answers(from_worker, to_pool, down, repeats),
            )?;
            Ok(())
        });
        Ok(Self {
            dir,
            requests,
            answers,
            repeat,
            task,
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("proxy.sock")
    }

    /// The frames that the pool sent, each with its length.
    pub(crate) fn requests(&self) -> Result<Vec<Vec<u8>>> {
        self.requests.frames()
    }

    /// Sends the worker's last answer to the pool once more. The worker must be silent.
    pub(crate) fn repeat_last_answer(&self) -> Result<()> {
        let answer = self
            .answers
            .frames()?
            .pop()
            .context("the worker has not answered")?;
        self.repeat.send(answer).context("the connection is closed")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recording {
    /// Reads what there is, and keeps it. Nothing at the end of the stream.
    ///
    /// Cancellation safety: what was read is kept and returned.
    async fn read(&self, from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64 * 1024);
        from.read_buf(&mut bytes).await?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&bytes);
        Ok(bytes)
    }

    fn frames(&self) -> Result<Vec<Vec<u8>>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rest, mut frames) = (&kept[..], Vec::new());
        while let Some(length) = rest.first_chunk() {
            let end = length.len() + u32::from_be_bytes(*length) as usize;
            let (frame, behind) = rest.split_at_checked(end).context("a frame is not whole")?;
            frames.push(frame.to_vec());
            rest = behind;
        }
        anyhow::ensure!(rest.is_empty(), "a length is not whole");
        Ok(frames)
    }
}

async fn carry_requests(
    mut pool: OwnedReadHalf,
    mut worker: OwnedWriteHalf,
    recording: Recording,
) -> Result<()> {
    loop {
        match recording.read(&mut pool).await? {
            end if end.is_empty() => return Ok(worker.shutdown().await?),
            bytes => worker.write_all(&bytes).await?,
        }
    }
}

async fn carry_answers(
    mut worker: OwnedReadHalf,
    mut pool: OwnedWriteHalf,
    recording: Recording,
    mut repeats: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<()> {
    loop {
        let bytes = tokio::select! {
            bytes = recording.read(&mut worker) => bytes?,
            Some(answer) = repeats.recv() => answer,
        };
        if bytes.is_empty() {
            return Ok(pool.shutdown().await?);
        }
        pool.write_all(&bytes).await?;
    }
}
