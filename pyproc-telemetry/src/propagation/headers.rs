//! Where context is extracted from and injected into: string maps, HTTP headers, and the headers of a request to a
//! worker.

use opentelemetry::propagation::{Extractor, Injector};
use pyproc_pool::protocol::{Headers, MAX_HEADER_BYTES, MAX_HEADERS};

/// Pairs, to extract context from.
pub(super) struct Pairs<N, V>(Vec<(N, V)>);

impl<N, V> Pairs<N, V> {
    pub(super) fn new(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extractor for Pairs<N, V> {
    fn get(&self, name: &str) -> Option<&str> {
        let is_it = |(key, _): &&(N, V)| key.as_ref().eq_ignore_ascii_case(name);
        self.0.iter().find(is_it).map(|(_, value)| value.as_ref())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key.as_ref()).collect()
    }

    fn get_all(&self, name: &str) -> Option<Vec<&str>> {
        let is_it = |(key, _): &&(N, V)| key.as_ref().eq_ignore_ascii_case(name);
        let values = self.0.iter().filter(is_it).map(|(_, value)| value.as_ref());
        let values: Vec<_> = values.collect();
        (!values.is_empty()).then_some(values)
    }
}

/// A collection of pairs, to inject context into.
pub(super) struct PairsMut<'a, E>(pub(super) &'a mut E);

impl<E: Extend<(String, String)>> Injector for PairsMut<'_, E> {
    fn set(&mut self, name: &str, value: String) {
        self.0.extend([(name.to_owned(), value)]);
    }
}

/// The headers of a request to a worker, within the protocol's limits: context that does not fit is left out, so that
/// it does not fail the call. Headers of the caller are kept.
pub(super) struct BoundedHeaders<'a>(&'a mut Headers);

impl<'a> BoundedHeaders<'a> {
    pub(super) fn of(headers: &'a mut Headers) -> Self {
        Self(headers)
    }

    fn has_room(&self, name: &str, value: &str) -> bool {
        // The pool may add one header.
        let sizes = self.0.iter().map(|(name, value)| name.len() + value.len());
        let size = sizes.sum::<usize>() + name.len() + value.len();
        self.0.len() + 1 < MAX_HEADERS && size <= MAX_HEADER_BYTES - 1024
    }
}

impl Injector for BoundedHeaders<'_> {
    fn set(&mut self, name: &str, value: String) {
        if !self.0.contains_key(name) && self.has_room(name, &value) {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// Extracts context from HTTP headers. Several headers of the same name count as one list.
#[cfg(feature = "http")]
#[derive(Debug)]
pub struct HeaderExtractor<'a> {
    headers: &'a http::HeaderMap,
    /// All `baggage` headers as one. Its format asks for one header only.
    baggage: Option<String>,
}

#[cfg(feature = "http")]
impl<'a> HeaderExtractor<'a> {
    /// An extractor for these headers.
    pub fn new(headers: &'a http::HeaderMap) -> Self {
        let values = headers.get_all("baggage").iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        Self {
            headers,
            baggage: (values.len() > 1).then(|| values.join(",")),
        }
    }
}

#[cfg(feature = "http")]
impl Extractor for HeaderExtractor<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        match &self.baggage {
            Some(baggage) if name.eq_ignore_ascii_case("baggage") => Some(baggage),
            _ => self.headers.get(name)?.to_str().ok(),
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(http::HeaderName::as_str).collect()
    }

    fn get_all(&self, name: &str) -> Option<Vec<&str>> {
        let values = self.headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// Injects context into HTTP headers. It replaces headers of the same name.
#[cfg(feature = "http")]
#[derive(Debug)]
pub struct HeaderInjector<'a>(pub &'a mut http::HeaderMap);

#[cfg(feature = "http")]
impl Injector for HeaderInjector<'_> {
    fn set(&mut self, name: &str, value: String) {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_maybe_shared(value)) {
            self.0.insert(name, value);
        }
    }
}
