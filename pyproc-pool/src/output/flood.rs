//! Throttles a worker that writes more than may be logged, so that it does not take the processor from others.

use std::{mem, time::Duration};

/// What has arrived since the last pause.
///
/// A wake-up for each line costs both sides, so a flood is read only from time to time. A worker that makes a system
/// call for each line pays even more, and is throttled: it writes some 50,000 lines a second. One that writes many
/// lines at once reaches half a million to a million.
#[derive(Debug)]
pub(super) struct Flood {
    on: bool,
    /// How many times in a row the worker wrote many lines at once.
    coarse: u32,
    /// The pipe was emptied, so that the next bytes are one write of the worker.
    emptied: bool,
    lines: usize,
    bytes: usize,
    pauses: u32,
}

/// From this number of lines at once on, writing them costs little.
const COARSE: usize = 400;

/// How many times this must be seen: a late wake-up looks the same.
const SURE: u32 = 8;

const PAUSE: Duration = Duration::from_millis(10);

/// After this number of pauses, a longer read checks whether the worker writes more at once by now.
const PROBE: u32 = 100;

/// The most lines between two pauses.
const FINE_LINES: usize = 500;
const COARSE_LINES: usize = 10_000;
const BYTES: usize = 1024 * 1024;

/// The size of the largest read.
pub(super) const BUFFER: usize = 64 * 1024;
const SIP: usize = 4 * 1024;

impl Flood {
    pub(super) fn new() -> Self {
        Self {
            on: false,
            coarse: 0,
            emptied: false,
            lines: 0,
            bytes: 0,
            pauses: 0,
        }
    }

    /// The size of the next read.
    pub(super) fn read_size(&self) -> usize {
        match self.on && !self.takes_much() {
            true => SIP,
            false => BUFFER,
        }
    }

    pub(super) fn writes_in_bulk(&self) -> bool {
        self.coarse >= SURE
    }

    fn takes_much(&self) -> bool {
        self.writes_in_bulk() || self.pauses.is_multiple_of(PROBE)
    }

    /// Counts a read of so many lines and bytes. `over` means beyond the rate; `emptied` means that it emptied the
    /// pipe. Returns how long to wait before the next read.
    pub(super) fn on_piece(
        &mut self,
        lines: usize,
        bytes: usize,
        over: bool,
        emptied: bool,
    ) -> Option<Duration> {
        let is_written_at_once = mem::replace(&mut self.emptied, emptied);
        if is_written_at_once {
            self.coarse = match lines >= COARSE {
                true => self.coarse.saturating_add(1),
                false => 0,
            };
        }
        self.on = over;
        self.lines += lines;
        self.bytes += bytes;
        let is_known = is_written_at_once && (self.writes_in_bulk() || self.coarse == 0);
        if over && !is_known && !self.has_enough() {
            return None;
        }
        (self.lines, self.bytes) = (0, 0);
        if !over {
            return None;
        }
        self.emptied = false;
        self.pauses = self.pauses.wrapping_add(1);
        Some(PAUSE)
    }

    fn has_enough(&self) -> bool {
        let most = match self.takes_much() {
            true => COARSE_LINES,
            false => FINE_LINES,
        };
        self.lines >= most || self.bytes >= BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_within_the_rate_is_never_throttled() {
        let mut flood = Flood::new();
        for _ in 0..1000 {
            assert_eq!(flood.on_piece(1000, BUFFER, false, false), None);
        }
        assert_eq!(flood.read_size(), BUFFER);
    }

    /// Lines that are read until the next pause, from a pipe that is always full.
    fn until_pause(flood: &mut Flood) -> usize {
        let mut lines = 0;
        loop {
            let bytes = flood.read_size();
            lines += bytes / 20;
            if flood.on_piece(bytes / 20, bytes, true, false).is_some() {
                return lines;
            }
        }
    }

    #[test]
    fn a_worker_that_writes_line_by_line_is_throttled_early() {
        let mut flood = Flood::new();
        flood.on_piece(1, 20, false, true);
        assert_eq!(flood.on_piece(1, 20, true, true), Some(PAUSE));
        for _ in 0..PROBE - 1 {
            let lines = until_pause(&mut flood);
            assert!(lines < 1000, "{lines}");
        }
        let lines = until_pause(&mut flood);
        assert!((10_000..20_000).contains(&lines), "a probe: {lines}");
    }

    #[test]
    fn a_worker_that_writes_many_lines_at_once_is_throttled_only_after_ten_thousand() {
        let mut flood = Flood::new();
        for _ in 0..=SURE {
            flood.on_piece(1000, 20_000, false, true);
        }
        assert!(flood.writes_in_bulk());
        until_pause(&mut flood);
        for _ in 0..2 * PROBE {
            let lines = until_pause(&mut flood);
            assert!((10_000..20_000).contains(&lines), "{lines}");
        }
        // With one write line by line that is over.
        flood.on_piece(1000, 20_000, true, true);
        flood.on_piece(1, 20, true, true);
        assert!(!flood.writes_in_bulk());
    }

    #[test]
    fn what_gathered_in_a_pause_was_not_written_at_once() {
        let mut flood = Flood::new();
        for _ in 0..100 {
            until_pause(&mut flood);
            assert_eq!(flood.on_piece(200, 4000, true, true), None);
            assert_eq!(flood.on_piece(1, 20, true, true), Some(PAUSE));
        }
    }
}
