//! From an event and its spans to the bytes of a line.
//!
//! [`LineLayer`] writes JSON and text, [`bunyan`] the format of that name. What must stay true: a line is one line for
//! every reader, no key of a line comes twice, no secret reaches a line, and no value is longer than allowed. A value's own
//! code may log, so no lock is held while it runs.

#[cfg(feature = "bunyan")]
pub(crate) mod bunyan;
mod escape;
mod fields;
mod forwarded;
mod head;
mod layer;
mod line;
mod line_format;
mod object;
mod redact;
mod style;
mod timestamp;
mod value;
mod visitor;

pub(crate) use fields::name_of;
pub(crate) use head::write_notice;
pub(crate) use layer::LineLayer;
pub(crate) use line_format::LineFormat;
pub(crate) use redact::{Predicate, Rules};
pub(crate) use style::Style;
pub(crate) use value::Value;
pub(crate) use visitor::{Record, Visitor};
