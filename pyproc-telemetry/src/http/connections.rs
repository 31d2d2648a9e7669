//! Which connections there are, and which one gives way when there are too many.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A new connection has so long to send its request before it gives way, so that none is closed before it was read once. With the default
/// of places that is some 8,000 new connections a second.
const MOMENT: Duration = Duration::from_millis(30);

/// Answers that may be on their way however few connections may be idle.
const LEAST_ANSWERS: usize = 16;

pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

/// By number, so that the first is the oldest.
#[derive(Default)]
struct Taken {
    next: u64,
    idle: BTreeMap<u64, (Instant, Arc<Notify>)>,
    answered: BTreeMap<u64, Arc<Notify>>,
}

/// Of one connection, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    gives_way: Arc<Notify>,
}

impl Places {
    /// For so many connections that have not sent a request, and as many that are being answered.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// A place for a new connection: the oldest idle one gives way if need be.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            match self.try_take() {
                Ok(place) => return place,
                Err(due) => sleep_until(due).await,
            }
        }
    }

    /// Else when to ask again.
    fn try_take(self: &Arc<Self>) -> Result<Place, Instant> {
        let (mut taken, now) = (self.lock(), Instant::now());
        if taken.idle.len() >= self.most
            && let Some((_, (since, _))) = taken.idle.first_key_value()
        {
            let due = *since + MOMENT;
            if now < due {
                return Err(due);
            }
            taken.close_oldest_idle();
        }
        let (number, gives_way) = (taken.next, Arc::<Notify>::default());
        taken.next += 1;
        taken.idle.insert(number, (now, Arc::clone(&gives_way)));
        Ok(Place {
            places: Arc::clone(self),
            number,
            gives_way,
        })
    }

    /// Closes the oldest idle connection: the system has no room for another one.
    pub(super) fn free_one(&self) {
        self.lock().close_oldest_idle();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn close_oldest_idle(&mut self) {
        if let Some((_, (_, gives_way))) = self.idle.pop_first() {
            gives_way.notify_one();
        }
    }
}

impl Place {
    /// A whole request has come. If there are too many answers on their way, the one that has taken longest gives way.
    pub(super) fn begin_answer(&self) {
        let mut taken = self.places.lock();
        taken.idle.remove(&self.number);
        if taken.answered.len() >= self.places.most.max(LEAST_ANSWERS)
            && let Some((_, gives_way)) = taken.answered.pop_first()
        {
            gives_way.notify_one();
        }
        let gives_way = Arc::clone(&self.gives_way);
        taken.answered.insert(self.number, gives_way);
    }

    /// Waits until the connection is to give way. A request that came at the last moment is answered all the same.
    pub(super) async fn gives_way(&self) {
        while self.is_kept() {
            self.gives_way.notified().await;
        }
    }

    fn is_kept(&self) -> bool {
        let taken = self.places.lock();
        taken.idle.contains_key(&self.number) || taken.answered.contains_key(&self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.idle.remove(&self.number);
        taken.answered.remove(&self.number);
    }
}
