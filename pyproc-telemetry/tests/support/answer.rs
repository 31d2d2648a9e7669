//! What a server answered, in bytes.
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]

/// An answer of HTTP 1.1.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: String,
    /// The body has come to its end.
    pub whole: bool,
}

impl Answer {
    /// `None` if not even the head is whole.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let (body, whole) = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => {
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .map(|it| it.lines().next());
                let length = length.flatten().and_then(|it| it.parse().ok());
                (body.to_owned(), length == Some(body.len()))
            }
        };
        Some(Self { head, body, whole })
    }

    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn unchunked(mut chunks: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(..size) else { break };
        body.push_str(chunk);
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
