use std::{
    future::poll_fn,
    io, mem,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::BytesMut;
use pyproc_protocol::{ClientSession, Peer};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Driver, Endpoint, Locked, inbox::Inbox, spin::Spin};
use crate::{
    ProtocolViolation,
    clock::Clock,
    observe::RecordSender,
    output::CallAttributor,
    scheduler::{ConnectionConfig, ConnectionId, NextWrite, Outbox, Verdict},
    sync::thread,
    transport::{ReadHalf, Transport, WriteHalf},
};

/// The connection to one worker, after the handshake.
///
/// Wake-ups are its greatest cost, so it works in batches: one read takes all that has arrived, one write all that is
/// ready. Callers that it wakes run before it continues. Most of them write their next requests themselves; it writes
/// the rest.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Refers to no connection before the worker gets calls.
    id: ConnectionId,
    read: ReadHalf,
    write: Arc<WriteHalf>,
    is_on_this_host: bool,
    max_frame_size: usize,
    inbox: Inbox,
    output: Outbox,
    /// The error of the failed write, after which nothing is written.
    broken: Option<io::Error>,
    /// Number of reads that are still done after a failed write.
    last_reads: u16,
    hung_up: bool,
    spin: Spin,
    /// Callers to wake.
    wakers: Vec<Waker>,
    /// With fewer calls in flight, the task sleeps at once instead of polling for answers.
    busy: usize,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Closed {
    ByPeer,
    Failed(io::Error),
    Violation(ProtocolViolation),
    /// The worker reads no more on this connection, and accepts another.
    MustReconnect,
    /// The worker accepts no more requests, and has answered all that it had.
    Drained,
}

/// Enough for all that a socket holds, and bounded for a worker that only writes.
const LAST_READS: u16 = 256;

/// The result of a write.
enum Written {
    Some,
    /// Nothing yet: the task yields first.
    Yield,
    /// Nothing was ready. The worker has this number of calls in flight.
    Nothing {
        in_flight: usize,
    },
    /// Nothing is ready, and nothing will be.
    Drained,
}

