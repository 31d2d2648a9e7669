use std::{
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    time::{Duration, SystemTime},
};

use rustix::fs::{FlockOperation, Timespec, Timestamps, flock, utimensat};

use super::*;

/// A parent for directories of sockets, removed on drop.
struct Parent(PathBuf);

impl Parent {
    fn new() -> Self {
        let dir = Path::new("/tmp").join(format!("pp-{:x}", fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    /// A directory as a pool makes it, with what a pool puts there but for the lock.
    fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        drop(UnixListener::bind(path.join("worker-0.1.sock")).unwrap());
        path
    }

    /// The same with a lock that nobody holds.
    fn dead(&self) -> PathBuf {
        let path = self.dir(&format!("pyproc-1-{:08x}", fastrand::u32(..)));
        fs::write(path.join(LOCK), "").unwrap();
        path
    }

    /// Whether the start of a pool leaves all of these as they are.
    fn start_spares(&self, path: &Path) -> bool {
        let before = listing(path);
        drop(SocketDir::create(Some(&self.0)).unwrap());
        path.symlink_metadata().is_ok() && listing(path) == before
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listing(path: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

/// Makes it look as if nothing had changed in it for so long.
fn age(path: &Path, by: Duration) {
    let then = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        - by;
    let then = Timespec {
        tv_sec: then.as_secs().try_into().unwrap(),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: then,
        last_modification: then,
    };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn only_this_user_may_enter_and_nothing_is_left_on_drop() {
    let parent = Parent::new();
    let dir = SocketDir::create(Some(&parent.0)).unwrap();
    let mode = fs::metadata(&dir.sockets.path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(UnixListener::bind(dir.sockets.path.join("worker-0.1.sock")).unwrap());
    drop(dir);
    fs::remove_dir(&parent.0).unwrap();
}

#[test]
fn files_of_others_stay_on_drop() {
    let parent = Parent::new();
    let dir = SocketDir::create(Some(&parent.0)).unwrap();
    let path = dir.sockets.path.clone();
    fs::write(path.join("model.bin"), "weights").unwrap();
    drop(UnixListener::bind(path.join("worker-0.1.sock")).unwrap());
    drop(dir);
    assert_eq!(listing(&path), [path.join("model.bin")]);
}

#[test]
fn a_directory_that_took_its_name_stays_on_drop() {
    let parent = Parent::new();
    let dir = SocketDir::create(Some(&parent.0)).unwrap();
    let path = dir.sockets.path.clone();
    fs::rename(&path, parent.0.join("moved")).unwrap();
    fs::create_dir(&path).unwrap();
    drop(dir);
    assert!(path.exists());
}

#[test]
fn directories_of_the_dead_are_swept_and_those_of_the_living_are_not() {
    let parent = Parent::new();
    let living = SocketDir::create(Some(&parent.0)).unwrap();
    let dead = parent.dead();
    let next = SocketDir::create(Some(&parent.0)).unwrap();
    assert!(living.sockets.path.exists() && next.sockets.path.exists());
    assert!(!dead.exists());
}

#[test]
fn a_directory_with_a_name_that_no_pool_gives_is_spared() {
    let parent = Parent::new();
    for name in ["pyproc-models", "pyproc-1-dead", "pyproc-1-0123ABCD"] {
        let dir = parent.dir(name);
        fs::write(dir.join(LOCK), "").unwrap();
        assert!(parent.start_spares(&dir), "{name}");
    }
}

#[test]
fn a_directory_with_anything_but_sockets_and_the_lock_is_spared() {
    let parent = Parent::new();
    let (model, nested, link) = (parent.dead(), parent.dead(), parent.dead());
    fs::write(model.join("model.bin"), "weights").unwrap();
    fs::create_dir(nested.join("cache")).unwrap();
    symlink("/etc/passwd", link.join("worker-1.1.sock")).unwrap();
    for dir in [model, nested, link] {
        assert!(parent.start_spares(&dir));
    }
}

#[test]
fn a_directory_without_a_lock_is_spared() {
    let parent = Parent::new();
    let dir = parent.dir("pyproc-1-0123abcd");
    age(&dir, 2 * HOUR);
    assert!(parent.start_spares(&dir));
}

#[test]
fn a_directory_that_others_may_enter_is_spared() {
    let parent = Parent::new();
    for mode in [0o755, 0o750, 0o701, 0o600] {
        let dir = parent.dead();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        assert!(parent.start_spares(&dir), "{mode:o}");
    }
}

#[test]
fn a_named_pipe_called_lock_stops_no_start() {
    let parent = Parent::new();
    let dir = parent.dir("pyproc-1-0123abcd");
    let made = std::process::Command::new("mkfifo")
        .arg(dir.join(LOCK))
        .status();
    assert!(made.unwrap().success());
    assert!(parent.start_spares(&dir));
}

#[test]
fn a_lock_that_is_a_link_or_a_directory_is_none() {
    let parent = Parent::new();
    let (link, nested) = (
        parent.dir("pyproc-1-0123abcd"),
        parent.dir("pyproc-2-0123abcd"),
    );
    let target = parent.0.join("target");
    fs::write(&target, "").unwrap();
    symlink(&target, link.join(LOCK)).unwrap();
    fs::create_dir(nested.join(LOCK)).unwrap();
    assert!(parent.start_spares(&link) && parent.start_spares(&nested));
}

#[test]
fn a_link_to_a_directory_of_the_dead_is_not_followed() {
    let (parent, elsewhere) = (Parent::new(), Parent::new());
    let dead = elsewhere.dead();
    let link = parent.0.join("pyproc-1-0123abcd");
    symlink(&dead, &link).unwrap();
    assert!(parent.start_spares(&link));
    assert!(dead.join(LOCK).exists());
}

#[test]
fn what_a_start_left_half_made_is_swept_when_it_is_an_hour_old() {
    let parent = Parent::new();
    let half_made = |name: &str, by| {
        let dir = parent.0.join(name);
        DirBuilder::new().mode(0o700).create(&dir).unwrap();
        if by == 2 * HOUR {
            fs::write(dir.join(LOCK), "").unwrap();
        }
        age(&dir, by);
        dir
    };
    let old = half_made("pyproc-1-0123abcd.new", HOUR + MINUTE);
    let older = half_made("pyproc-2-0123abcd.new", 2 * HOUR);
    let young = half_made("pyproc-3-0123abcd.new", HOUR - MINUTE);
    assert!(parent.start_spares(&young));
    assert!(!old.exists() && !older.exists());
}

#[test]
fn what_a_start_is_making_is_spared_however_old() {
    let parent = Parent::new();
    let dir = parent.dir("pyproc-1-0123abcd.new");
    let lock = File::create_new(dir.join(LOCK)).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    age(&dir, 2 * HOUR);
    assert!(parent.start_spares(&dir));
}

#[test]
fn a_relative_directory_starts_at_the_services_own() {
    let dir = SocketDir::create(Some(Path::new("."))).unwrap();
    assert!(dir.sockets.path.is_absolute());
}
