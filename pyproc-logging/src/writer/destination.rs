//! Where the log goes, by its settings.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::Arc,
};

use crate::{InitError, LogOutput};

pub(crate) struct Destination {
    pub(crate) to: Box<dyn Write + Send>,
    pub(crate) is_terminal: bool,
}

impl Destination {
    /// A descriptor of our own: the log does not wait for the lock of `std::io::stdout`, and a batch is one write.
    pub(crate) fn open(output: LogOutput) -> Result<Self, InitError> {
        let (copy, is_terminal) = match output {
            LogOutput::Stdout => {
                let stdout = io::stdout();
                (stdout.as_fd().try_clone_to_owned(), stdout.is_terminal())
            }
            LogOutput::Stderr => {
                let stderr = io::stderr();
                (stderr.as_fd().try_clone_to_owned(), stderr.is_terminal())
            }
        };
        let to = File::from(copy.map_err(|error| InitError::Output(Arc::new(error)))?);
        Ok(Self {
            to: Box::new(to),
            is_terminal,
        })
    }
}
