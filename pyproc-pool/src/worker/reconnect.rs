//! Reconnects to a worker from before the hello that no longer reads from its connection, but accepts another one.

use std::{io, path::Path, time::Duration};

use pyproc_protocol::Peer;
use tokio::time::timeout;

use super::{
    connect,
    slot::{Predecessor, Running, Slot, WorkerKind},
};
use crate::{
    StartFailureCause,
    driver::{Closed, Connection},
    events::WorkerLogEvent,
};

/// How long the worker may take to accept: it has nothing else to do.
const LIMIT: Duration = Duration::from_secs(5);

impl Slot {
    /// Serves calls until the connection ends and no other replaces it.
    ///
    /// Cancellation safety: a connection that must be replaced stays in that state, and the worker gets no calls.
    pub(super) async fn serve(&self, running: &mut Running) -> Closed {
        let records = self.shared.records.sender(self.worker);
        loop {
            match running.connection.run(&self.shared.driver, records).await {
                Closed::MustReconnect => {}
                closed => return closed,
            }
            // Boxed because it is rare, and every worker has a future of this size.
            if let Err(error) = Box::pin(self.reconnect(running)).await {
                return Closed::Failed(error);
            }
        }
    }

    async fn reconnect(&self, running: &mut Running) -> io::Result<()> {
        running.connection.hang_up();
        let limit = LIMIT.min(self.shared.config.start_timeout);
        let connection = match timeout(limit, self.connect_again(&running.socket)).await {
            Ok(connected) => connected.map_err(io::Error::other)?,
            Err(_) => return Err(unanswered(limit)),
        };
        if *connection.peer() != Peer::Legacy {
            return Err(io::Error::other("another worker listens in its place"));
        }
        running.connection = connection;
        self.attach(running, Predecessor::Gone);
        self.log(WorkerLogEvent::Reconnected);
        Ok(())
    }

    async fn connect_again(&self, socket: &Path) -> Result<Connection, StartFailureCause> {
        // It was connected before, so it listens.
        let transport = connect::open(socket, connect::has_no_room, &mut None).await?;
        let owner = matches!(self.kind, WorkerKind::Spawned(_));
        if owner {
            connect::check_peer(&transport, socket)?;
        }
        self.handshake(transport, socket, owner).await
    }
}

fn unanswered(limit: Duration) -> io::Error {
    let text = format!(
        "it reads nothing more on its connection and answered on no other within {limit:?}; \
         another client may have been faster"
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}
