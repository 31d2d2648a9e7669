//! Reading a response: its status, two of its headers, and a body of bounded size.

use std::{
    io::{self, Read},
    time::Duration,
};

const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// A longer body is cut off, and its connection is not used again.
const MAX_BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
    pub(super) keeps_connection: bool,
}

/// How the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// With the connection.
    Close,
}

struct Head {
    status: u16,
    retry_after: Option<Duration>,
    framing: Framing,
    close: bool,
    /// Bytes of the head.
    length: usize,
}

impl Response {
    pub(super) fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut input = Input {
            stream,
            bytes: Vec::new(),
        };
        let head = loop {
            let head = input.head()?;
            input.bytes.drain(..head.length);
            // A 1xx comes before the answer.
            if head.status >= 200 {
                break head;
            }
        };
        let (body, complete) = match head.framing {
            Framing::Length(length) => input.exactly(length)?,
            Framing::Chunked => input.chunks()?,
            Framing::Close => (input.until_end()?, false),
        };
        Ok(Self {
            status: head.status,
            retry_after: head.retry_after,
            body,
            keeps_connection: complete && !head.close && input.bytes.is_empty(),
        })
    }
}

struct Input<'a, R> {
    stream: &'a mut R,
    /// Read and not used yet.
    bytes: Vec<u8>,
}

impl<R: Read> Input<'_, R> {
    fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = Head::parse(&self.bytes)? {
                return Ok(head);
            }
            if self.bytes.len() > MAX_HEAD {
                return Err(invalid("its head is too long"));
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<(Vec<u8>, bool)> {
        let wanted = length.min(MAX_BODY);
        while self.bytes.len() < wanted {
            self.more()?;
        }
        Ok((self.bytes.drain(..wanted).collect(), wanted == length))
    }

    fn chunks(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                return Ok((body, self.no_trailers()?));
            }
            let room = MAX_BODY - body.len();
            if size > room as u64 {
                return Ok((body, false));
            }
            let (chunk, _) = self.exactly(size as usize)?;
            body.extend_from_slice(&chunk);
            self.exactly(2)?;
        }
    }

    fn chunk_size(&mut self) -> io::Result<u64> {
        loop {
            match httparse::parse_chunk_size(&self.bytes) {
                Ok(httparse::Status::Complete((used, size))) => {
                    self.bytes.drain(..used);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.bytes.len() < MAX_HEAD => self.more()?,
                _ => return Err(invalid("a chunk of its body is malformed")),
            }
        }
    }

    /// Nobody sends trailers here; if somebody does, the connection is not used again.
    fn no_trailers(&mut self) -> io::Result<bool> {
        let (end, _) = self.exactly(2)?;
        Ok(end == b"\r\n")
    }

    fn until_end(&mut self) -> io::Result<Vec<u8>> {
        while self.bytes.len() < MAX_BODY {
            match self.more() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                result => result?,
            }
        }
        Ok(std::mem::take(&mut self.bytes))
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before the answer was complete",
            )),
            read => {
                self.bytes.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let status = response.code.unwrap_or_default();
        let mut head = Self {
            status,
            retry_after: None,
            framing: match status {
                100..=199 | 204 | 304 => Framing::Length(0),
                _ => Framing::Close,
            },
            close: response.version == Some(0),
            length,
        };
        for header in response.headers {
            head.take(header)?;
        }
        Ok(Some(head))
    }

    fn take(&mut self, header: &httparse::Header<'_>) -> io::Result<()> {
        let is = |name| header.name.eq_ignore_ascii_case(name);
        let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if is("transfer-encoding") {
            self.framing = Framing::Chunked;
        } else if is("content-length") && self.framing == Framing::Close {
            let length = text
                .parse()
                .map_err(|_| invalid("its length is malformed"))?;
            self.framing = Framing::Length(length);
        } else if is("connection") {
            self.close |= text.eq_ignore_ascii_case("close");
        } else if is("retry-after") {
            // A date would need a calendar; without a number the usual waits are used.
            self.retry_after = text.parse().ok().map(Duration::from_secs);
        }
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer is no HTTP: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, then the end.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn read(text: &str) -> io::Result<(u16, String, bool)> {
        let whole = Response::read(&mut text.as_bytes());
        let slow = Response::read(&mut Slowly(text.as_bytes()));
        assert_eq!(format!("{whole:?}"), format!("{slow:?}"), "{text:?}");
        let response = whole?;
        let body = String::from_utf8(response.body).unwrap();
        Ok((response.status, body, response.keeps_connection))
    }

    #[test]
    fn bodies_end_as_their_head_says() {
        let ok = |text| read(text).unwrap();
        assert_eq!(
            ok("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
            (200, "hi".into(), true)
        );
        assert_eq!(
            ok(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n"
            ),
            (200, "hi!".into(), true)
        );
        assert_eq!(
            ok("HTTP/1.1 503 Busy\r\nconnection: close\r\n\r\nlater"),
            (503, "later".into(), false)
        );
        assert_eq!(
            ok("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
            (204, String::new(), true)
        );
        assert_eq!(
            ok("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
            (200, String::new(), false)
        );
    }

    #[test]
    fn a_wait_that_the_collector_asks_for_is_read() {
        let text = "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        let response = Response::read(&mut text.as_bytes()).unwrap();
        assert_eq!(response.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let body = "x".repeat(2 * MAX_BODY);
        for text in [
            format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        ] {
            let response = Response::read(&mut text.as_bytes()).unwrap();
            assert!(response.body.len() <= MAX_BODY + 4096);
            assert!(!response.keeps_connection);
        }
        let head = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2 * MAX_HEAD));
        assert!(Response::read(&mut head.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
