use std::collections::VecDeque;

use bytes::Bytes;

use super::{ids::CallId, methods::Target};
use crate::outgoing::Outgoing;

/// The unanswered calls of a legacy worker, which has no hello, in the order of their requests. The worker answers in
/// this order.
///
/// Their requests are kept: they may have to be sent again.
#[derive(Debug, Default)]
pub(super) struct InOrder(VecDeque<Unanswered>);

#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) id: CallId,
    pub(super) target: Target,
    pub(super) request: Outgoing,
}

impl InOrder {
    pub(super) fn push(&mut self, call: Unanswered) {
        self.0.push_back(call);
    }

    pub(super) fn oldest(&self) -> Option<CallId> {
        self.0.front().map(|it| it.id)
    }

    pub(super) fn pop(&mut self) -> Option<Unanswered> {
        self.0.pop_front()
    }

    /// The calls, the newest first.
    pub(super) fn into_newest_first(self) -> impl Iterator<Item = Unanswered> {
        self.0.into_iter().rev()
    }

    pub(super) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        let calls = self.0.into_iter();
        calls.map(|it| it.request.payload.into_bytes())
    }
}
