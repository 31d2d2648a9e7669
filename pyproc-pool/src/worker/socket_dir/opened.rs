//! A directory by its descriptor: even if its name changes, files are removed from this directory only.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, statat,
        unlinkat,
    },
    path::Arg,
    process::geteuid,
};

use super::LOCK;

/// Follows no link, and does not block on a named pipe.
const SAFELY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct OpenedDir {
    fd: OwnedFd,
    stat: Stat,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    sockets: Vec<CString>,
    pub(super) has_lock: bool,
    /// A file that no pool has created.
    pub(super) has_others: bool,
}

impl OpenedDir {
    pub(super) fn open(parent: BorrowedFd<'_>, name: impl Arg) -> io::Result<Self> {
        let flags = SAFELY | OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = openat(parent, name, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// Whether it belongs to this user, and no other user may enter it.
    pub(super) fn is_private(&self) -> bool {
        // A parent may hand down its set-group-id bit.
        self.stat.st_uid == geteuid().as_raw() && self.stat.st_mode & 0o777 == 0o700
    }

    /// Whether nothing in it has changed for this time.
    pub(super) fn is_older_than(&self, limit: Duration) -> bool {
        let changed = u64::try_from(self.stat.st_mtime).unwrap_or(0);
        let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(changed));
        age.is_ok_and(|age| age > limit)
    }

    pub(super) fn contents(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = self.kind(name)?;
            if name.to_bytes() == LOCK.as_bytes() && kind == FileType::RegularFile {
                contents.has_lock = true;
            } else if kind == FileType::Socket {
                contents.sockets.push(name.into());
            } else {
                contents.has_others = true;
            }
        }
        Ok(contents)
    }

    fn kind(&self, name: &CStr) -> io::Result<FileType> {
        let stat = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Takes the lock that a living service holds. It is held until the file is dropped.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.lock_with(OFlags::empty())
    }

    /// Makes the lock, and takes it.
    pub(super) fn make_lock(&self) -> io::Result<File> {
        self.lock_with(OFlags::CREATE | OFlags::EXCL)
    }

    fn lock_with(&self, flags: OFlags) -> io::Result<File> {
        let (flags, mode) = (flags | SAFELY | OFlags::RDWR, Mode::RUSR | Mode::WUSR);
        let lock = File::from(openat(&self.fd, LOCK, flags, mode)?);
        if !lock.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(lock)
    }

    /// Fails if the name refers to another directory by now, as where other users may rename directories.
    pub(super) fn check_name(&self, parent: BorrowedFd<'_>, name: impl Arg) -> io::Result<()> {
        let named = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (named.st_dev, named.st_ino) == (self.stat.st_dev, self.stat.st_ino) {
            return Ok(());
        }
        Err(io::Error::other("another directory has taken its name"))
    }

    pub(super) fn remove_socket(&self, name: &OsStr) -> io::Result<()> {
        let stat = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
            unlinkat(&self.fd, name, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Removes its sockets and its lock, and then the directory itself if it is empty and still has this name.
    pub(super) fn remove(&self, parent: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<()> {
        let Contents {
            sockets, has_lock, ..
        } = self.contents()?;
        for socket in &sockets {
            unlinkat(&self.fd, socket, AtFlags::empty())?;
        }
        if has_lock {
            unlinkat(&self.fd, LOCK, AtFlags::empty())?;
        }
        self.check_name(parent, name)?;
        Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}
