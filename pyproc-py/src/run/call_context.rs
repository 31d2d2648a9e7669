//! The context in which a plain function runs.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::call_info::CallInfo;
use super::placeholder::Placeholder;
use crate::ffi::{self, ContextCopy, SpareContext};
use crate::state::{ConnectionId, Core};
use crate::transport::CallMetadata;

/// The copy of the serving thread's context in which one plain function runs. Code that asks for the call finds it
/// through `CallLookup` on this thread, and through the placeholder wherever it takes its context.
pub(crate) struct CallContext<'py> {
    copy: ContextCopy<'py>,
    /// The call's info, if hooks are to be called around it.
    info: Option<CallInfo<'py>>,
}

impl<'py> CallContext<'py> {
    /// Enters the context for a call. Dropping it leaves the context.
    #[inline]
    pub(crate) fn enter(
        py: Python<'py>,
        spare: &mut SpareContext<'py>,
        placeholder: &mut Placeholder,
        core: &Arc<Core>,
        connection_id: ConnectionId,
        metadata: &CallMetadata,
    ) -> PyResult<Self> {
        let info = placeholder.begin(py, core, connection_id, metadata)?;
        if placeholder.is_set() {
            spare.clear();
        }
        let copy = ContextCopy::enter(py, spare)?;
        Ok(Self { copy, info })
    }

    #[inline]
    pub(crate) fn leave(self, spare: &mut SpareContext<'py>) {
        self.copy.leave(spare);
    }

    /// Runs the function, once.
    #[inline]
    pub(crate) fn run(
        &mut self,
        name: &Py<PyString>,
        start: &Bound<'py, PyAny>,
        body: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.info.take() {
            Some(info) => info.run(name, start, body),
            None => ffi::call(start, body),
        }
    }
}
