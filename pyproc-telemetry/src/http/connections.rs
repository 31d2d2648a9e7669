//! The open connections, and which of them is closed when there are too many.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The time in which a new connection cannot be evicted, so that each is read once. With the default of
/// `max_connections` this allows some 8,000 new connections a second.
const GRACE: Duration = Duration::from_millis(30);

/// Connections that may be answered at a time, however low the limit is.
const MIN_ANSWERS: usize = 16;

pub(super) struct Connections {
    most: usize,
    taken: Mutex<Taken>,
}

/// By number, so the first is the oldest.
#[derive(Default)]
struct Taken {
    next: u64,
    idle: BTreeMap<u64, (Instant, Arc<Notify>)>,
    answered: BTreeMap<u64, Arc<Notify>>,
}

/// An open connection, until it is dropped.
pub(super) struct ConnectionGuard {
    connections: Arc<Connections>,
    number: u64,
    evict: Arc<Notify>,
}

impl Connections {
    /// A limit for connections that have not sent a request, and for those that are being answered.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Adds a new connection. At the limit, the oldest idle one is closed.
    pub(super) async fn take(self: &Arc<Self>) -> ConnectionGuard {
        loop {
            match self.try_take() {
                Ok(place) => return place,
                Err(due) => sleep_until(due).await,
            }
        }
    }

    /// The error is the time for another attempt.
    fn try_take(self: &Arc<Self>) -> Result<ConnectionGuard, Instant> {
        let (mut taken, now) = (self.lock(), Instant::now());
        if taken.idle.len() >= self.most
            && let Some((_, (since, _))) = taken.idle.first_key_value()
        {
            let due = *since + GRACE;
            if now < due {
                return Err(due);
            }
            taken.close_oldest_idle();
        }
        let (number, evict) = (taken.next, Arc::<Notify>::default());
        taken.next += 1;
        taken.idle.insert(number, (now, Arc::clone(&evict)));
        Ok(ConnectionGuard {
            connections: Arc::clone(self),
            number,
            evict,
        })
    }

    /// Closes the oldest idle connection, as the system cannot accept another one.
    pub(super) fn free_one(&self) {
        self.lock().close_oldest_idle();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn close_oldest_idle(&mut self) {
        if let Some((_, (_, evict))) = self.idle.pop_first() {
            evict.notify_one();
        }
    }
}

impl ConnectionGuard {
    /// A complete request has been read. At the limit, the oldest connection that is being answered is closed.
    pub(super) fn begin_answer(&self) {
        let mut taken = self.connections.lock();
        taken.idle.remove(&self.number);
        if taken.answered.len() >= self.connections.most.max(MIN_ANSWERS)
            && let Some((_, evict)) = taken.answered.pop_first()
        {
            evict.notify_one();
        }
        let evict = Arc::clone(&self.evict);
        taken.answered.insert(self.number, evict);
    }

    /// Waits until the connection is evicted. A request that arrives at the last moment is answered.
    pub(super) async fn evicted(&self) {
        while self.is_open() {
            self.evict.notified().await;
        }
    }

    fn is_open(&self) -> bool {
        let taken = self.connections.lock();
        taken.idle.contains_key(&self.number) || taken.answered.contains_key(&self.number)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut taken = self.connections.lock();
        taken.idle.remove(&self.number);
        taken.answered.remove(&self.number);
    }
}
