//! Emits a record of Python's `logging` as an event of target `pyproc::python`.

use pyproc_protocol::v2::telemetry::LogRecord;

use super::{
    event::as_text,
    lines::{Severity, beside_the_message},
};
use crate::events::event_at;

/// The fields beside the message are made only if a subscriber listens at the level.
pub(crate) fn emit(worker: usize, record: &LogRecord) {
    let Severity { level, critical } = Severity::of(record.level.into());
    event_at!(
        level,
        target: "pyproc::python",
        worker_id = worker,
        function_name = record.function.as_deref(),
        logger = Some(record.logger.as_str()).filter(|name| !name.is_empty()),
        thread = record.thread.as_deref(),
        exception = record.exception.as_deref(),
        trace_id = record.trace_id.map(|id| id.to_string()),
        span_id = record.span_id.map(|id| id.to_string()),
        trace_flags = record.trace_flags.map(|flags| format!("{flags:02x}")),
        time_unix_nano = record.time,
        fields = as_text(beside_the_message(record)),
        python_level = critical.then_some("CRITICAL"),
        "{}",
        record.message
    );
}
