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

use super::{Driver, Locked, Outlet, inbox::Inbox, spin::Spin};
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
/// What it does costs most where it wakes somebody up, so it works in batches: one read takes all that
/// arrived, one write all that is ready. Callers that it wakes run before it comes back; most of them then write their
/// next requests themselves, and it writes what they leave.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Names no connection before the worker gets calls.
    id: ConnectionId,
    read: ReadHalf,
    write: Arc<WriteHalf>,
    is_on_this_host: bool,
    max_frame_size: usize,
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
    /// Nothing, and there will be no more.
    Drained,
}

/// Where callers run on several threads, an answer to so many calls is looked for a moment before sleeping: there, to
/// sleep and to be woken is most of what a connection costs.
const MANY: usize = 8;
const MOMENT: Duration = Duration::from_micros(20);

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
            true => (MOMENT, MANY),
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

    /// What the worker says is its process id, if that is one of this host.
    pub(crate) fn peer_pid(&self) -> Option<u32> {
        match self.peer() {
            Peer::Negotiated(info) if info.pid != 0 && self.is_on_this_host => Some(info.pid),
            _ => None,
        }
    }

    /// What the scheduler calls it.
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
        let outlet = Outlet {
            write: Arc::downgrade(&self.write),
            attributor: attributor.filter(|_| *self.peer() == Peer::Legacy),
        };
        self.id = scheduler.up(slot, self.peer(), config, outlet, self.inbox.clock.now());
    }

    /// Carries requests and answers until the connection ends. What the worker reports goes to `records`.
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
                    None => return again(cx),
                },
                Poll::Pending => {}
            }
            self.wakers.drain(..).for_each(Waker::wake);
            if others_first {
                return again(cx);
            }
            let written = self.poll_write(driver, cx);
            if matches!(written, Written::Later) {
                return again(cx);
            }
            let in_flight = match (written, read) {
                (Written::Nothing { in_flight }, Poll::Pending) => in_flight,
                (Written::Drained, Poll::Pending) => return Poll::Ready(Closed::Drained),
                _ => continue,
            };
            if in_flight < self.busy || !self.spin.again(|| Clock::System.now()) {
                return Poll::Pending;
            }
            match self.inbox.look(&self.read) {
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
        match ready!(self.read.poll_read(cx, self.inbox.with_room())) {
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
        match self.inbox.look(&self.read) {
            Ok(true) => None,
            _ => self.broken.take().map(Closed::Failed),
        }
    }

    /// Brings all answers to their calls, and returns whether others run before anything is written. Callers are woken
    /// later, but what was answered is answered.
    fn deliver(&mut self, driver: &Driver, records: RecordSender<'_>) -> Result<bool, Closed> {
        let arrived = self.inbox.arrived;
        self.spin.on_catch(|| arrived);
        self.pass_on_records(records);
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
            Verdict::GoOn => {
                self.inbox.parse();
                Ok(())
            }
            Verdict::Reconnect => Err(Closed::MustReconnect),
            Verdict::Broken(violation) => Err(Closed::Violation(violation)),
        }
    }

    fn pass_on_records(&mut self, records: RecordSender<'_>) {
        if self.inbox.has_records() {
            let too_long = mem::take(&mut self.inbox.too_long);
            let frames = self.inbox.records.drain(..);
            records.push(frames, too_long);
        }
    }

    /// Reads what the worker still reports, until it takes no more requests or is gone. Its answers reach nobody any more.
    pub(crate) async fn read_until_drained(&mut self, records: RecordSender<'_>) {
        while !self.inbox.has_drain() {
            let read = poll_fn(|cx| self.poll_read(cx)).await;
            self.inbox.answers.clear();
            self.pass_on_records(records);
            if read.is_err() || self.inbox.take_violation().is_some() {
                return;
            }
        }
    }

    /// One write of all that is ready.
    ///
    /// While the worker is busy anyway, callers that are about to run are let through first: their
    /// requests go out with the same write.
    fn poll_write(&mut self, driver: &Driver, cx: &mut Context<'_>) -> Written {
        if self.broken.is_some() {
            return Written::Nothing { in_flight: 0 };
        }
        if self.output.is_empty() {
            let mut scheduler = driver.lock();
            match scheduler.next_write(self.id, &mut self.output, cx.waker()) {
                NextWrite::Frames => {}
                NextWrite::Later => return Written::Later,
                NextWrite::Nothing { in_flight } => return Written::Nothing { in_flight },
                NextWrite::Drained => return Written::Drained,
            }
        }
        let (slices, count) = self.output.slices();
        match self.write.poll_write(cx, &slices[..count]) {
            Poll::Ready(Ok(n)) => self.output.advance(n),
            Poll::Ready(Err(error)) => self.broken = Some(error),
            Poll::Pending if driver.lock().has_drained(self.id) => return Written::Drained,
            // The worker does not read: there is nothing to look out for.
            Poll::Pending => return Written::Nothing { in_flight: 0 },
        }
        Written::Some
    }

    /// Ends the connection for the worker; whoever has this one is to connect again.
    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
        self.write.hang_up();
    }
}

/// Lets other tasks run, and comes back.
fn again(cx: &Context<'_>) -> Poll<Closed> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// However the connection ends, callers that have an answer are woken.
impl Drop for Connection {
    fn drop(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
