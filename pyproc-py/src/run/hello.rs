//! The hello: the worker says what it is, and what it exposes.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyproc_protocol::v2::Codec;
use pyproc_protocol::{AnswerForm, Greeting, Version};

use super::answers::{self, Failed};
use crate::package::Functions;
use crate::state::{Core, Place};
use crate::telemetry::record_channel;
use crate::transport::Listed;

/// Sends the answer to a client's hello after what is in `out`, where the one to a hello that fails is left.
pub(crate) fn answer(
    py: Python<'_>,
    core: &Arc<Core>,
    functions: &mut Functions,
    place: Place,
    greeting: &Greeting,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    let package = &core.package;
    let agent = if greeting.agent.is_empty() {
        "an unknown client"
    } else {
        &greeting.agent
    };
    package.log_debug(py, &format!("hello from {agent}"))?;
    let table = list(py, core, functions)?;
    if let Some(connection) = core.lock().get(place) {
        connection.table = table;
    }
    let features = greeting.features;
    let form = AnswerForm::new(Version::V1, features.error_details, core.max_frame_size);
    let names: Vec<&str> = features.names().collect();
    let mut introduce = |schemas| {
        let version = greeting.version.number();
        let body = package.introduction(py, names.clone(), schemas, version)?;
        answers::success(package, form, greeting.id, Codec::Json, None, &body, out)
    };
    // What makes it too long for a frame, most likely, is the schemas.
    match introduce(true).or_else(|_| introduce(false)) {
        Ok(()) => {
            if let Some(connection) = core.lock().get(place) {
                connection.introduce(out);
            }
            if features.has_telemetry() {
                record_channel::open(py, core, place, names)?;
            }
            Ok(())
        }
        Err(error) => {
            if let Some(connection) = core.lock().get(place) {
                connection.session.on_refused();
            }
            let (id, method) = (greeting.id, "pyproc.hello");
            let failed = Failed {
                id,
                method,
                times: None,
            };
            answers::failure(py, package, form, failed, &error, out)
        }
    }
}

/// The functions that there are at this moment, in the order of a hello. From now on it is known
/// which of them are `async def`.
pub(crate) fn list(
    py: Python<'_>,
    core: &Core,
    functions: &mut Functions,
) -> PyResult<Vec<Listed>> {
    let mut table = Vec::new();
    for id in functions.table(py, &core.package)? {
        let (function, _) = functions.get(py, id)?;
        let concurrent = function.concurrent.then(|| function.name.clone());
        table.push(Listed { id, concurrent });
    }
    let names: HashSet<String> = table
        .iter()
        .filter_map(|one| one.concurrent.clone())
        .collect();
    let names = Arc::new(names);
    let mut state = core.lock();
    for (_, connection) in state.connections() {
        connection.concurrent_names = Arc::clone(&names);
    }
    state.concurrent_names = names;
    Ok(table)
}
