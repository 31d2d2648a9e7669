//! Records (logs, spans, metrics) on their way to the client, in the buffer of the connection itself.
//!
//! Nothing here waits for the client: what the buffer cannot take is refused, and the package counts it.
//!
//! | file | idea |
//! | --- | --- |
//! | `record_channel` | the channel by which the package sends records to one client |

pub(crate) mod record_channel;
