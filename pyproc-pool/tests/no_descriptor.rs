//! A pool for which there are too few file descriptors. A process of its own, as the limit is one of the process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use pyproc_pool::{Error, ErrorKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Scratch, odd, python};

#[tokio::test]
async fn the_error_of_a_start_without_descriptors_blames_no_setting() {
    let scratch = Scratch::new();
    // The worker itself has enough.
    let wrapper = scratch.path().join("python");
    let code = format!(
        "#!/bin/sh\nulimit -n 512\nexec '{}' \"$@\"\n",
        python().display()
    );
    fs::write(&wrapper, code).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let sockets = Scratch::new();

    let before = getrlimit(Resource::Nofile);
    let mut kinds = Vec::new();
    for limit in fs::File::open("/dev/null").map(free).unwrap().. {
        let limited = Rlimit {
            current: Some(limit),
            ..before
        };
        setrlimit(Resource::Nofile, limited).unwrap();
        let builder = odd(1).python_exec(&wrapper).socket_dir(sockets.path());
        let started = builder.start().await;
        setrlimit(Resource::Nofile, before).unwrap();
        let error = match started {
            Ok(_) => break,
            Err(error) => error,
        };
        let text = error.to_string();
        assert!(text.contains("Too many open files"), "{text}");
        assert!(text.contains("raise the limit of open files"), "{text}");
        assert!(
            !text.contains("python_exec") && !text.contains("bad setting"),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        kinds.push(std::mem::discriminant(&error));
        assert!(kinds.len() < 50, "{text}");
        if kinds.len() == 1 {
            assert!(matches!(error, Error::NoDescriptor(_)), "{error:?}");
        }
    }
    kinds.dedup();
    assert!(kinds.len() > 1, "it failed in one way only");
}

/// The number of a file that was opened: the lowest limit that leaves none.
fn free(file: fs::File) -> u64 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd().unsigned_abs().into()
}
