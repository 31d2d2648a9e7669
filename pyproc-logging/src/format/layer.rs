use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use tracing::{
    Event, Subscriber,
    field::Field,
    span::{Attributes, Id, Record as Values},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{Extensions, LookupSpan, SpanRef},
};

use super::{
    fields::Entry,
    forwarded::Origin,
    line::Line,
    line_format::LineFormat,
    value::Value,
    visitor::{Record, Visitor},
};
use crate::{
    trace_ids::{self, IdSource, Ids},
    writer::Writer,
};

/// A layer that writes one line for each event, in JSON or as text.
#[derive(Debug)]
pub(crate) struct LineLayer {
    /// Distinguishes this layer's data in a span from that of another layer.
    number: usize,
    format: LineFormat,
    ids: Option<IdSource>,
    writer: Arc<Writer>,
}

impl LineLayer {
    pub(crate) fn new(format: LineFormat, ids: Option<IdSource>, writer: Arc<Writer>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            format,
            ids,
            writer,
        }
    }

    fn entries(&self, record: impl FnOnce(&mut dyn tracing::field::Visit)) -> Vec<Entry> {
        let mut entries = Entries {
            format: &self.format,
            list: Vec::new(),
        };
        record(&mut Visitor {
            rules: &self.format.rules,
            text: &mut String::new(),
            to: &mut entries,
        });
        entries.list
    }

    fn own<'a>(&self, extensions: &'a Extensions<'_>) -> Option<&'a SpanData> {
        let SpanDataByLayer(all) = extensions.get()?;
        all.iter().find(|data| data.layer == self.number)
    }

    fn ids<S: for<'a> LookupSpan<'a>>(
        &self,
        event: &Event<'_>,
        span: Option<&SpanRef<'_, S>>,
    ) -> Option<Ids> {
        let source = self.ids.as_ref()?;
        trace_ids::choose(event, || self.span_ids(source, span?))
    }

    /// A span's ids never change, so they are looked up once.
    fn span_ids<S: for<'a> LookupSpan<'a>>(
        &self,
        source: &IdSource,
        span: &SpanRef<'_, S>,
    ) -> Option<Ids> {
        let known = self
            .own(&span.extensions())
            .and_then(|data| data.ids.get().copied());
        known.unwrap_or_else(|| {
            let ids = source.of(span);
            if let Some(data) = self.own(&span.extensions()) {
                let _ = data.ids.set(ids);
            }
            ids
        })
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        // Before the lock is taken: a value's own code runs here, and may log.
        let entries = self.entries(|visitor| attributes.record(visitor));
        let data = SpanData {
            layer: self.number,
            entries,
            ids: OnceLock::new(),
        };
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<SpanDataByLayer>() {
            Some(SpanDataByLayer(all)) => all.push(data),
            None => extensions.insert(SpanDataByLayer(vec![data])),
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let entries = self.entries(|visitor| values.record(visitor));
        let mut extensions = span.extensions_mut();
        let Some(SpanDataByLayer(all)) = extensions.get_mut() else {
            return;
        };
        if let Some(data) = all.iter_mut().find(|data| data.layer == self.number) {
            entries.into_iter().for_each(|entry| data.set(entry));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let origin = Origin::of(event);
        let time = origin.and_then(|origin| origin.time);
        let ids = match origin {
            Some(origin) if origin.elsewhere || origin.ids.is_some() => {
                origin.ids.filter(|_| self.ids.is_some())
            }
            _ => self.ids(event, span.as_ref()),
        };
        with_line(|line| {
            line.begin(&self.format, origin.as_ref(), |visitor| {
                event.record(visitor)
            });
            for span in span.iter().flat_map(SpanRef::scope) {
                if let Some(data) = self.own(&span.extensions()) {
                    data.entries.iter().for_each(|entry| line.add(entry));
                }
            }
            let time = time.unwrap_or_else(SystemTime::now);
            self.writer
                .write(line.finish(&self.format, time, event.metadata(), ids));
        });
    }
}

/// The data of all layers of this kind for one span. Most programs have one layer.
#[derive(Debug)]
struct SpanDataByLayer(Vec<SpanData>);

#[derive(Debug)]
struct SpanData {
    layer: usize,
    /// In the order in which the span declares them.
    entries: Vec<Entry>,
    ids: OnceLock<Option<Ids>>,
}

impl SpanData {
    /// A value that is recorded again replaces the old one.
    fn set(&mut self, entry: Entry) {
        match self
            .entries
            .binary_search_by_key(&entry.place, |known| known.place)
        {
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
    }
}

struct Entries<'a> {
    format: &'a LineFormat,
    list: Vec<Entry>,
}

impl Record for Entries<'_> {
    fn record(&mut self, field: &Field, value: Value<'_>) {
        let name = field.name();
        let value = self
            .format
            .rules
            .shown(name.strip_prefix("r#").unwrap_or(name), value);
        self.list.push(Entry::new(field, value, self.format.style));
    }
}

/// Lends the thread's line. An event during the formatting of another event gets a new one.
fn with_line(use_it: impl FnOnce(&mut Line)) {
    thread_local! {
        static LINE: Cell<Option<Box<Line>>> = const { Cell::new(None) };
    }
    // At the end of a thread there is no thread-local storage, and a new line is used.
    let mut line = LINE.try_with(Cell::take).ok().flatten().unwrap_or_default();
    use_it(&mut line);
    line.shrink();
    let _ = LINE.try_with(|kept| kept.set(Some(line)));
}
