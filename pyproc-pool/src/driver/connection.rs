use std::{
    future::poll_fn,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use pyproc_protocol::{Peer, Session};
use rustix::net::{Shutdown, shutdown};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Handle, RuntimeFlavor},
};
use tokio_util::io::poll_read_buf;

use crate::{
    ProtocolViolation, driver::inbox::Inbox, driver::spin::Spin, scheduler::Verdict,
    scheduler::batches::Wire, scheduler::outbox::Outbox, shared::Shared,
};

/// The connection to one worker, after the handshake.
///
/// What it does costs most where it wakes somebody up, so it works in batches: one read takes all that
/// arrived, one write all that is ready. Callers that it wakes run before it comes back; most of them then write their
/// next requests themselves (see [`Sending`](crate::scheduler::batches::Sending)), and it writes what they leave.
#[derive(Debug)]
pub(crate) struct Connection {
    read: OwnedReadHalf,
    write: Arc<OwnedWriteHalf>,
    inbox: Inbox,
    output: Outbox,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
    /// Reads that are left after that.
    last_reads: u16,
    hung_up: bool,
    spin: Spin,
    /// Callers that have their answers and are still to be woken.
    wakers: Vec<Waker>,
    /// With fewer calls at the worker, the connection sleeps at once instead of looking for answers.
    busy: usize,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Closed {
    ByPeer,
    Failed(io::Error),
    Violation(ProtocolViolation),
    /// The worker reads nothing more on this connection, and accepts another.
    MustReconnect,
    /// The worker takes no more requests, and has answered all that it had.
    Drained,
}

/// Takes all that a socket holds, and comes to an end with a worker that only writes.
const LAST_READS: u16 = 256;

/// What could be written.
enum Written {
    Some,
    /// Nothing yet: others go first.
    Later,
    /// Nothing; the worker has so many calls.
    Nothing {
        in_flight: usize,
    },
}

/// Where callers run on several threads, an answer to so many calls is looked for a moment before sleeping: there, to
/// sleep and to be woken is most of what a connection costs.
const MANY: usize = 8;
const MOMENT: Duration = Duration::from_micros(20);

impl Connection {
    pub(crate) fn new(
        stream: UnixStream,
        session: Session,
        input: BytesMut,
        spin: Duration,
    ) -> Self {
        let (read, write) = stream.into_split();
        let several_threads = Handle::try_current()
            .is_ok_and(|it| it.runtime_flavor() != RuntimeFlavor::CurrentThread);
        let (spin, busy) = match spin.is_zero() && several_threads {
            true => (MOMENT, MANY),
            false => (spin, 1),
        };
        Self {
            read,
            write: Arc::new(write),
            inbox: Inbox::new(session, input),
            output: Outbox::default(),
            broken: None,
            last_reads: LAST_READS,
            hung_up: false,
            spin: Spin::new(spin),
            wakers: Vec::new(),
            busy,
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        self.inbox.peer()
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
        if self.hung_up {
            return Closed::MustReconnect;
        }
        let closed = poll_fn(|cx| self.poll(shared, worker, cx)).await;
        self.wakers.drain(..).for_each(Waker::wake);
        closed
    }

    fn poll(&mut self, shared: &Shared, worker: usize, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            if let Some(error) = self.count_last_read() {
                return Poll::Ready(Closed::Failed(error));
            }
            let read = self.poll_read(cx);
            let mut others_first = false;
            match read {
                Poll::Ready(Ok(())) => match self.deliver(shared, worker) {
                    Ok(may_wait) => others_first = may_wait,
                    Err(closed) => return Poll::Ready(closed),
                },
                Poll::Ready(Err(closed)) => return Poll::Ready(closed),
                Poll::Pending if self.broken.is_some() => match self.read_last() {
                    Some(closed) => return Poll::Ready(closed),
                    None => return again(cx),
                },
                Poll::Pending => {}
            }
            self.wakers.drain(..).for_each(Waker::wake);
            if others_first {
                return again(cx);
            }
            let written = self.poll_write(shared, worker, cx);
            if matches!(written, Written::Later) {
                return again(cx);
            }
            let (Written::Nothing { in_flight }, Poll::Pending) = (written, read) else {
                continue;
            };
            if in_flight == 0 && shared.lock().has_drained(worker) {
                return Poll::Ready(Closed::Drained);
            }
            if in_flight < self.busy || !self.spin.again(Instant::now) {
                return Poll::Pending;
            }
            match self.inbox.look(self.read.as_ref()) {
                Ok(true) => {}
                Ok(false) => {
                    thread::yield_now();
                    return again(cx);
                }
                Err(closed) => return Poll::Ready(closed),
            }
        }
    }

    /// One read of all that has arrived, unless something is there from before.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if !self.inbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.read);
        match ready!(poll_read_buf(read, cx, self.inbox.with_room())) {
            Ok(0) => Poll::Ready(Err(Closed::ByPeer)),
            Ok(_) => {
                self.inbox.parse();
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(Closed::Failed(error))),
        }
    }

