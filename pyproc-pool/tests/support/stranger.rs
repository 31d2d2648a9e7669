//! Another user of this machine: a thread with that user's rights, if the tests run as root on Linux.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

/// `nobody`, on most systems.
pub const STRANGER: u32 = 65_534;

/// Whether the tests can run as another user; prints a line if not.
pub fn there_are_strangers() -> bool {
    let can = cfg!(target_os = "linux") && rustix::process::geteuid().is_root();
    if !can {
        eprintln!("skipped: only root on Linux can be another user");
    }
    can
}

/// Runs `act` with the rights of another user.
#[cfg(target_os = "linux")]
pub fn as_stranger<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    use rustix::{
        process::{Gid, Uid},
        thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
    };

    let (user, group) = (Uid::from_raw(STRANGER), Gid::from_raw(STRANGER));
    let drop_rights = move || {
        // On Linux these belong to a thread, and this one ends after it.
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            drop_rights();
            act()
        });
        thread.join().unwrap()
    })
}

#[cfg(not(target_os = "linux"))]
pub fn as_stranger<T: Send>(_act: impl FnOnce() -> T + Send) -> T {
    unreachable!("there are no strangers")
}
