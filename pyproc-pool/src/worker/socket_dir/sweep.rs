//! Removes what killed services left, and nothing else.

use std::{ffi::CStr, io, os::fd::BorrowedFd, path::Path, time::Duration};

use rustix::{
    fd::AsFd,
    fs::{CWD, Dir, Mode, OFlags, openat},
};

use super::{PREFIX, UNFINISHED, opened::OpenedDir};

/// How long a directory may take from being made to having its lock.
const LONGEST_START: Duration = Duration::from_secs(60 * 60);

/// Characters of the random part of a name.
const RANDOM: usize = 8;

/// Files that cannot be read or removed stay: they belong to another user.
pub(super) fn sweep(parent: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(parent) = openat(CWD, parent, flags, Mode::empty()) else {
        return;
    };
    let entries = Dir::read_from(&parent).into_iter().flatten().flatten();
    for entry in entries {
        let _ = remove_if_dead(parent.as_fd(), entry.file_name());
    }
}

/// Decides by the name, and then by the contents. Process ids do not count: containers may share the directory, and
/// have ids of their own.
fn remove_if_dead(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let Some(stage) = name.to_str().ok().and_then(Stage::of) else {
        return Ok(());
    };
    let dir = OpenedDir::open(parent, name)?;
    if !dir.is_private() {
        return Ok(());
    }
    let contents = dir.contents()?;
    let is_ours = !contents.has_others && stage.may_be_swept(&dir, contents.has_lock);
    if !is_ours {
        return Ok(());
    }
    let _lock = contents.has_lock.then(|| dir.lock()).transpose()?;
    dir.remove(parent, name)
}

/// How far the service that made a directory had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unfinished,
    Finished,
}

impl Stage {
    /// The state of the directory with this name; `None` if a pool does not give such names.
    fn of(name: &str) -> Option<Self> {
        let (name, stage) = match name.strip_suffix(UNFINISHED) {
            Some(name) => (name, Self::Unfinished),
            None => (name, Self::Finished),
        };
        let (pid, random) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let is_number = !pid.is_empty() && pid.bytes().all(|it| it.is_ascii_digit());
        let is_hex = |it| matches!(it, b'0'..=b'9' | b'a'..=b'f');
        let is_random = random.len() == RANDOM && random.bytes().all(is_hex);
        (is_number && is_random).then_some(stage)
    }

    fn may_be_swept(self, dir: &OpenedDir, has_lock: bool) -> bool {
        match self {
            Self::Finished => has_lock,
            Self::Unfinished => dir.is_older_than(LONGEST_START),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_names_that_a_pool_gives_count() {
        assert_eq!(Stage::of("pyproc-1-0123abcd"), Some(Stage::Finished));
        assert_eq!(Stage::of("pyproc-77-0123abcd.new"), Some(Stage::Unfinished));
        for name in [
            "pyproc-models",
            "pyproc-1",
            "pyproc-1-",
            "pyproc--0123abcd",
            "pyproc-1-0123abc",
            "pyproc-1-0123abcde",
            "pyproc-1-0123ABCD",
            "pyproc-one-0123abcd",
            "pyproc-1-0123abcd.old",
            "pyproc-1-0123abcd.new.new",
            "my-pyproc-1-0123abcd",
        ] {
            assert_eq!(Stage::of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn each_name_that_a_pool_gives_counts(pid in any::<u32>(), random in any::<u32>()) {
            let name = format!("{PREFIX}{pid}-{random:08x}");
            prop_assert_eq!(Stage::of(&name), Some(Stage::Finished));
            prop_assert_eq!(Stage::of(&(name + UNFINISHED)), Some(Stage::Unfinished));
        }

        #[test]
        fn any_text_is_judged(name in ".*") {
            let _ = Stage::of(&name);
            let _ = Stage::of(&format!("{PREFIX}{name}"));
        }
    }
}
