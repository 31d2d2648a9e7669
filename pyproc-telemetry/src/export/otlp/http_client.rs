//! A small blocking client that carries OTLP over HTTP 1.1.
//!
//! It runs on the queue's thread, so it needs no runtime and cannot deadlock on one. Requests
//! have one form, and of responses only the start matters.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{
    Compression as Level,
    read::{GzDecoder, GzEncoder},
};

use self::response::Response;
use super::Failure;
use crate::{Compression, ExportError, OtlpConfig, StartError, config::Endpoint, error::chain};

mod response;
#[cfg(feature = "tls")]
mod tls;

pub(crate) struct HttpTransport {
    endpoint: Endpoint,
    /// All of the request's head but the length of its body.
    head: String,
    gzip: bool,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    connection: Option<Connection>,
}

impl HttpTransport {
    pub(crate) fn new(endpoint: Endpoint, config: &OtlpConfig) -> Result<Self, StartError> {
        let gzip = config.compression == Compression::Gzip;
        Ok(Self {
            head: head(&endpoint, config, gzip),
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

    fn exchange(&mut self, body: &[u8], deadline: Instant) -> io::Result<Response> {
        if let Some(kept) = self.connection.take() {
            match self.exchange_on(kept, body, deadline) {
                // The collector had closed it meanwhile, which cannot be seen before.
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
                result => return result,
            }
        }
        let fresh = self.connect(deadline)?;
        self.exchange_on(fresh, body, deadline)
    }

    fn exchange_on(
        &mut self,
        mut connection: Connection,
        body: &[u8],
        deadline: Instant,
    ) -> io::Result<Response> {
        connection.set_deadline(deadline);
        let mut request =
            format!("{}content-length: {}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(body);
        connection.write_all(&request)?;
        connection.flush()?;
        let response = Response::read(&mut connection)?;
        if response.keeps_connection {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self, deadline: Instant) -> io::Result<Connection> {
        let name = (self.endpoint.host.as_str(), self.endpoint.port);
        let mut addresses: Vec<_> = name.to_socket_addrs()?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        // An address that swallows packets leaves time for the others.
        while let Some(share) = u32::try_from(addresses.len()).ok().filter(|left| *left > 0) {
            let address = addresses.remove(0);
            match TcpStream::connect_timeout(&address, left(deadline)? / share) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return self.secured(Plain { stream, deadline });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    #[cfg(feature = "tls")]
    fn secured(&self, plain: Plain) -> io::Result<Connection> {
        match &self.tls {
            Some(tls) => tls.wrap(plain).map(Connection::Tls),
            None => Ok(Connection::Plain(plain)),
        }
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unnecessary_wraps, reason = "its twin with TLS can fail")]
    fn secured(&self, plain: Plain) -> io::Result<Connection> {
        Ok(Connection::Plain(plain))
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
        read.map_err(|error| ExportError::refused(self.because(&error)))?;
        Ok(changed.into())
    }

    /// Sends it, and gives up at `deadline`. Returns the body of a successful answer.
    pub(crate) fn send(&mut self, body: &[u8], deadline: Instant) -> Result<Vec<u8>, Failure> {
        let response = self
            .exchange(body, deadline)
            .map_err(|error| ExportError::unreachable(self.because(&error)))?;
        match response.status {
            200..=299 => Ok(response.body),
            // Those that the protocol wants tried again.
            status @ (429 | 502 | 503 | 504) => Err(Failure {
                error: ExportError::unreachable(format!("{} answered {status}", self.endpoint)),
                retry_after: response.retry_after,
            }),
            status => {
                let reason = format!("{} answered {status}", self.endpoint);
                Err(ExportError::refused(reason).into())
            }
        }
    }

    fn because(&self, error: &(dyn std::error::Error + 'static)) -> String {
        format!("{}: {}", self.endpoint, chain(error))
    }
}

fn head(endpoint: &Endpoint, config: &OtlpConfig, gzip: bool) -> String {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: pyproc-telemetry/{}\r\ncontent-type: application/x-protobuf\r\n",
        endpoint.path,
        endpoint.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    if gzip {
        head.push_str("content-encoding: gzip\r\n");
    }
    for (name, value) in config.headers.iter() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// Time until the deadline, which is never zero, as the system takes that for no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(timed_out()),
        left => Ok(left),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A stream each of whose reads and writes ends at the deadline.
struct Plain {
    stream: TcpStream,
    deadline: Instant,
}

impl Plain {
    fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => timed_out(),
            _ => error,
        })
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        Self::in_time(self.stream.read(buffer))
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        Self::in_time(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

enum Connection {
    Plain(Plain),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Connection {
    fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(plain) => plain.deadline = deadline,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.sock.deadline = deadline,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}
