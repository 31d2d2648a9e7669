//! The functions that have series of their own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::Error;

use super::{families::Families, function::Function};
use crate::metrics::pool::builder::PoolMetricsBuilder;

const MAX_FUNCTIONS: usize = 1024;
/// The name that all other functions share.
pub(super) const UNKNOWN: &str = "unknown";

pub(super) struct Functions {
    /// Distinguishes the functions of one registry from those of another.
    pub(super) id: u64,
    pub(super) families: Families,
    /// Only names that a worker has listed or the service has given.
    functions: RwLock<BTreeMap<Box<str>, Arc<Function>>>,
}

impl Functions {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let functions = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            families: Families::new(settings)?,
            functions: RwLock::default(),
        };
        for name in &settings.functions {
            functions.get_or_add(name);
        }
        Ok(functions)
    }

    pub(super) fn known(&self, name: &str) -> Option<Arc<Function>> {
        let functions = self.functions.read();
        let functions = functions.unwrap_or_else(PoisonError::into_inner);
        functions.get(name).cloned()
    }

    /// The function of this name, which may be new. Beyond the limit it is the unknown function.
    pub(super) fn get_or_add(&self, name: &str) -> Arc<Function> {
        let functions = self.functions.write();
        let mut functions = functions.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = functions.get(name) {
            return Arc::clone(known);
        }
        let name = match functions.len() < MAX_FUNCTIONS {
            true => name,
            false => UNKNOWN,
        };
        let function = functions
            .entry(name.into())
            .or_insert_with(|| Arc::new(self.families.function(name, self.id)));
        Arc::clone(function)
    }

    pub(super) fn all(&self) -> Vec<Arc<Function>> {
        let functions = self.functions.read();
        let functions = functions.unwrap_or_else(PoisonError::into_inner);
        functions.values().cloned().collect()
    }
}
