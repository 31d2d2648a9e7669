//! The exposed functions as the core calls them.

use std::collections::HashMap;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::objects::Package;

/// The position of a function in the order of exposure. It never changes, so an id means the same name for ever, on
/// each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FunctionId(pub(crate) usize);

/// The exposed functions, as one thread knows them.
#[derive(Default)]
pub(crate) struct Functions {
    ids: HashMap<String, FunctionId>,
    functions: Vec<Function>,
}

/// What is exposed under one name.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The name as a Python str.
    pub(crate) text: Py<PyString>,
    exposed: Py<PyAny>,
    call: Py<PyAny>,
    /// It is `async def`.
    pub(crate) is_async: bool,
    /// It takes a `cancel_event`.
    pub(crate) cancellable: bool,
    /// Its last call was so short that earlier answers may wait for it.
    pub(crate) quick: bool,
}

impl Functions {
    /// The function of this name, if there is one.
    pub(crate) fn find(
        &mut self,
        py: Python<'_>,
        package: &Package,
        name: &str,
    ) -> PyResult<Option<FunctionId>> {
        if let Some(id) = self.ids.get(name) {
            return Ok(Some(*id));
        }
        self.update(py, package)?;
        Ok(self.ids.get(name).copied())
    }

    /// The functions that the answer to a hello lists at this moment, in its order.
    pub(crate) fn table(&mut self, py: Python<'_>, package: &Package) -> PyResult<Vec<FunctionId>> {
        self.update(py, package)?;
        let names = package.table(py)?;
        Ok(names
            .iter()
            .filter_map(|name| self.ids.get(name).copied())
            .collect())
    }

    /// Adds the functions that were exposed since the last time.
    pub(crate) fn update(&mut self, py: Python<'_>, package: &Package) -> PyResult<()> {
        for exposed in package.exposed_from(py, self.functions.len())? {
            self.add(exposed)?;
        }
        Ok(())
    }

    /// The function, ready to be called.
    pub(crate) fn get<'py>(
        &mut self,
        py: Python<'py>,
        id: FunctionId,
    ) -> PyResult<(&mut Function, Bound<'py, PyAny>)> {
        let function = &mut self.functions[id.0];
        let call = function.exposed.bind(py).getattr(intern!(py, "call"))?;
        if !call.is(&function.call) {
            function.read(call.clone())?;
        }
        Ok((function, call))
    }

    pub(crate) fn about(&self, id: FunctionId) -> &Function {
        &self.functions[id.0]
    }

    pub(crate) fn get_mut(&mut self, id: FunctionId) -> &mut Function {
        &mut self.functions[id.0]
    }

    fn add(&mut self, exposed: Bound<'_, PyAny>) -> PyResult<()> {
        let text: Bound<'_, PyString> = exposed.getattr("name")?.cast_into()?;
        let name: String = text.extract()?;
        let call = exposed.getattr("call")?;
        let mut function = Function {
            name: name.clone(),
            text: text.unbind(),
            exposed: exposed.unbind(),
            call: call.clone().unbind(),
            is_async: false,
            cancellable: false,
            quick: false,
        };
        function.read(call)?;
        self.ids.insert(name, FunctionId(self.functions.len()));
        self.functions.push(function);
        Ok(())
    }
}

impl Function {
    /// Reads the attributes that may have changed: after the first call, and when another function has
    /// replaced this one under its name.
    fn read(&mut self, call: Bound<'_, PyAny>) -> PyResult<()> {
        let exposed = self.exposed.bind(call.py());
        self.is_async = exposed.getattr("concurrent")?.extract()?;
        self.cancellable = exposed.getattr("cancellable")?.extract()?;
        self.call = call.unbind();
        Ok(())
    }
}
