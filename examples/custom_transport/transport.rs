//! The only code here that does I/O.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

use bytes::BytesMut;

/// One end of a connection, with its input and output buffers.
pub(crate) struct Transport {
    stream: UnixStream,
    pub(crate) input: BytesMut,
    pub(crate) output: Vec<u8>,
}

impl Transport {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
        }
    }

    /// Sends all of `output`, and returns how many bytes that was.
    ///
    /// Blocks while the other end does not read. If both ends send more than the system buffers before they read, they wait
    /// for ever.
    pub(crate) fn flush(&mut self) -> io::Result<usize> {
        self.stream.write_all(&self.output)?;
        let sent = self.output.len();
        self.output.clear();
        Ok(sent)
    }

    /// Waits until more of `input` arrives; false at the end of the connection.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        let received = self.stream.read(&mut chunk)?;
        self.input.extend_from_slice(&chunk[..received]);
        Ok(received > 0)
    }
}
