//! The memory and processor time of a process, from Linux's `/proc`.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    pub(super) resident_bytes: u64,
    pub(super) cpu_seconds: f64,
}

impl Usage {
    /// `None` if there is no such process, or it is in another namespace.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The second field, the name, is in brackets and may hold anything; the third is at index 0 here.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let (user, system, resident_pages) = (field(14)?, field(15)?, field(24)?);
        Some(Self {
            resident_bytes: resident_pages.saturating_mul(page_size() as u64),
            cpu_seconds: user.saturating_add(system) as f64 / clock_ticks_per_second() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let stat = "7 (a) R b) S 1 7 7 0 -1 4194560 1 2 3 4 30 20 0 0 20 0 1 0 99 4096 5 18446744073709551615";
        let usage = Usage::parse(stat).unwrap();
        assert_eq!(usage.resident_bytes, 5 * page_size() as u64);
        assert_eq!(usage.cpu_seconds, 50.0 / clock_ticks_per_second() as f64);
        assert_eq!(Usage::parse("7 (a) S 1"), None);
        assert_eq!(Usage::parse(""), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.cpu_seconds >= 0.0);
    }
}
