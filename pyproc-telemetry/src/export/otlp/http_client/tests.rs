use std::{io::Write, net::TcpListener, thread, time::Duration};

use super::{connection::MAX_BODY, *};

const BODY: Bytes = Bytes::from_static(b"body");
const LONG: Duration = Duration::from_secs(20);

/// A collector that answers each connection with one of these texts, byte by byte, and closes it.
fn transport(answers: Vec<String>) -> (HttpTransport, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let collector = thread::spawn(move || {
        let mut served = 0;
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\nbody") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            // A client that has read enough closes the connection.
            let _ = match answer.len() < 1000 {
                true => answer
                    .bytes()
                    .try_for_each(|it| stream.write_all(&[it]).and_then(|()| stream.flush())),
                false => stream.write_all(answer.as_bytes()),
            };
            served += 1;
        }
        served
    });
    let endpoint = Endpoint::parse(&address).unwrap();
    let transport = HttpTransport::new(endpoint, &OtlpConfig::default()).unwrap();
    (transport, collector)
}

fn answer(text: &str) -> Result<Answer, Failed> {
    let (mut transport, collector) = transport(vec![text.into()]);
    let answer = transport.exchange(&BODY, Instant::now() + LONG);
    assert_eq!(collector.join().unwrap(), 1, "{text:?}");
    answer
}

#[test]
fn bodies_end_as_their_head_says() {
    for (text, status, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n",
            200,
            "hi!",
        ),
        (
            "HTTP/1.1 503 Busy\r\nconnection: close\r\n\r\nlater",
            503,
            "later",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            204,
            "",
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, ""),
        // Only the collector gets the headers.
        (
            "HTTP/1.1 307 Elsewhere\r\nlocation: http://localhost:1/\r\ncontent-length: 0\r\n\r\n",
            307,
            "",
        ),
    ] {
        let answer = answer(text).unwrap();
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body.as_bytes()),
            "{text:?}"
        );
    }
}

#[test]
fn a_wait_that_the_collector_asks_for_is_read() {
    let answer = answer("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(answer.unwrap().retry_after, Some(Duration::from_secs(7)));
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
        assert_eq!(answer(&text).unwrap().body.len(), MAX_BODY);
    }
    let head = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(64 * 1024));
    assert!(answer(&head).is_err());
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
        assert!(answer(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_error_is_a_sentence_with_the_address_and_without_its_query() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::parse(&format!("http://{address}/x?key=secret")).unwrap();
    let mut transport = HttpTransport::new(endpoint, &OtlpConfig::default()).unwrap();
    let mut reason = |limit| {
        let failed = transport.send(&BODY, Instant::now() + limit);
        failed.unwrap_err().error.reason
    };
    let slow = format!("http://{address}/x: no answer in time");
    assert_eq!(reason(Duration::from_millis(20)), slow);
    assert_eq!(reason(Duration::ZERO), slow);
    drop(listener);
    let refused = format!("http://{address}/x: Connection refused (os error 111)");
    assert_eq!(reason(LONG), refused);
}
