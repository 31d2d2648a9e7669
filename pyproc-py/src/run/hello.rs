//! The answer to a hello: the worker says what it is, and which functions it exposes.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyproc_protocol::Codec;
use pyproc_protocol::{AcceptedHello, ResponseEncoder, Version};

use super::answers::{self, FailedRequest};
use crate::package::Functions;
use crate::state::{ConnectionId, Core};
use crate::telemetry::record_channel;
use crate::transport::ListedFunction;

/// Sends the answer to a client's hello behind what is in `out`. If the hello fails, its answer is left in `out`.
pub(crate) fn answer(
    py: Python<'_>,
    core: &Arc<Core>,
    functions: &mut Functions,
    connection_id: ConnectionId,
    greeting: &AcceptedHello,
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
    if let Some(connection) = core.lock().get(connection_id) {
        connection.table = table;
    }
    let features = greeting.features;
    let form = ResponseEncoder::new(Version::V1, features.error_details, core.max_frame_size);
    let names: Vec<&str> = features.names().collect();
    let mut write = |schemas| {
        let version = greeting.version.number();
        let body = package.introduction(py, names.clone(), schemas, version)?;
        answers::write_result(package, form, greeting.id, Codec::Json, None, &body, out)
    };
    // If the answer is too long for a frame, the schemas are the most likely reason.
    match write(true).or_else(|_| write(false)) {
        Ok(()) => {
            if let Some(connection) = core.lock().get(connection_id) {
                connection.send_hello_answer(out);
            }
            if features.has_telemetry() {
                record_channel::open(py, core, connection_id, names)?;
            }
            Ok(())
        }
        Err(error) => {
            if let Some(connection) = core.lock().get(connection_id) {
                connection.session.on_hello_rejected();
            }
            let failed = FailedRequest {
                id: greeting.id,
                method: "pyproc.hello",
                times: None,
            };
            answers::write_failure(py, package, form, failed, &error, out)
        }
    }
}

/// The functions that are exposed at this moment, in the order of a hello's answer. From now on it is known without the
/// interpreter lock which of them are `async def`.
pub(crate) fn list(
    py: Python<'_>,
    core: &Core,
    functions: &mut Functions,
) -> PyResult<Vec<ListedFunction>> {
    let mut table = Vec::new();
    for id in functions.table(py, &core.package)? {
        let (function, _) = functions.get(py, id)?;
        let async_name = function.is_async.then(|| function.name.clone());
        table.push(ListedFunction { id, async_name });
    }
    let names: HashSet<String> = table
        .iter()
        .filter_map(|function| function.async_name.clone())
        .collect();
    let names = Arc::new(names);
    let mut state = core.lock();
    for (_, connection) in state.connections() {
        connection.async_names = Arc::clone(&names);
    }
    state.async_names = names;
    Ok(table)
}
