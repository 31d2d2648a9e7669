//! The records of telemetry on their way to the client.

pub(crate) mod record_channel;
