use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::pipe::Reader;

/// The body of an answer: a short text, or metrics that are written while they are read.
pub struct Body(Kind);

enum Kind {
    Text(Option<Bytes>),
    Metrics(Reader),
}

impl Body {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self(Kind::Text(Some(text.into()).filter(|it| !it.is_empty())))
    }

    pub(super) fn metrics(reader: Reader) -> Self {
        Self(Kind::Metrics(reader))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    /// The metrics could not be written completely.
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = match &mut self.0 {
            Kind::Text(text) => Poll::Ready(text.take().map(Ok)),
            Kind::Metrics(reader) => reader.poll_next(cx),
        };
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |it| it.len() as u64)),
            Kind::Metrics(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
