//! From fields to the bytes of a line.

mod escape;
mod fields;
mod head;
mod line;
mod spread;
mod style;
mod value;
mod visitor;

pub(crate) use escape::{Quotes, escape};
pub(crate) use fields::{Entry, Fields, name_of};
pub(crate) use head::write_notice;
pub(crate) use line::{Line, Look};
pub(crate) use spread::spread;
pub(crate) use style::Style;
pub(crate) use value::Value;
pub(crate) use visitor::{Record, Visitor};

#[cfg(feature = "bunyan")]
pub(crate) use {fields::next_free, spread::Members};
