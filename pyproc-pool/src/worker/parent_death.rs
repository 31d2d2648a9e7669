//! The only unsafe code of this crate: what the child does between fork and exec.

#![allow(unsafe_code)]

use std::process::Command;

/// Arranges that the system kills the child when the thread that spawns it ends, whatever ended it.
///
/// The thread, because that is what Linux watches; it must live as long as the child.
/// Elsewhere this does nothing, and a worker looks for its parent once a second instead.
#[cfg(target_os = "linux")]
pub(super) fn kill_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let in_child = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above.
        if getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and compares numbers. It
    // takes no lock, allocates nothing and touches no memory but its own copy of `parent`.
    unsafe { command.pre_exec(in_child) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn kill_with_parent(_command: &mut Command) {}
