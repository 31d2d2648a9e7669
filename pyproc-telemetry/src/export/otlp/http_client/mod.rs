//! The client that sends OTLP over HTTP 1.1: `hyper`, on a runtime of its own.
//!
//! The runtime has no thread: it runs on the exporter's thread while a request is on its way, so a request cannot deadlock
//! on the service's runtime. What must stay true: a request ends at its deadline, an answer takes bounded memory, and no
//! redirect or proxy of the environment gets the headers.
//!
//! Not `ureq`: it looks up the collector's name for each request, in a new thread, also on a kept connection. A batch of
//! 400 spans to a local collector took 1.05 ms with it where a blocking client of 540 lines took 0.73 ms; in another run
//! that client took 0.48 ms and this one 0.58 ms.

use std::{io::Read, time::Instant};

use bytes::Bytes;
use flate2::{
    Compression as Level,
    read::{GzDecoder, GzEncoder},
};
use http::{
    HeaderName, HeaderValue, Request,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;

use self::connection::{Answer, Connection, Failed};
use super::Failure;
use crate::{
    Compression, ConfigError, ExportError, OtlpConfig, StartError, config::Endpoint, error::chain,
};

mod connection;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;

pub(crate) struct HttpTransport {
    endpoint: Endpoint,
    /// All of a request but its body.
    head: http::request::Parts,
    gzip: bool,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    connection: Option<Connection>,
}

impl HttpTransport {
    pub(crate) fn new(endpoint: Endpoint, config: &OtlpConfig) -> Result<Self, StartError> {
        let gzip = config.compression == Compression::Gzip;
        Ok(Self {
            head: head(&endpoint, config, gzip)?,
            gzip,
            #[cfg(feature = "tls")]
            tls: match endpoint.tls {
                true => Some(tls::Tls::new(
                    &endpoint.host,
                    config.certificate.as_deref(),
                )?),
                false => None,
            },
            endpoint,
            connection: None,
        })
    }

    /// The body as the settings want it.
    pub(crate) fn body(&self, body: Bytes, compressed: bool) -> Result<Bytes, ExportError> {
        if self.gzip == compressed {
            return Ok(body);
        }
        let mut changed = Vec::new();
        let read = match compressed {
            true => GzDecoder::new(&*body).read_to_end(&mut changed),
            false => GzEncoder::new(&*body, Level::default()).read_to_end(&mut changed),
        };
        read.map_err(|error| ExportError::refused(self.with_address(&chain(&error))))?;
        Ok(changed.into())
    }

    /// Sends a request, at most until `deadline`. Returns the body of a successful answer.
    pub(crate) fn send(&mut self, body: &Bytes, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let answer = self
            .exchange(body, deadline)
            .map_err(|error| ExportError::unreachable(self.with_address(&error.to_string())))?;
        match answer.status {
            200..=299 => Ok(answer.body),
            // The protocol lists these for another attempt.
            status @ (429 | 502 | 503 | 504) => Err(Failure {
                error: ExportError::unreachable(format!("{} answered {status}", self.endpoint)),
                retry_after: answer.retry_after,
            }),
            status => {
                let reason = format!("{} answered {status}", self.endpoint);
                Err(ExportError::refused(reason).into())
            }
        }
    }

    fn exchange(&mut self, body: &Bytes, deadline: Instant) -> Result<Answer, Failed> {
        if let Some(kept) = self.connection.take() {
            match self.exchange_on(kept, body, deadline) {
                // The collector may close an idle connection while the request is on its way.
                Err(Failed::Connection(_)) => {}
                result => return result,
            }
        }
        let fresh = self.connect(deadline)?;
        self.exchange_on(fresh, body, deadline)
    }

    fn exchange_on(
        &mut self,
        mut connection: Connection,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let request = Request::from_parts(self.head.clone(), Full::new(body.clone()));
        let answer = connection.exchange(request, deadline)?;
        if answer.is_complete {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    fn connect(&self, deadline: Instant) -> Result<Connection, Failed> {
        let address = (self.endpoint.host.as_str(), self.endpoint.port);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Connection::open(address, deadline, |tcp| tls.wrap(tcp));
        }
        Connection::open(address, deadline, async |tcp| Ok(tcp))
    }

    fn with_address(&self, reason: &str) -> String {
        format!("{}: {reason}", self.endpoint)
    }
}

fn head(
    endpoint: &Endpoint,
    config: &OtlpConfig,
    gzip: bool,
) -> Result<http::request::Parts, ConfigError> {
    let invalid = |error: http::Error| ConfigError::new("otlp.endpoint", chain(&error));
    let mut request = Request::post(&endpoint.path)
        .header(HOST, endpoint.authority())
        .header(
            USER_AGENT,
            concat!("pyproc-telemetry/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONTENT_TYPE, "application/x-protobuf");
    if gzip {
        request = request.header(CONTENT_ENCODING, "gzip");
    }
    let (mut head, ()) = request.body(()).map_err(invalid)?.into_parts();
    for (name, value) in config.headers.iter() {
        let pair = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(name), Ok(value)) = pair else {
            let reason = format!("{name} cannot be sent as a header");
            return Err(ConfigError::new("otlp.headers", reason));
        };
        head.headers.append(name, value);
    }
    Ok(head)
}
