//! The protocol without the pool: both ends of a connection in blocking code over a pair of
//! sockets, with no runtime. Only `transport.rs` uses the sockets; replace it
//! by a pipe, a TLS stream or a message bus, and the rest stays the same.
//!
//! There is no `worker.py`, because the worker is a thread here: the protocol does not depend
//! on the language of an end.

mod client;
mod transport;
mod worker;

use std::{os::unix::net::UnixStream, thread};

use anyhow::anyhow;
use pyproc_protocol::{Peer, v2::Response};

use crate::{client::Client, transport::Transport};

const CALLS: [(&str, [i64; 2]); 4] = [
    ("add", [40, 2]),
    ("divide", [84, 2]),
    ("divide", [1, 0]),
    ("multiply", [6, 7]),
];

fn main() -> anyhow::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let worker = thread::spawn(move || worker::serve(Transport::new(far)));

    let mut client = Client::connect(Transport::new(near))?;
    introduce(client.peer());
    pipeline(&mut client)?;

    drop(client);
    worker
        .join()
        .map_err(|_| anyhow!("the worker panicked"))??;
    println!("the worker has seen the end of the connection, and ended");
    Ok(())
}

fn introduce(peer: Option<&Peer>) {
    if let Some(Peer::Negotiated(worker)) = peer {
        println!("{} speaks version {}", worker.agent, worker.version);
        for function in &worker.functions {
            println!("  {}: {}", function.name, function.doc);
        }
    }
}

/// Sends all calls before it waits for the first response.
fn pipeline(client: &mut Client) -> anyhow::Result<()> {
    for (method, input) in CALLS {
        client.queue(method, &serde_json::to_vec(&input)?)?;
    }
    let bytes = client.flush()?;
    println!("{} calls sent in one write of {bytes} bytes", CALLS.len());

    for _ in CALLS {
        let (method, answer) = client.answer()?;
        println!("  {}: {method} {}", answer.id, outcome(&answer)?);
    }
    Ok(())
}

fn outcome(answer: &Response) -> anyhow::Result<String> {
    Ok(match &answer.result {
        Ok(body) => format!("answers {}", serde_json::from_slice::<i64>(&body.bytes)?),
        Err(failure) => format!("raises {}: {}", failure.type_name, failure.message),
    })
}