    /// Counts reads once nothing can be written. Returns why the connection has ended, after too many of them.
    fn count_last_read(&mut self) -> Option<io::Error> {
        self.broken.as_ref()?;
        match self.last_reads.checked_sub(1) {
            Some(rest) => {
                self.last_reads = rest;
                None
            }
            None => self.broken.take(),
        }
    }

    /// A worker that died may have answered before. All of that is read first, and the system asked what there is: the
    /// runtime may not know yet. Returns why the connection has ended, once nothing is left.
    fn read_last(&mut self) -> Option<Closed> {
        match self.inbox.look(self.read.as_ref()) {
            Ok(true) => None,
            _ => self.broken.take().map(Closed::Failed),
        }
    }

    /// Brings all answers to their calls, and returns whether others run before anything is written. Callers are woken
    /// later, but what was answered is answered.
    fn deliver(&mut self, shared: &Shared, worker: usize) -> Result<bool, Closed> {
        let arrived = self.inbox.arrived;
        self.spin.on_catch(|| arrived);
        self.pass_on_records(shared, worker);
        let mut scheduler = shared.scheduler();
        if self.inbox.take_drain() {
            scheduler.lane_drains(worker);
        }
        let answers = self.inbox.answers.drain(..);
        scheduler
            .on_answers(worker, answers, arrived, &mut self.wakers)
            .map_err(Closed::Violation)?;
        let may_wait = scheduler.may_wait(worker);
        drop(scheduler);
        if let Some(violation) = self.inbox.take_violation() {
            self.on_violation(shared, worker, violation)?;
        }
        Ok(may_wait)
    }

    #[cold]
    fn on_violation(
        &mut self,
        shared: &Shared,
        worker: usize,
        violation: ProtocolViolation,
    ) -> Result<(), Closed> {
        let (arrived, wakers) = (self.inbox.arrived, &mut self.wakers);
        let verdict = shared
            .scheduler()
            .on_violation(worker, violation, arrived, wakers);
        match verdict {
            Verdict::GoOn => {
                self.inbox.parse();
                Ok(())
            }
            Verdict::Reconnect => Err(Closed::MustReconnect),
            Verdict::Broken(violation) => Err(Closed::Violation(violation)),
        }
    }

    fn pass_on_records(&mut self, shared: &Shared, worker: usize) {
        if self.inbox.has_records() {
            let too_long = mem::take(&mut self.inbox.too_long);
            let frames = self.inbox.records.drain(..);
            shared.records.push(worker, frames, too_long);
        }
    }

    /// Reads what the worker still reports, until it takes no more requests or is gone. Its answers reach nobody any more.
    pub(crate) async fn farewell(&mut self, shared: &Shared, worker: usize) {
        while !self.inbox.has_drain() {
            let read = poll_fn(|cx| self.poll_read(cx)).await;
            self.inbox.answers.clear();
            self.pass_on_records(shared, worker);
            if read.is_err() || self.inbox.take_violation().is_some() {
                return;
            }
        }
    }

    /// One write of all that is ready.
    ///
    /// While the worker is busy anyway, callers that are about to run are let through first: their
    /// requests go out with the same write.
    fn poll_write(&mut self, shared: &Shared, worker: usize, cx: &mut Context<'_>) -> Written {
        if self.broken.is_some() {
            return Written::Nothing { in_flight: 0 };
        }
        if self.output.is_empty() {
            let mut scheduler = shared.lock();
            if scheduler.may_wait(worker) {
                return Written::Later;
            }
            if !scheduler.take_outbox(worker, &mut self.output, cx.waker()) {
                let in_flight = scheduler.in_flight_on(worker);
                return Written::Nothing { in_flight };
            }
        }
        match self.poll_write_output(cx) {
            Poll::Ready(Ok(n)) => self.output.advance(n),
            Poll::Ready(Err(error)) => self.broken = Some(error),
            // The worker does not read: there is nothing to look out for.
            Poll::Pending => return Written::Nothing { in_flight: 0 },
        }
        Written::Some
    }

    fn poll_write_output(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (slices, count) = self.output.slices();
        let stream: &UnixStream = self.write.as_ref().as_ref();
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write_vectored(&slices[..count]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Ends the connection for the worker; whoever has this one is to connect again.
    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
        let stream: &UnixStream = self.write.as_ref().as_ref();
        // It fails only when the worker has hung up before.
        let _ = shutdown(stream, Shutdown::Both);
    }

    /// Where callers write.
    pub(crate) fn wire(&self) -> Wire {
        Wire {
            half: Arc::downgrade(&self.write),
            origin: None,
            spins: self.busy == 1 && !self.spin.is_off(),
        }
    }
}

/// Lets other tasks run, and comes back.
fn again(cx: &Context<'_>) -> Poll<Closed> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// However the connection ends, who has an answer is told.
impl Drop for Connection {
    fn drop(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
