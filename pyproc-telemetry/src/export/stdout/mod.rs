//! Spans on the standard output: a block each on a terminal, elsewhere a line of JSON each.

mod line;

use std::{
    fmt::{self, Write as _},
    io::Write,
    time::Instant,
};

use opentelemetry::{
    KeyValue,
    trace::{SpanId, Status},
};
use opentelemetry_sdk::trace::SpanData;

use self::line::since;
use super::{Ended, Exporter, Pause, Undelivered};
use crate::{ExportError, error::chain};

pub(crate) struct StdoutExporter<W> {
    writer: W,
    service_name: String,
    form: Form,
}

/// How a span is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// On a terminal.
    Blocks,
    /// Elsewhere. A reader of a JSON log on the same stream can read these lines too.
    Lines,
}

impl<W: Write + Send> StdoutExporter<W> {
    pub(crate) fn new(writer: W, service_name: &str, form: Form) -> Self {
        Self {
            writer,
            service_name: service_name.to_owned(),
            form,
        }
    }
}

impl<W: Write + Send> Exporter for StdoutExporter<W> {
    fn export(&mut self, batch: Vec<Ended>, _deadline: Instant, _pause: &Pause) -> Undelivered {
        let mut text = String::new();
        for Ended { span, .. } in &batch {
            // Writing to a string cannot fail.
            let _ = match self.form {
                Form::Blocks => writeln!(text, "{}", Block(span, &self.service_name)),
                Form::Lines => writeln!(text, "{}", line::json(span, &self.service_name)),
            };
        }
        let written = self
            .writer
            .write_all(text.as_bytes())
            .and_then(|()| self.writer.flush())
            .map_err(|error| ExportError::unreachable(chain(&error)));
        Undelivered::of(batch.len() as u64, written.map(|()| 0))
    }
}

struct Block<'a>(&'a SpanData, &'a str);

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(span, service) = self;
        let took = since(span.start_time, span.end_time);
        writeln!(
            f,
            "{} {took:?} {:?} [{service}]",
            Plain(&span.name),
            span.span_kind
        )?;
        writeln!(f, "  trace  {}", span.span_context.trace_id())?;
        write!(f, "  span   {}", span.span_context.span_id())?;
        if span.parent_span_id != SpanId::INVALID {
            let remote = if span.parent_span_is_remote {
                " (remote)"
            } else {
                ""
            };
            write!(f, ", child of {}{remote}", span.parent_span_id)?;
        }
        writeln!(f)?;
        match &span.status {
            Status::Unset => {}
            Status::Ok => writeln!(f, "  status ok")?,
            Status::Error { description } => writeln!(f, "  status error: {}", Plain(description))?,
        }
        attributes(f, "  ", &span.attributes)?;
        for event in span.events.iter() {
            let at = since(span.start_time, event.timestamp);
            writeln!(f, "  event  {} at {at:?}", Plain(&event.name))?;
            attributes(f, "    ", &event.attributes)?;
        }
        for link in span.links.iter() {
            let linked = &link.span_context;
            writeln!(f, "  link   {} {}", linked.trace_id(), linked.span_id())?;
            attributes(f, "    ", &link.attributes)?;
        }
        Ok(())
    }
}

fn attributes(f: &mut fmt::Formatter<'_>, indent: &str, attributes: &[KeyValue]) -> fmt::Result {
    for KeyValue { key, value, .. } in attributes {
        writeln!(
            f,
            "{indent}{} = {}",
            Plain(key.as_str()),
            Plain(&value.as_str())
        )?;
    }
    Ok(())
}

/// Text without control characters, which could break the block or control the terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
