//! New clients.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt;

use super::Core;
use crate::transport::Connection;

/// Bytes that one write should be able to leave with the system.
const SEND_BUFFER: usize = 1024 * 1024;

/// Accepts those who have come; the serving thread is yet to greet them.
pub(crate) fn accept(core: &Core, listener: BorrowedFd<'_>) -> io::Result<()> {
    for _ in 0..core.limits.burst {
        match accept_private(listener) {
            Ok(socket) => admit(core, socket),
            Err(error) if is_passing(error) => break,
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
        // It has left.
        Err(_) => return,
    }
    // As much as the system allows.
    let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
    let mut state = core.lock();
    if state.draining {
        // Hung up on, as is whoever comes later: the watcher did not know yet.
        return;
    }
    let names = Arc::clone(&state.concurrent_names);
    let connection = Connection::new(socket, core.limits, core.max_frame_size, names);
    let place = state.add(connection);
    state.accepted.push(place);
}

/// A socket that no program inherits that functions start. It may block: all its uses say that they
/// must not.
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

fn is_passing(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::AGAIN | Errno::INTR | Errno::CONNABORTED)
}
