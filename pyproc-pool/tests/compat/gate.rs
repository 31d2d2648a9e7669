use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::support::Scratch;

/// What the worker's function `hold` waits for.
pub(crate) struct Gate {
    dir: Scratch,
    file: PathBuf,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        let dir = Scratch::new();
        let file = dir.path().join("gate");
        Self { dir, file }
    }

    /// The body of a request to `hold`.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether `hold` has begun.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.dir.is_empty()
    }

    pub(crate) fn open(&self) -> io::Result<()> {
        fs::write(&self.file, "")
    }
}