/// On a runtime with several threads, the task polls for this time before it sleeps if this number of calls is in
/// flight: sleep and wake-up are most of the connection's cost there.
const BUSY_CALLS: usize = 8;
const SHORT_SPIN: Duration = Duration::from_micros(20);

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        session: ClientSession,
        input: BytesMut,
        spin: Duration,
        clock: Clock,
    ) -> Self {
        let is_on_this_host = transport.is_on_this_host();
        let max_frame_size = transport.max_frame_size();
        let (read, write) = transport.split();
        let several_threads = Handle::try_current()
            .is_ok_and(|it| it.runtime_flavor() != RuntimeFlavor::CurrentThread);
        let (spin, busy) = match spin.is_zero() && several_threads {
            true => (SHORT_SPIN, BUSY_CALLS),
            false => (spin, 1),
        };
        Self {
            id: ConnectionId::default(),
            read,
            write: Arc::new(write),
            is_on_this_host,
            max_frame_size,
            inbox: Inbox::new(session, input, clock),
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

    /// The process id that the worker reported, if it is one of this host.
    pub(crate) fn peer_pid(&self) -> Option<u32> {
        match self.peer() {
            Peer::Negotiated(info) if info.pid != 0 && self.is_on_this_host => Some(info.pid),
            _ => None,
        }
    }

    /// The scheduler's id of this connection.
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// From now on the worker gets the slot's calls.
    pub(crate) fn open(
        &mut self,
        scheduler: &mut Locked<'_>,
        slot: usize,
        attributor: Option<Arc<CallAttributor>>,
    ) {
        let config = ConnectionConfig {
            max_frame_size: self.max_frame_size,
            spins: self.busy == 1 && !self.spin.is_off(),
            attributes: attributor.is_some(),
        };
        let endpoint = Endpoint {
            write: Arc::downgrade(&self.write),
            attributor: attributor.filter(|_| *self.peer() == Peer::Legacy),
        };
        self.id = scheduler.on_ready(slot, self.peer(), config, endpoint, self.inbox.clock.now());
    }

    /// Transports requests and answers until the connection ends. Records that the worker reports go to `records`.
    pub(crate) async fn run(&mut self, driver: &Driver, records: RecordSender<'_>) -> Closed {
        if self.hung_up {
            return Closed::MustReconnect;
        }
        let closed = poll_fn(|cx| self.poll(driver, records, cx)).await;
        self.wakers.drain(..).for_each(Waker::wake);
        closed
    }

    fn poll(
        &mut self,
        driver: &Driver,
        records: RecordSender<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Closed> {
        loop {
            if let Some(error) = self.count_last_read() {
                return Poll::Ready(Closed::Failed(error));
            }
            let read = self.poll_read(cx);
            let mut others_first = false;
            match read {
                Poll::Ready(Ok(())) => match self.deliver(driver, records) {
                    Ok(may_wait) => others_first = may_wait,
                    Err(closed) => return Poll::Ready(closed),
                },
                Poll::Ready(Err(closed)) => return Poll::Ready(closed),
                Poll::Pending if self.broken.is_some() => match self.read_last() {
                    Some(closed) => return Poll::Ready(closed),
                    None => return yield_task(cx),
                },
                Poll::Pending => {}
            }
            self.wakers.drain(..).for_each(Waker::wake);
            if others_first {
                return yield_task(cx);
            }
            let written = self.poll_write(driver, cx);
            if matches!(written, Written::Yield) {
                return yield_task(cx);
            }
            let in_flight = match (written, read) {
                (Written::Nothing { in_flight }, Poll::Pending) => in_flight,
                (Written::Drained, Poll::Pending) => return Poll::Ready(Closed::Drained),
                _ => continue,
            };
            if in_flight < self.busy || !self.spin.should_spin(|| Clock::System.now()) {
                return Poll::Pending;
            }
            match self.inbox.try_read(&self.read) {
                Ok(true) => {}
                Ok(false) => {
                    thread::yield_now();
                    return yield_task(cx);
                }
                Err(closed) => return Poll::Ready(closed),
            }
        }
    }

    /// Reads once all that has arrived, unless something from before is still to be delivered.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if !self.inbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.read.poll_read(cx, self.inbox.with_room())) {
            Ok(0) => Poll::Ready(Err(Closed::ByPeer)),
            Ok(_) => {
                self.inbox.parse();
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(Closed::Failed(error))),
        }
    }

    /// Counts reads after a failed write. Returns the error after too many of them.
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

    /// A worker may have answered before it died. All of that is read first. This asks the system, as the runtime may
    /// not know yet. Returns why the connection has ended, once nothing is left.
    fn read_last(&mut self) -> Option<Closed> {
        match self.inbox.try_read(&self.read) {
            Ok(true) => None,
            _ => self.broken.take().map(Closed::Failed),
        }
    }

    /// Completes the answered calls, and returns whether to yield before a write. Their callers are woken later.
    fn deliver(&mut self, driver: &Driver, records: RecordSender<'_>) -> Result<bool, Closed> {
        let arrived = self.inbox.arrived;
        self.spin.on_message(|| arrived);
        self.forward_records(records);
        let mut scheduler = driver.lock();
        if self.inbox.take_drain() {
            scheduler.on_drain(self.id);
        }
        let answers = self.inbox.answers.drain(..);
        let delivered = scheduler.on_answers(self.id, answers, arrived);
        mem::swap(&mut scheduler.actions().wake, &mut self.wakers);
        drop(scheduler);
        let may_wait = delivered.map_err(Closed::Violation)?;
        if let Some(violation) = self.inbox.take_violation() {
            self.on_violation(driver, violation)?;
        }
        Ok(may_wait)
    }

    #[cold]
    fn on_violation(
        &mut self,
        driver: &Driver,
        violation: ProtocolViolation,
    ) -> Result<(), Closed> {
        let arrived = self.inbox.arrived;
        let mut scheduler = driver.lock();
        let verdict = scheduler.on_violation(self.id, violation, arrived);
        self.wakers.append(&mut scheduler.actions().wake);
        drop(scheduler);
        match verdict {
            Verdict::Continue => {
                self.inbox.parse();
                Ok(())
            }
            Verdict::Reconnect => Err(Closed::MustReconnect),
            Verdict::Broken(violation) => Err(Closed::Violation(violation)),
        }
    }

    fn forward_records(&mut self, records: RecordSender<'_>) {
        if self.inbox.has_records() {
            let too_long = mem::take(&mut self.inbox.too_long);
            let frames = self.inbox.records.drain(..);
            records.push(frames, too_long);
        }
    }

    /// Reads records that the worker still reports, until it drains or is gone. Answers are dropped.
    pub(crate) async fn read_until_drained(&mut self, records: RecordSender<'_>) {
        while !self.inbox.has_drain() {
            let read = poll_fn(|cx| self.poll_read(cx)).await;
            self.inbox.answers.clear();
            self.forward_records(records);
            if read.is_err() || self.inbox.take_violation().is_some() {
                return;
            }
        }
    }

    /// Writes once all that is ready.
    ///
    /// While the worker is busy, callers that are about to run go first: their requests leave with the same write.
    fn poll_write(&mut self, driver: &Driver, cx: &mut Context<'_>) -> Written {
        if self.broken.is_some() {
            return Written::Nothing { in_flight: 0 };
        }
        if self.output.is_empty() {
            let mut scheduler = driver.lock();
            match scheduler.next_write(self.id, &mut self.output, cx.waker()) {
                NextWrite::Frames => {}
                NextWrite::Yield => return Written::Yield,
                NextWrite::Nothing { in_flight } => return Written::Nothing { in_flight },
                NextWrite::Drained => return Written::Drained,
            }
        }
        let (slices, count) = self.output.slices();
        match self.write.poll_write(cx, &slices[..count]) {
            Poll::Ready(Ok(n)) => self.output.advance(n),
            Poll::Ready(Err(error)) => self.broken = Some(error),
            Poll::Pending if driver.lock().has_drained(self.id) => return Written::Drained,
            // The worker does not read, so no answer is expected.
            Poll::Pending => return Written::Nothing { in_flight: 0 },
        }
        Written::Some
    }

    /// Closes the connection at the worker's end. The owner then reconnects.
    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
        self.write.hang_up();
    }
}

/// Lets other tasks run first.
fn yield_task(cx: &Context<'_>) -> Poll<Closed> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Callers that have an answer are woken, however the connection ends.
impl Drop for Connection {
    fn drop(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
