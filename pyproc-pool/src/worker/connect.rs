//! Connects to a worker's socket, and makes the handshake.

use std::{io, path::Path, time::Duration};

use bytes::BytesMut;
use pyproc_protocol::{ClientEvent, ClientSession, EncodeError, Hello};
use tokio::{net::UnixStream, time};

use crate::{StartFailureCause as Cause, driver::Connection, shared::Shared, transport::Transport};

const AGENT: &str = concat!("pyproc-pool/", env!("CARGO_PKG_VERSION"));

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Connects, and tries again as long as `may_pass` accepts the error. The caller sets the time limit. Until it
/// succeeds, `last_error` holds the last error.
pub(super) async fn open(
    socket: &Path,
    may_pass: impl Fn(&io::Error) -> bool,
    last_error: &mut Option<io::Error>,
) -> Result<Transport, Cause> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => {
                *last_error = None;
                return Ok(Transport::Unix(stream));
            }
            Err(error) if may_pass(&error) => *last_error = Some(error),
            Err(source) => return Err(failed(socket, source)),
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The worker does not listen yet, or its queue of connections is full.
pub(super) fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused) || has_no_room(error)
}

/// The queue of connections that the worker has not accepted yet is full.
pub(super) fn has_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Checks that the peer runs as this user. The socket is already in a directory that only this user can enter; this is
/// a second check.
pub(super) fn check_peer(transport: &Transport, socket: &Path) -> Result<(), Cause> {
    let peer = transport.peer();
    let uid = peer.map_err(|source| failed(socket, source))?.uid;
    if uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Cause::ForeignPeer {
        socket: socket.into(),
        uid,
    })
}

/// Sends the pool's hello, and reads the worker's. `owner` is true if this pool started the worker.
///
/// Cancellation safety: nothing is left behind when the future is dropped.
pub(super) async fn handshake(
    mut transport: Transport,
    socket: &Path,
    owner: bool,
    shared: &Shared,
) -> Result<Connection, Cause> {
    let config = &shared.config;
    let hello = Hello {
        owner,
        features: shared.features,
        versions: (1..=config.max_protocol_version).collect(),
        ..Hello::new(AGENT)
    };
    let mut output = Vec::new();
    let max_frame_size = config.max_frame_size.min(transport.max_frame_size());
    let mut session = ClientSession::start(hello, max_frame_size, &mut output)
        .map_err(|error| too_small(socket, error))?;
    // A worker that has closed the connection may have sent its reason before.
    let sent = transport.write_all(&output).await;
    sent.or_else(|error| hung_up(&error).then_some(()).ok_or(error))
        .map_err(|error| failed(socket, error))?;
    let mut input = BytesMut::with_capacity(4 * 1024);
    loop {
        match session.receive(&mut input).map_err(Cause::Handshake)? {
            Some(ClientEvent::Ready) => {
                let (spin, clock) = (config.spin, shared.clock);
                return Ok(Connection::new(transport, session, input, spin, clock));
            }
            Some(_) => continue,
            None => {}
        }
        match transport.read(&mut input).await {
            Ok(0) => return Err(Cause::Closed),
            Ok(_) => {}
            Err(error) if hung_up(&error) => return Err(Cause::Closed),
            Err(error) => return Err(failed(socket, error)),
        }
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

fn failed(socket: &Path, source: io::Error) -> Cause {
    Cause::Connect {
        socket: socket.into(),
        source,
    }
}

fn too_small(socket: &Path, error: EncodeError) -> Cause {
    failed(socket, io::Error::new(io::ErrorKind::InvalidInput, error))
}
