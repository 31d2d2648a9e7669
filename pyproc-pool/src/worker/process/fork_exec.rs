//! The only unsafe code of this crate: what the child does between fork and exec.

#![allow(unsafe_code)]

use std::{io, mem::MaybeUninit, os::unix::process::CommandExt, process::Command, ptr};

/// Makes the child start with every signal unblocked and at its default action, whatever the service blocks or ignores.
/// Only an ignored SIGHUP stays ignored, as `nohup` requires.
///
/// On Linux the system also kills the child when the thread that spawned it ends, for whatever reason. Linux watches
/// the thread, not the process, so that thread must live as long as the child. On other systems a worker checks once a
/// second whether its parent lives.
pub(super) fn prepare(command: &mut Command) {
    #[cfg(target_os = "linux")]
    let parent = rustix::process::getpid();
    let in_child = move || {
        #[cfg(target_os = "linux")]
        die_with(parent)?;
        reset_signals()
    };
    // SAFETY: between fork and exec the closure makes system calls and compares numbers. It takes
    // no lock, allocates nothing and touches no memory but its own.
    unsafe { command.pre_exec(in_child) };
}

#[cfg(target_os = "linux")]
fn die_with(parent: rustix::process::Pid) -> io::Result<()> {
    use rustix::{
        io::Errno,
        process::{Signal, getppid, set_parent_process_death_signal},
    };

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above.
    if getppid() != Some(parent) {
        return Err(Errno::SRCH.into());
    }
    Ok(())
}

fn reset_signals() -> io::Result<()> {
    for signal in 1..=last_signal() {
        if signal != libc::SIGHUP || !is_ignored(signal)? {
            // SAFETY: the default action runs no code of this program. It fails for SIGKILL, SIGSTOP and the signals
            // that the C library reserves, which cannot be ignored anyway.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: the first call initializes the set that the second call reads. The null pointer means that the old set is
    // not returned.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the current one, which is read only if the call succeeded.
    unsafe {
        if libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(action.assume_init().sa_sigaction == libc::SIG_IGN)
    }
}

#[cfg(target_os = "linux")]
fn last_signal() -> libc::c_int {
    libc::SIGRTMAX()
}

#[cfg(not(target_os = "linux"))]
fn last_signal() -> libc::c_int {
    libc::SIGUSR2
}
