use std::mem;

use serde_json::{Map, Value};

use super::lines::{Context, Entry, Ids, Stream, beside};
use crate::events::event_at;

/// Emits the event of target `pyproc::output` for a line or record that a worker printed.
pub(super) fn emit(worker: usize, stream: Stream, entry: Entry, mut context: Context) {
    let mut fields = mem::take(&mut context.fields);
    fields.extend(entry.fields);
    context.admit(entry.ids, &mut fields);
    let fields = beside(context.baggage, fields);
    let Ids {
        trace_id,
        span_id,
        trace_flags,
    } = context.ids;
    let thread = entry.thread.or(context.thread);
    event_at!(
        entry.level,
        target: "pyproc::output",
        worker_id = worker,
        stream = stream.name(),
        function_name = context.function,
        logger = entry.logger,
        thread,
        exception = entry.exception,
        trace_id,
        span_id,
        trace_flags,
        time_unix_nano = entry.time.or(context.time),
        fields = as_text(fields),
        python_level = entry.critical.then_some("CRITICAL"),
        "{}",
        entry.message
    );
}

/// The text of the field `fields`: a JSON object, if it is not empty.
pub(crate) fn as_text(fields: Map<String, Value>) -> Option<String> {
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}
