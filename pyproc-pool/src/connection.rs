use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::BytesMut;
use pyproc_protocol::{Event, Peer, Session, v2::Answer};
use tokio::{io::AsyncWrite, net::UnixStream, task::coop::has_budget_remaining};
use tokio_util::io::poll_read_buf;

use crate::{ProtocolViolation, outbox::Outbox, shared::Shared};

/// The connection to one worker, after the handshake.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    session: Session,
    input: BytesMut,
    output: Outbox,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
    /// Empty between polls; kept for their memory.
    answers: Vec<Answer>,
    wakers: Vec<Waker>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Closed {
    ByPeer,
    Failed(io::Error),
    Violation(ProtocolViolation),
}

/// At least this much can be read at once.
const READ_ROOM: usize = 16 * 1024;
const READ_BUFFER: usize = 64 * 1024;

impl Connection {
    pub(crate) fn new(stream: UnixStream, session: Session, input: BytesMut) -> Self {
        Self {
            stream,
            session,
            input,
            output: Outbox::default(),
            broken: None,
            answers: Vec::new(),
            wakers: Vec::new(),
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        // A connection begins after the handshake.
        self.session.peer().unwrap_or(&Peer::Plain)
    }

    /// What the worker says is its process id.
    pub(crate) fn peer_pid(&self) -> Option<u32> {
        match self.peer() {
            Peer::Introduced(info) if info.pid != 0 => Some(info.pid),
            _ => None,
        }
    }

    /// Carries requests and answers until the connection ends.
    pub(crate) async fn run(&mut self, shared: &Shared, worker: usize) -> Closed {
        poll_fn(|cx| self.poll(shared, worker, cx)).await
    }

    fn poll(&mut self, shared: &Shared, worker: usize, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            let read = self.poll_read(shared, worker, cx);
            if let Poll::Ready(Err(closed)) = read {
                return Poll::Ready(closed);
            }
            // A worker that died may have answered before: all of that is read first. Without budget,
            // pending does not mean that all is read.
            if read.is_pending()
                && has_budget_remaining()
                && let Some(error) = self.broken.take()
            {
                return Poll::Ready(Closed::Failed(error));
            }
            let written = self.poll_write(shared, worker, cx);
            if read.is_pending() && written.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// One read of all that has arrived, and one wake-up for each answer in it.
    fn poll_read(
        &mut self,
        shared: &Shared,
        worker: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if self.input.capacity() - self.input.len() < READ_ROOM {
            self.input.reserve(READ_BUFFER);
        }
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.input
        ));
        match read {
            Ok(0) => Poll::Ready(Err(Closed::ByPeer)),
            Ok(_) => Poll::Ready(self.deliver(shared, worker)),
            Err(error) => Poll::Ready(Err(Closed::Failed(error))),
        }
    }

    fn deliver(&mut self, shared: &Shared, worker: usize) -> Result<(), Closed> {
        let parsed = self.parse(shared, worker);
        let delivered = if self.answers.is_empty() {
            Ok(())
        } else {
            let now = Instant::now();
            shared
                .scheduler()
                .on_answers(worker, &mut self.answers, now, &mut self.wakers)
        };
        self.wakers.drain(..).for_each(Waker::wake);
        // What came before the offence was in order, and has been delivered.
        delivered.and(parsed).map_err(Closed::Violation)
    }

    fn parse(&mut self, shared: &Shared, worker: usize) -> Result<(), ProtocolViolation> {
        while let Some(event) = self.session.receive(&mut self.input)? {
            match event {
                Event::Answer(answer) => self.answers.push(answer),
                Event::Drain => shared.scheduler().lane_drains(worker),
                _ => {}
            }
        }
        Ok(())
    }

    /// One write of all that is ready.
    fn poll_write(&mut self, shared: &Shared, worker: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        if self.output.is_empty() {
            let mut scheduler = shared.scheduler();
            if !scheduler.take_outbox(worker, &mut self.output, cx.waker()) {
                return Poll::Pending;
            }
        }
        let (slices, count) = self.output.slices();
        let stream = Pin::new(&mut self.stream);
        match ready!(stream.poll_write_vectored(cx, &slices[..count])) {
            Ok(n) => self.output.advance(n),
            Err(error) => self.broken = Some(error),
        }
        Poll::Ready(())
    }
}
