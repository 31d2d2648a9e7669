//! Time as RFC 3339 in UTC, always with nine digits after the point, so that lines sort.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: i64 = 86_400;

/// Writes the time; what it wrote for the last second is kept, as lines come in crowds.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    pub(crate) fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let (second, nanos) = since_epoch(time);
        if self.second != Some(second) {
            self.text = second_text(second);
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b".");
        out.extend_from_slice(&nine_digits(nanos));
        out.extend_from_slice(b"Z");
    }
}

fn since_epoch(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            match before.subsec_nanos() {
                0 => (-(before.as_secs() as i64), 0),
                nanos => (-(before.as_secs() as i64) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

fn second_text(second: i64) -> String {
    let (year, month, day) = date(second.div_euclid(SECONDS_A_DAY));
    let of_day = second.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The Gregorian date of a day, counted from 1970-01-01.
///
/// Years begin in March here, so that the leap day is the last of its year, and in periods of 400 years, which
/// all have the same number of days.
fn date(day: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let day = day + DAYS_TO_1970;
    let (period, day) = (
        day.div_euclid(DAYS_IN_400_YEARS),
        day.rem_euclid(DAYS_IN_400_YEARS),
    );
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (period * 400 + year + next, month, day_of_month)
}

fn nine_digits(mut number: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(time: SystemTime) -> String {
        let mut out = Vec::new();
        Clock::default().write(time, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn at(seconds: u64, nanos: u32) -> String {
        text(UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    #[test]
    fn known_times_are_written_as_everybody_writes_them() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(951_868_799, 0), "2000-02-29T23:59:59.000000000Z");
        assert_eq!(at(951_868_800, 0), "2000-03-01T00:00:00.000000000Z");
        assert_eq!(
            at(1_705_314_645, 123_456_789),
            "2024-01-15T10:30:45.123456789Z"
        );
        assert_eq!(
            at(4_107_542_399, 999_999_999),
            "2100-02-28T23:59:59.999999999Z"
        );
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn a_clock_before_1970_is_no_trouble() {
        let before = UNIX_EPOCH - Duration::new(1, 1);
        assert_eq!(text(before), "1969-12-31T23:59:58.999999999Z");
        assert_eq!(
            text(UNIX_EPOCH - Duration::from_secs(1)),
            "1969-12-31T23:59:59.000000000Z"
        );
    }

    #[test]
    fn days_follow_each_other_without_a_gap() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..200_000 {
            assert_eq!(date(number), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day == last {
                (1, month + 1)
            } else {
                (day + 1, month)
            };
            if month == 13 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn a_clock_keeps_only_what_still_holds() {
        let mut clock = Clock::default();
        for (seconds, expected) in [
            (5, "05.000000001"),
            (5, "05.000000001"),
            (6, "06.000000001"),
            (5, "05.000000001"),
        ] {
            let mut out = Vec::new();
            clock.write(UNIX_EPOCH + Duration::new(seconds, 1), &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("1970-01-01T00:00:{expected}Z")
            );
        }
    }
}
