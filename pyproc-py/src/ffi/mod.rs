//! All unsafe code of this crate: what PyO3 offers no safe or no fast way to for the stable ABI.
//!
//! This folder knows nothing of frames, encodings or calls. Elsewhere `unsafe` stands once, before an implementation
//! of [`ScalarSink`], where it is a promise and no operation.
//!
//! Some functions are declared here that the headers of the stable ABI of Python 3.9 leave out:
//! `PyUnicode_AsUTF8AndSize` (in the stable ABI since 3.10), `PyObject_VectorcallDict`, and those for
//! contexts. CPython exports them, with these signatures, in every release from 3.9 on; nothing else
//! loads this module.
//!
//! Where a comment says that the interpreter lock is held, a free-threaded interpreter has none: any
//! thread may change a dict or a list at any moment. There, each element is a reference of our own, and a
//! dict is locked while its items are read.
//!
//! | file | idea |
//! | --- | --- |
//! | `objects` | texts, lists, dicts, calls, descriptors |
//! | `containers` | the scalars of dicts and lists, without a reference for each |
//! | `buffer` | appends short pieces to a bounded buffer |
//! | `receive` | reads from a socket into memory that is not initialized |
//! | `context` | copies of the context, entered and left |
//! | `peer` | the user at the other end of a socket |
#![allow(unsafe_code)]

mod buffer;
mod containers;
mod context;
mod objects;
mod peer;
mod receive;

pub(crate) use self::buffer::{BoundedBuffer, BufferWriter, Overflow, SHORT_PIECE};
pub(crate) use self::containers::{Scalar, ScalarSink, Stop, lend_elements, lend_items, scalar};
pub(crate) use self::context::{ContextCopy, SpareContext};
pub(crate) use self::objects::{borrow_fd, call, call_with, list, set_item, string, utf8};
pub(crate) use self::peer::peer_uid;
pub(crate) use self::receive::{UnfinishedBytes, receive};
