//! The table of open connections.

use crate::transport::Connection;

/// Names a connection; never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    index: usize,
    serial: u64,
}

/// Open connections by id.
#[derive(Default)]
pub(super) struct Connections {
    entries: Vec<Option<(u64, Connection)>>,
    last_serial: u64,
}

impl Connections {
    pub(super) fn add(&mut self, connection: Connection) -> ConnectionId {
        self.last_serial += 1;
        let free = self.entries.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[index] = Some((self.last_serial, connection));
        ConnectionId {
            index,
            serial: self.last_serial,
        }
    }

    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        match self.entries.get_mut(id.index) {
            Some(Some((serial, connection))) if *serial == id.serial => Some(connection),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        let entry = self.entries[id.index].take();
        entry.map(|(_, connection)| connection)
    }

    pub(super) fn iter(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Connection)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(index, entry)| {
            let (serial, connection) = entry.as_mut()?;
            let serial = *serial;
            Some((ConnectionId { index, serial }, connection))
        })
    }
}
