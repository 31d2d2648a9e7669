use std::{cell::Cell, collections::HashMap, sync::Arc};

use pyproc_protocol::{FunctionInfo, Peer, Version};

/// The functions that workers listed or answered, and those that callers named. Each has a number, so a queued call
/// need not keep its function's name.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    ids: HashMap<Box<str>, MethodId>,
    known: Vec<Method>,
    /// The latest one that was found, which is often the next one, too.
    latest: Cell<Option<MethodId>>,
    /// Number of functions that are confirmed only by an answer.
    answered: usize,
}

/// The pool's number for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId(u32);

#[derive(Debug)]
struct Method {
    name: Arc<str>,
    /// A worker listed it or answered it with success, so a caller did not make it up.
    confirmed: bool,
    concurrent: bool,
}

/// How a call names its function.
#[derive(Debug)]
pub(crate) enum Target {
    Known(MethodId),
    /// There is no number left for it.
    Other(Box<str>),
}

/// The functions of a worker.
#[derive(Debug, Default)]
pub(crate) struct MethodTable {
    /// The worker's index of each function, by the pool's number.
    places: Vec<Option<u16>>,
    listed: Vec<MethodId>,
}

/// Workers may list other functions after each restart. Functions beyond this number go by name.
const MAX_LISTED: usize = 1 << 16;

/// A worker may answer calls of any name. No more than this number of such names is confirmed.
const MAX_ANSWERED: usize = 256;

/// Callers may name anything. No more than this number of names gets a number.
const MAX_NAMED: usize = 1 << 12;

/// In bytes. Longer names get no number.
const MAX_NAME_LENGTH: usize = 256;

impl Methods {
    /// Registers the functions that a worker listed.
    pub(crate) fn register(&mut self, peer: &Peer) -> MethodTable {
        let mut table = MethodTable::default();
        for (place, function) in peer.functions().iter().enumerate() {
            let Some(id) = self.enter(function) else {
                continue;
            };
            table.listed.push(id);
            if peer.version() >= Version::V2 {
                table.set(id, place);
            }
        }
        table
    }

    fn enter(&mut self, function: &FunctionInfo) -> Option<MethodId> {
        let id = match self.find(&function.name) {
            Some(id) => id,
            None if self.known.len() >= MAX_LISTED || function.name.len() > MAX_NAME_LENGTH => {
                return None;
            }
            None => self.add(&function.name),
        };
        let method = &mut self.known[id.0 as usize];
        method.confirmed = true;
        method.concurrent = function.concurrent;
        Some(id)
    }

    fn add(&mut self, name: &str) -> MethodId {
        let id = MethodId(self.known.len() as u32);
        self.ids.insert(name.into(), id);
        self.known.push(Method {
            name: name.into(),
            confirmed: false,
            concurrent: false,
        });
        id
    }

    pub(crate) fn find(&self, name: &str) -> Option<MethodId> {
        let latest = self.latest.get();
        if latest.is_some_and(|id| &*self.known[id.0 as usize].name == name) {
            return latest;
        }
        let found = self.ids.get(name).copied();
        self.latest.set(found.or(latest));
        found
    }

    /// What a queued call keeps of its function's name.
    pub(crate) fn target_of(&mut self, name: &str) -> Target {
        match self.find(name) {
            Some(id) => Target::Known(id),
            None if self.known.len() < MAX_NAMED && name.len() <= MAX_NAME_LENGTH => {
                Target::Known(self.add(name))
            }
            None => Target::Other(name.into()),
        }
    }

    /// The function's name, and its number if it has one by now.
    pub(crate) fn resolve<'a>(&'a self, target: &'a Target) -> (&'a str, Option<MethodId>) {
        match target {
            Target::Known(id) => (&self.known[id.0 as usize].name, Some(*id)),
            Target::Other(name) => (name, self.find(name)),
        }
    }

    /// Confirms a function that a worker answered with success, and that no worker listed. Returns whether it is
    /// confirmed now.
    pub(crate) fn confirm(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if self.is_confirmed(found) {
            return true;
        }
        if self.answered >= MAX_ANSWERED || name.len() > MAX_NAME_LENGTH {
            return false;
        }
        let id = match found {
            Some(id) => id,
            None if self.known.len() >= MAX_LISTED => return false,
            None => self.add(name),
        };
        self.known[id.0 as usize].confirmed = true;
        self.answered += 1;
        true
    }

    /// Whether a worker has listed it or answered it with success.
    pub(crate) fn is_confirmed(&self, id: Option<MethodId>) -> bool {
        id.is_some_and(|id| self.known[id.0 as usize].confirmed)
    }

    pub(crate) fn name(&self, id: MethodId) -> Arc<str> {
        Arc::clone(&self.known[id.0 as usize].name)
    }

    /// Whether its calls run concurrently with others.
    pub(crate) fn is_concurrent(&self, id: Option<MethodId>) -> bool {
        id.is_some_and(|id| self.known[id.0 as usize].concurrent)
    }
}

impl MethodTable {
    fn set(&mut self, id: MethodId, place: usize) {
        let id = id.0 as usize;
        if self.places.len() <= id {
            self.places.resize(id + 1, None);
        }
        self.places[id] = u16::try_from(place).ok();
    }

    /// The function's index in the worker's table.
    pub(crate) fn index(&self, id: Option<MethodId>) -> Option<u16> {
        self.places.get(id?.0 as usize).copied().flatten()
    }

    /// The functions that the worker listed, in its order.
    pub(crate) fn listed(&self) -> &[MethodId] {
        &self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_callers_make_up_are_kept_up_to_a_bound_and_are_never_confirmed() {
        let mut methods = Methods::default();
        let long = "x".repeat(MAX_NAME_LENGTH + 1);
        assert!(matches!(methods.target_of(&long), Target::Other(name) if *name == *long));
        for i in 0..2 * MAX_NAMED {
            let target = methods.target_of(&i.to_string());
            assert_eq!(methods.resolve(&target).0, i.to_string());
            assert!(!methods.is_confirmed(methods.find(&i.to_string())));
        }
        assert_eq!(methods.known.len(), MAX_NAMED);
    }

    #[test]
    fn answers_confirm_names_up_to_a_bound_also_where_callers_made_up_others_before() {
        let mut methods = Methods::default();
        for i in 0..2 * MAX_NAMED {
            methods.target_of(&format!("made up {i}"));
        }
        assert!(!methods.confirm(&"x".repeat(MAX_NAME_LENGTH + 1)));
        for i in 0..2 * MAX_ANSWERED {
            // Asked again, it is as before.
            for _ in 0..2 {
                let name = i.to_string();
                assert_eq!(methods.confirm(&name), i < MAX_ANSWERED);
                assert_eq!(methods.is_confirmed(methods.find(&name)), i < MAX_ANSWERED);
            }
        }
        assert_eq!(methods.known.len(), MAX_NAMED + MAX_ANSWERED);
    }
}
