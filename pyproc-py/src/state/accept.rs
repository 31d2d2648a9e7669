//! New clients become connections, on the serving thread or the watcher's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt;

use super::Core;
use crate::transport::Connection;

/// Bytes that one write should be able to leave with the system.
const SEND_BUFFER: usize = 1024 * 1024;

/// Accepts the clients that wait. The serving thread polls them once it has registered them.
pub(crate) fn accept(core: &Core, listener: BorrowedFd<'_>) -> io::Result<()> {
    for _ in 0..core.limits.burst {
        match accept_private(listener) {
            Ok(socket) => admit(core, socket),
            Err(error) if is_temporary(error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn admit(core: &Core, socket: OwnedFd) {
    match core.peers.foreign_user(socket.as_fd()) {
        Ok(None) => {}
        Ok(Some(uid)) => {
            core.peers.explain(socket.as_fd(), uid, core.max_frame_size);
            drop(socket);
            return core.lock().refused.add(uid);
        }
        // The client has left.
        Err(_) => return,
    }
    // As much as the system allows.
    let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
    let mut state = core.lock();
    if state.draining {
        // The connection is closed, as all later ones are. The watcher did not know of the drain yet.
        return;
    }
    let names = Arc::clone(&state.async_names);
    let connection = Connection::new(socket, core.limits, core.max_frame_size, names);
    let connection_id = state.add(connection);
    state.accepted.push(connection_id);
}

/// Accepts a socket that no program inherits which a function starts. The socket is in blocking mode: each use of it
/// asks not to block.
#[cfg(target_os = "linux")]
fn accept_private(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)
}

#[cfg(not(target_os = "linux"))]
fn accept_private(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::accept(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

fn is_temporary(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::AGAIN | Errno::INTR | Errno::CONNABORTED)
}
