use serde_json::{Map, Value};

use super::{Context, Entry, Stream};
use crate::events::event_at;

/// The event of target `pyproc::output` for something that a worker printed.
pub(super) fn say(worker: usize, stream: Stream, entry: Entry, context: Context) {
    let Entry { ids, thread, .. } = entry;
    let trace_id = ids.trace_id.or(context.ids.trace_id);
    let span_id = ids.span_id.or(context.ids.span_id);
    let trace_flags = ids.trace_flags.or(context.ids.trace_flags);
    let thread = thread.or(context.thread);
    let mut fields = context.fields;
    fields.extend(entry.fields);
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

/// As the field `fields` has it: an object of JSON, if there is anything.
pub(crate) fn as_text(fields: Map<String, Value>) -> Option<String> {
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}
