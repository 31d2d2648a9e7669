use std::collections::HashMap;

use pyproc_protocol::{FunctionInfo, Peer, Version};

/// The functions that workers have listed, each under a number of the pool's own, so that a call
/// that waits need not keep its function's name.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    ids: HashMap<Box<str>, MethodId>,
    listed: Vec<Method>,
}

/// The pool's number for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodId(u32);

#[derive(Debug)]
struct Method {
    name: Box<str>,
    concurrent: bool,
}

/// How a call names its function.
#[derive(Debug)]
pub(crate) enum Target {
    Listed(MethodId),
    /// No worker has listed it. It may exist all the same.
    Other(Box<str>),
}

/// What a worker calls the functions, by their numbers in the pool.
#[derive(Debug, Default)]
pub(crate) struct MethodTable(Vec<Option<u16>>);

/// Workers may list other functions after each restart; those beyond this number go by name.
const MOST: usize = 1 << 16;

impl Methods {
    /// Takes the functions that a worker listed into account.
    pub(crate) fn learn(&mut self, peer: &Peer) -> MethodTable {
        let mut table = MethodTable::default();
        for (place, function) in peer.functions().iter().enumerate() {
            let Some(id) = self.enter(function) else {
                continue;
            };
            if peer.version() >= Version::V2 {
                table.set(id, place);
            }
        }
        table
    }

    fn enter(&mut self, function: &FunctionInfo) -> Option<MethodId> {
        if let Some(id) = self.find(&function.name) {
            self.listed[id.0 as usize].concurrent = function.concurrent;
            return Some(id);
        }
        if self.listed.len() == MOST {
            return None;
        }
        let id = MethodId(self.listed.len() as u32);
        let name: Box<str> = function.name.as_str().into();
        self.ids.insert(name.clone(), id);
        self.listed.push(Method {
            name,
            concurrent: function.concurrent,
        });
        Some(id)
    }

    pub(crate) fn find(&self, name: &str) -> Option<MethodId> {
        self.ids.get(name).copied()
    }

    /// The function's name, and its number if a worker has listed it by now.
    pub(crate) fn resolve<'a>(&'a self, target: &'a Target) -> (&'a str, Option<MethodId>) {
        match target {
            Target::Listed(id) => (&self.listed[id.0 as usize].name, Some(*id)),
            Target::Other(name) => (name, self.find(name)),
        }
    }

    /// Whether its calls run beside other calls.
    pub(crate) fn is_concurrent(&self, id: Option<MethodId>) -> bool {
        id.is_some_and(|id| self.listed[id.0 as usize].concurrent)
    }
}

impl MethodTable {
    fn set(&mut self, id: MethodId, place: usize) {
        let id = id.0 as usize;
        if self.0.len() <= id {
            self.0.resize(id + 1, None);
        }
        self.0[id] = u16::try_from(place).ok();
    }

    /// The function's place in the table of the worker.
    pub(crate) fn index(&self, id: Option<MethodId>) -> Option<u16> {
        self.0.get(id?.0 as usize).copied().flatten()
    }
}
