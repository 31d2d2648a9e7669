use std::{task::Waker, time::Instant};

use pyproc_protocol::v2::Response;

use super::{
    ids::{CallId, ConnectionId, LAST_USE, PLACE_BITS},
    methods::Target,
};
use crate::{Error, outgoing::Outgoing};

/// All calls that a caller waits for, or that a worker has.
///
/// A call's id on the wire contains its place in the table, and how often that place was used before. So an answer
/// finds its call without a search, and a late answer never matches the next call in the same place.
#[derive(Debug, Default)]
pub(crate) struct CallTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    uses: u64,
    call: Option<Call>,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: CallState,
    /// It runs concurrently with other calls.
    pub(crate) concurrent: bool,
    /// Wakes the caller when the call is completed or its deadline has passed.
    pub(crate) waker: Option<Waker>,
    /// When the call times out; `None` once that time has passed.
    pub(crate) deadline: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum CallState {
    /// Queued in the pool.
    Queued(Target, Outgoing),
    /// In flight.
    OnWorker {
        connection: ConnectionId,
        sent: Instant,
        /// The caller no longer waits. The worker's capacity stays taken until it answers or dies.
        cancelled: bool,
    },
    /// Completed; its caller has not taken the outcome yet.
    Done(Outcome),
}

pub(crate) type Outcome = Result<Answered, Error>;

/// An answer, the slot of the worker that sent it, and when the call was dispatched and answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) worker: usize,
    pub(crate) answer: Response,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    /// The worker listed no functions, so only its answers show which functions exist.
    pub(crate) worker_lists_none: bool,
}

impl CallState {
    pub(crate) fn on_worker(connection: ConnectionId, sent: Instant) -> Self {
        Self::OnWorker {
            connection,
            sent,
            cancelled: false,
        }
    }

    /// Whether the caller waits for an outcome that does not exist yet.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Self::Queued(..) => true,
            Self::OnWorker { cancelled, .. } => !cancelled,
            Self::Done(_) => false,
        }
    }
}

impl CallTable {
    /// Whether the table is full, at about a million calls.
    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.entries.len() >> PLACE_BITS != 0
    }

    /// Enters a call; `None` when the table is full.
    #[inline]
    pub(crate) fn insert(&mut self, call: Call) -> Option<CallId> {
        if let Some(place) = self.free.pop() {
            let entry = &mut self.entries[place as usize];
            // It wraps after billions of calls. 0 is left out, which keeps ids above 0.
            entry.uses = entry.uses % LAST_USE + 1;
            entry.call = Some(call);
            return Some(CallId::new(place, entry.uses));
        }
        if self.is_full() {
            return None;
        }
        let place = u32::try_from(self.entries.len()).ok()?;
        self.entries.push(Entry {
            uses: 1,
            call: Some(call),
        });
        Some(CallId::new(place, 1))
    }

    pub(crate) fn get(&self, id: CallId) -> Option<&Call> {
        let entry = self.entries.get(id.place())?;
        let call = entry.call.as_ref()?;
        (entry.uses == id.uses()).then_some(call)
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        let entry = self.entries.get_mut(id.place())?;
        let call = entry.call.as_mut()?;
        (entry.uses == id.uses()).then_some(call)
    }

    /// Number of calls in the table.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: CallId) -> Option<Call> {
        self.get(id)?;
        let call = self.entries[id.place()].call.take();
        self.free.push(id.place() as u32);
        call
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| {
                let call = entry.call.as_ref()?;
                Some((CallId::new(place as u32, entry.uses), call))
            })
    }
}

#[cfg(test)]
mod tests {
    use pyproc_protocol::MAX_ID;

    use super::*;

    fn call() -> Call {
        Call {
            state: CallState::on_worker(ConnectionId::default(), Instant::now()),
            concurrent: false,
            waker: None,
            deadline: None,
        }
    }

    #[test]
    fn an_id_is_good_until_its_call_is_removed() {
        let mut table = CallTable::default();
        let id = table.insert(call()).unwrap();
        assert!(table.get(id).is_some());
        assert!(table.remove(id).is_some());
        assert!(table.get(id).is_none());
        assert!(table.remove(id).is_none());
    }

    #[test]
    fn the_next_call_in_the_same_place_has_another_id() {
        let mut table = CallTable::default();
        let first = table.insert(call()).unwrap();
        table.remove(first);
        let second = table.insert(call()).unwrap();
        assert_eq!(first.place(), second.place());
        assert_ne!(first, second);
        assert!(table.get(first).is_none() && table.get(second).is_some());
    }

    #[test]
    fn ids_stay_within_what_every_json_reader_keeps() {
        let mut table = CallTable::default();
        let id = table.insert(call()).unwrap();
        table.entries[0].uses = LAST_USE;
        table.remove(CallId::new(0, LAST_USE)).unwrap();
        let wrapped = table.insert(call()).unwrap();
        assert_eq!(wrapped, id);
        assert!(CallId::new((1 << PLACE_BITS) - 1, LAST_USE).to_wire() <= MAX_ID);
        assert_ne!(id.to_wire(), 0);
    }

    #[test]
    fn ids_that_were_never_given_out_name_nothing() {
        let mut table = CallTable::default();
        table.insert(call()).unwrap();
        for id in [0, 1, 1 << PLACE_BITS | 1, 2 << PLACE_BITS, u64::MAX] {
            assert!(table.get(CallId::from_wire(id)).is_none(), "{id}");
        }
    }

    #[test]
    fn a_call_takes_no_more_than_a_few_hundred_bytes() {
        let size = size_of::<Entry>();
        assert!(size <= 320, "{size}");
    }
}
