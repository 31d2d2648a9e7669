use std::{cell::Cell, collections::HashMap, sync::Arc};

use pyproc_protocol::{FunctionInfo, Peer, Version};

/// The functions that workers have listed or answered and those that callers named, each under a number of the pool's own, so that a
/// call that waits need not keep its function's name.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    ids: HashMap<Box<str>, MethodId>,
    known: Vec<Method>,
    /// The one that was looked up last: often the next one, too.
    latest: Cell<Option<MethodId>>,
    /// How many are functions only because a worker answered a call of that name.
    answered: usize,
}

/// The pool's number for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId(u32);

#[derive(Debug)]
struct Method {
    name: Arc<str>,
    /// A worker has listed it or answered it with success, so that it is no name that a caller made up.
    confirmed: bool,
    concurrent: bool,
}

/// How a call names its function.
#[derive(Debug)]
pub(crate) enum Target {
    Known(MethodId),
    /// One too many.
    Other(Box<str>),
}

/// The functions of a worker.
#[derive(Debug, Default)]
pub(crate) struct MethodTable {
    /// What the worker calls them, by their numbers in the pool.
    places: Vec<Option<u16>>,
    listed: Vec<MethodId>,
}

/// Workers may list other functions after each restart; those beyond this number go by name.
const MOST_LISTED: usize = 1 << 16;

/// A worker may answer calls of any name: fewer of these names count as functions.
const MOST_ANSWERED: usize = 256;

/// Callers may name anything: fewer of their names get a number.
const MOST_HEARD: usize = 1 << 12;

/// In bytes; longer names go by themselves.
const LONGEST: usize = 256;

impl Methods {
    /// Takes the functions that a worker listed into account.
    pub(crate) fn learn(&mut self, peer: &Peer) -> MethodTable {
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
            None if self.known.len() >= MOST_LISTED || function.name.len() > LONGEST => {
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

    /// What a call that waits keeps of the name that its caller gave.
    pub(crate) fn hear(&mut self, name: &str) -> Target {
        match self.find(name) {
            Some(id) => Target::Known(id),
            None if self.known.len() < MOST_HEARD && name.len() <= LONGEST => {
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

    /// Confirms a function that no worker has listed: a worker answered a call of it with success. Returns whether it is
    /// confirmed from now on.
    pub(crate) fn confirm(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if self.is_confirmed(found) {
            return true;
        }
        if self.answered >= MOST_ANSWERED || name.len() > LONGEST {
            return false;
        }
        let id = match found {
            Some(id) => id,
            None if self.known.len() >= MOST_LISTED => return false,
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

    /// Whether its calls run beside other calls.
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

    /// The function's place in the table of the worker.
    pub(crate) fn index(&self, id: Option<MethodId>) -> Option<u16> {
        self.places.get(id?.0 as usize).copied().flatten()
    }

    /// What the worker listed, in its order.
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
        let long = "x".repeat(LONGEST + 1);
        assert!(matches!(methods.hear(&long), Target::Other(name) if *name == *long));
        for i in 0..2 * MOST_HEARD {
            let target = methods.hear(&i.to_string());
            assert_eq!(methods.resolve(&target).0, i.to_string());
            assert!(!methods.is_confirmed(methods.find(&i.to_string())));
        }
        assert_eq!(methods.known.len(), MOST_HEARD);
    }

    #[test]
    fn answers_confirm_names_up_to_a_bound_also_where_callers_made_up_others_before() {
        let mut methods = Methods::default();
        for i in 0..2 * MOST_HEARD {
            methods.hear(&format!("made up {i}"));
        }
        assert!(!methods.confirm(&"x".repeat(LONGEST + 1)));
        for i in 0..2 * MOST_ANSWERED {
            // Asked again, it is as before.
            for _ in 0..2 {
                let name = i.to_string();
                assert_eq!(methods.confirm(&name), i < MOST_ANSWERED);
                assert_eq!(methods.is_confirmed(methods.find(&name)), i < MOST_ANSWERED);
            }
        }
        assert_eq!(methods.known.len(), MOST_HEARD + MOST_ANSWERED);
    }
}
