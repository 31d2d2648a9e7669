//! One answer to `/metrics`, as it is written: by a thread of its own, one after another.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pipe::{Reader, Writer, pipe};
use crate::metrics::exposition::Exposition;

/// How long a scrape may take while others wait for their turn.
const TURN: Duration = Duration::from_secs(10);

/// How long its reader may stall while one other waits; less if there are more.
const STALL: Duration = Duration::from_secs(1);

/// Whose turn it is.
#[derive(Clone)]
pub(super) struct Turns(Arc<Inner>);

struct Inner {
    one: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// What is read of one scrape.
pub(super) enum Scrape {
    Waiting(Wait),
    Running(Reader),
    Failed,
}

pub(super) struct Wait {
    exposition: Exposition,
    turn: Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>,
    turns: Turns,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            one: Arc::new(Semaphore::new(1)),
            waiting: AtomicU32::new(0),
        }))
    }

    /// Writes when it is its turn, which is asked for by the first poll.
    pub(super) fn scrape(&self, exposition: Exposition) -> Scrape {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let one = Arc::clone(&self.0.one);
        Scrape::Waiting(Wait {
            exposition,
            // Never closed.
            turn: Box::pin(async { one.acquire_owned().await.ok() }),
            turns: self.clone(),
        })
    }

    fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl Scrape {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match self {
                Self::Running(reader) => return reader.poll_next(cx),
                Self::Failed => return Poll::Ready(None),
                Self::Waiting(wait) => {
                    let turn = ready!(wait.turn.as_mut().poll(cx));
                    match wait.start(turn) {
                        Ok(reader) => *self = Self::Running(reader),
                        Err(error) => {
                            *self = Self::Failed;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }
}

impl Wait {
    /// Its turn has come, and lasts until all is written, which need not be read yet.
    fn start(&self, turn: Option<OwnedSemaphorePermit>) -> io::Result<Reader> {
        let (turns, began) = (self.turns.clone(), Instant::now());
        let patience = move |stalled| match turns.waiting() {
            0 => true,
            waiting => began.elapsed() < TURN && stalled < STALL / waiting,
        };
        let (writer, reader) = pipe(Box::new(patience));
        let exposition = self.exposition.clone();
        thread::Builder::new()
            .name("pyproc-metrics".into())
            .spawn(move || {
                write(&exposition, writer);
                drop(turn);
            })
            .inspect_err(|error| tracing::warn!(%error, "no thread for the metrics"))?;
        Ok(reader)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.turns.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn write(exposition: &Exposition, mut writer: Writer) {
    let written = exposition.write_to(&mut writer);
    match written.and_then(|()| Ok(writer.finish()?)) {
        Ok(()) => {}
        Err(Error::Io(error)) => tracing::debug!(%error, "a scrape ended early"),
        Err(error) => tracing::warn!(%error, "the metrics could not be written"),
    }
}
