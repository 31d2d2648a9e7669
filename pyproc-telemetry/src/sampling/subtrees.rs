//! Unsampled spans, by the local root under which they were started.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;

use super::rule::{TailRule, marked};
use crate::TailSampling;

/// A span's id within its trace. A subtree has that of its local root.
type Key = (TraceId, SpanId);

#[derive(Debug)]
pub(super) struct Subtrees {
    max_subtrees: usize,
    max_spans_per_subtree: usize,
    max_spans: usize,
    subtrees: HashMap<Key, Subtree>,
    /// For each member of a subtree, the subtree's local root.
    owners: HashMap<Key, SpanId>,
    /// The newest subtree of a trace, for spans that were made elsewhere.
    newest: HashMap<TraceId, SpanId>,
    /// By age.
    ages: BTreeMap<u64, Key>,
    born: u64,
    /// Ended spans of all subtrees.
    held: usize,
    evicted: u64,
}

#[derive(Debug, Default)]
struct Subtree {
    age: u64,
    /// All spans that were started under the root, and the root.
    members: Vec<SpanId>,
    /// The number of members that have not ended.
    open: usize,
    /// Ended and not decided.
    ended: Vec<SpanData>,
    failed: bool,
    /// Whether the subtree is kept, once its root has ended. Late spans follow this decision.
    kept: Option<bool>,
}

impl Subtrees {
    pub(super) fn new(config: &TailSampling) -> Self {
        Self {
            max_subtrees: config.max_subtrees,
            max_spans_per_subtree: config.max_spans_per_subtree,
            max_spans: config.max_spans,
            subtrees: HashMap::new(),
            owners: HashMap::new(),
            newest: HashMap::new(),
            ages: BTreeMap::new(),
            born: 0,
            held: 0,
            evicted: 0,
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the spans of an evicted subtree that are kept.
    pub(super) fn started(&mut self, span: &SpanContext, parent: &SpanContext) -> Vec<SpanData> {
        let (trace, id) = (span.trace_id(), span.span_id());
        let has_local_parent = parent.is_valid() && !parent.is_remote();
        let root = match has_local_parent {
            true => self.root_under(trace, parent.span_id()),
            false => None,
        };
        match root {
            Some(root) => {
                self.join((trace, root), id);
                Vec::new()
            }
            None => self.plant((trace, id)),
        }
    }

    /// Returns the spans that are kept.
    pub(super) fn ended(&mut self, span: SpanData, rule: &TailRule) -> Vec<SpanData> {
        let trace = span.span_context.trace_id();
        let id = span.span_context.span_id();
        let member = self.owners.get(&(trace, id)).copied();
        let root = member.or_else(|| self.root_under(trace, span.parent_span_id));
        let Some(subtree) = root.and_then(|root| self.subtrees.get_mut(&(trace, root))) else {
            return alone(span, rule);
        };
        // Saturating, as a span made elsewhere may have the id of one made here.
        subtree.open = subtree.open.saturating_sub(member.is_some().into());
        let is_root = root == Some(id);
        let kept = match subtree.kept {
            Some(true) => vec![span],
            Some(false) => alone(span, rule),
            None if is_root => {
                self.held -= subtree.ended.len();
                subtree.decide(span, rule)
            }
            None => {
                subtree.failed |= rule.has_failed(&span);
                let room = subtree.ended.len() < self.max_spans_per_subtree;
                if room && self.held < self.max_spans {
                    self.held += 1;
                    subtree.ended.push(span);
                } else {
                    self.evicted += 1;
                }
                Vec::new()
            }
        };
        if subtree.open == 0 && subtree.kept.is_some() {
            self.remove((trace, root.unwrap_or(id)));
        }
        kept
    }

    /// Decides all open subtrees: a root that has not ended counts as not slow.
    pub(super) fn finish(&mut self) -> Vec<SpanData> {
        let keys: Vec<_> = self.ages.values().copied().collect();
        keys.into_iter().flat_map(|key| self.evict(key)).collect()
    }

    /// The subtree of a span with this parent. An unknown parent was over the bound or made elsewhere; it most likely
    /// belongs to the newest subtree of its trace.
    fn root_under(&self, trace: TraceId, parent: SpanId) -> Option<SpanId> {
        let owner = self.owners.get(&(trace, parent));
        owner.or_else(|| self.newest.get(&trace)).copied()
    }

    fn plant(&mut self, key: Key) -> Vec<SpanData> {
        let evicted = match self.ages.first_key_value() {
            Some((_, oldest)) if self.subtrees.len() >= self.max_subtrees => self.evict(*oldest),
            _ => Vec::new(),
        };
        self.born += 1;
        self.ages.insert(self.born, key);
        self.newest.insert(key.0, key.1);
        let subtree = Subtree {
            age: self.born,
            ..Subtree::default()
        };
        self.subtrees.insert(key, subtree);
        self.join(key, key.1);
        evicted
    }

    /// A span over the bound does not become a member. At its end it is found by its parent or its trace.
    fn join(&mut self, key: Key, id: SpanId) {
        let Some(subtree) = self.subtrees.get_mut(&key) else {
            return;
        };
        if subtree.members.len() <= self.max_spans_per_subtree {
            subtree.members.push(id);
            subtree.open += 1;
            self.owners.insert((key.0, id), key.1);
        }
    }

    /// Removes a subtree to make room. A failed subtree is kept, even without its root.
    fn evict(&mut self, key: Key) -> Vec<SpanData> {
        let Some(subtree) = self.remove(key) else {
            return Vec::new();
        };
        self.held -= subtree.ended.len();
        if subtree.failed {
            return subtree.ended;
        }
        self.evicted += subtree.ended.len() as u64;
        Vec::new()
    }

    fn remove(&mut self, key: Key) -> Option<Subtree> {
        let subtree = self.subtrees.remove(&key)?;
        self.ages.remove(&subtree.age);
        for member in &subtree.members {
            self.owners.remove(&(key.0, *member));
        }
        if self.newest.get(&key.0) == Some(&key.1) {
            self.newest.remove(&key.0);
        }
        Some(subtree)
    }
}

impl Subtree {
    fn decide(&mut self, root: SpanData, rule: &TailRule) -> Vec<SpanData> {
        let ended = std::mem::take(&mut self.ended);
        let reason = match self.failed {
            true => Some("failed"),
            false => rule.reason(&root),
        };
        self.kept = Some(reason.is_some());
        match reason {
            Some(reason) => {
                let mut kept = ended;
                kept.push(marked(root, reason));
                kept
            }
            None => Vec::new(),
        }
    }
}

/// Decides a span whose subtree is gone.
fn alone(span: SpanData, rule: &TailRule) -> Vec<SpanData> {
    match rule.reason(&span) {
        Some(reason) => vec![marked(span, reason)],
        None => Vec::new(),
    }
}
