//! The client's end.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use pyproc_protocol::{
    ClientEvent, ClientSession, DEFAULT_MAX_FRAME_SIZE, Headers, Hello, Peer, RequestHead, Version,
    v2::Response,
};

use crate::transport::Transport;

pub(crate) struct Client {
    transport: Transport,
    session: ClientSession,
    last_id: u64,
    /// The methods of outstanding calls, by id.
    outstanding: HashMap<u64, &'static str>,
}

impl Client {
    /// Performs the handshake with the worker at the other end.
    pub(crate) fn connect(mut transport: Transport) -> anyhow::Result<Self> {
        let hello = Hello::new("custom-transport/1.0");
        let session = ClientSession::start(hello, DEFAULT_MAX_FRAME_SIZE, &mut transport.output)?;
        transport.flush()?;
        let mut client = Self {
            transport,
            session,
            last_id: 0,
            outstanding: HashMap::new(),
        };
        while client.peer().is_none() {
            client.next_event()?;
        }
        Ok(client)
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.session.peer()
    }

    /// Adds a call to the next [`flush`](Self::flush). `input` is JSON.
    pub(crate) fn queue(&mut self, method: &'static str, input: &[u8]) -> anyhow::Result<()> {
        self.last_id += 1;
        let version = self.peer().map_or(Version::V1, Peer::version);
        RequestHead::new(self.last_id, method, &Headers::new()).encode(
            version,
            input,
            DEFAULT_MAX_FRAME_SIZE,
            &mut self.transport.output,
        )?;
        self.outstanding.insert(self.last_id, method);
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> anyhow::Result<usize> {
        Ok(self.transport.flush()?)
    }

    /// Waits for the next response, to any of the calls.
    pub(crate) fn answer(&mut self) -> anyhow::Result<(&'static str, Response)> {
        loop {
            if let ClientEvent::Response(answer) = self.next_event()? {
                let method = self.outstanding.remove(&answer.id);
                return Ok((method.context("an answer that nobody asked for")?, answer));
            }
        }
    }

    fn next_event(&mut self) -> anyhow::Result<ClientEvent> {
        loop {
            if let Some(event) = self.session.receive(&mut self.transport.input)? {
                return Ok(event);
            }
            ensure!(self.transport.fill()?, "the worker closed the connection");
        }
    }
}
