//! Schedules in five fields, `*/15 8-18 * * mon-fri`, and the times they mean.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// Furthest a next time is looked for: longer than between two leap years.
const YEARS_MAX: i16 = 9;

/// Minutes, hours, days, months and weekdays as sets of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day and weekday are both given: then either is enough.
    either_day: bool,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadSchedule {
    text: String,
    why: String,
}

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unparseable schedule {:?}: {}", self.text, self.why)
    }
}

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of month", first: 1, last: 31, names: &[] },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        name: "day of week",
        first: 0,
        last: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const SHORT: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Schedule, BadSchedule> {
        let bad = |why: String| BadSchedule { text: text.to_owned(), why };
        let short = SHORT.iter().find(|(name, _)| *name == text.trim());
        let words: Vec<&str> = short.map_or(text, |(_, long)| long).split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(bad(format!("expected exactly 5 fields, found {}", words.len())));
        };
        let read = |index: usize, word: &str| FIELDS[index].read(word).map_err(bad);
        let star = |word: &str| word.starts_with(['*', '?']);
        Ok(Schedule {
            minutes: read(0, minute)?,
            hours: read(1, hour)?,
            days: read(2, day)?,
            months: read(3, month)?,
            weekdays: read(4, weekday)?,
            either_day: !star(day) && !star(weekday),
        })
    }
}

impl Field {
    fn read(&self, word: &str) -> Result<u64, String> {
        word.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range {
            "*" | "?" => (self.first, self.last),
            range => match range.split_once('-') {
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                None => {
                    let number = self.number(range)?;
                    (number, if step.is_some() { self.last } else { number })
                }
            },
        };
        let step: u32 = match step {
            None => 1,
            Some(step) => step
                .parse()
                .ok()
                .filter(|step| *step > 0)
                .ok_or_else(|| format!("{step:?} is no step for the {}", self.name))?,
        };
        if first > last {
            return Err(format!("the {} begins after its end: {part}", self.name));
        }
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, word: &str) -> Result<u32, String> {
        let lower = word.to_ascii_lowercase();
        if let Some(index) = self.names.iter().position(|name| *name == lower) {
            return Ok(u32::try_from(index).unwrap_or(0) + self.first);
        }
        let number = lower.parse::<u32>().ok();
        // Sunday is 7 as well as 0.
        let number = if self.last == 6 && number == Some(7) { Some(0) } else { number };
        number
            .filter(|number| (self.first..=self.last).contains(number))
            .ok_or_else(|| format!("{word:?} is no {}", self.name))
    }
}

impl Schedule {
    /// The first time after `after` in `zone`; `None` if there is none for years.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = after.to_zoned(zone.clone()).datetime();
        let mut date = local.date();
        let mut from = next_minute(local)?;
        if from.date() != date {
            date = from.date();
        }
        let last_year = date.year().checked_add(YEARS_MAX)?;
        while date.year() <= last_year {
            if self.allows(date) {
                let earliest = if from.date() == date { Some(from.time()) } else { None };
                for time in self.times(earliest) {
                    // Times that a change of clocks leaves out or repeats become later ones.
                    let at = date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp();
                    if at > after {
                        return Some(at);
                    }
                }
            }
            date = date.tomorrow().ok()?;
            from = date.to_datetime(Time::midnight());
        }
        None
    }

    fn allows(&self, date: Date) -> bool {
        let has = |bits: u64, number: i8| bits & (1 << u32::from(number.unsigned_abs())) != 0;
        if !has(self.months, date.month()) {
            return false;
        }
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either_day { day || weekday } else { day && weekday }
    }

    fn times(&self, earliest: Option<Time>) -> impl Iterator<Item = Time> {
        let of = |bits: u64, last: i8| {
            (0..=last).filter(move |number| bits & (1 << u32::from(number.unsigned_abs())) != 0)
        };
        let minutes = self.minutes;
        let all = of(self.hours, 23).flat_map(move |hour| {
            of(minutes, 59).filter_map(move |minute| Time::new(hour, minute, 0, 0).ok())
        });
        all.filter(move |time| earliest.is_none_or(|earliest| *time >= earliest))
    }

    /// The last time that is not after `now` and after `since`, and how many there were; counting
    /// stops at `most`.
    pub(super) fn last_missed(
        &self,
        since: Timestamp,
        now: Timestamp,
        zone: &TimeZone,
        most: usize,
    ) -> Option<(Timestamp, usize)> {
        let mut found = None;
        let mut count = 0;
        let mut at = since;
        while let Some(next) = self.next(at, zone).filter(|next| *next <= now) {
            count += 1;
            found = Some((next, count));
            at = next;
            if count == most {
                // Too many to walk through: look at the last stretch only.
                let stretch = next.duration_since(since) / i32::try_from(most).unwrap_or(1);
                let from = now - stretch * 2;
                if from > at {
                    at = from;
                }
            }
        }
        found
    }
}

/// The next full minute.
fn next_minute(local: DateTime) -> Option<DateTime> {
    let floor = local.date().to_datetime(Time::new(local.hour(), local.minute(), 0, 0).ok()?);
    floor.checked_add(jiff::Span::new().minutes(1)).ok()
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).expect("a zone");
        let after: Timestamp = after.parse().expect("a time");
        let schedule: Schedule = schedule.parse().expect("a schedule");
        schedule.next(after, &zone).map(|at| at.to_string()).unwrap_or_default()
    }

    #[test_case("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"; "every minute")]
    #[test_case("*/15 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:00:00Z"; "every quarter")]
    #[test_case("5/20 * * * *", "2026-01-01T00:25:00Z", "2026-01-01T00:45:00Z"; "from five on")]
    #[test_case("0 9 * * mon-fri", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"; "working days")]
    #[test_case("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"; "the 13th or a Friday")]
    #[test_case("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"; "leap day")]
    #[test_case("@daily", "2026-12-31T10:00:00Z", "2027-01-01T00:00:00Z"; "new year")]
    #[test_case("0 0 31 2 *", "2026-01-01T00:00:00Z", ""; "never")]
    #[test_case("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"; "Sunday is 7")]
    fn utc(schedule: &str, after: &str, expected: &str) {
        assert_eq!(next(schedule, after, "UTC"), expected);
    }

    #[test]
    fn zones() {
        let zone = "Europe/Berlin";
        assert_eq!(next("0 9 * * *", "2026-01-01T00:00:00Z", zone), "2026-01-01T08:00:00Z");
        assert_eq!(next("0 9 * * *", "2026-07-01T00:00:00Z", zone), "2026-07-01T07:00:00Z");
        // 02:30 does not exist on that day.
        assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z", zone), "2026-03-29T01:30:00Z");
    }

    #[test_case("* * * *"; "four fields")]
    #[test_case("60 * * * *"; "minute sixty")]
    #[test_case("*/0 * * * *"; "no step")]
    #[test_case("5-1 * * * *"; "backwards")]
    #[test_case("* * * foo *"; "no month")]
    fn refused(text: &str) {
        assert!(text.parse::<Schedule>().is_err());
    }

    #[test]
    fn missed_times() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let schedule: Schedule = "0 * * * *".parse().expect("a schedule");
        let missed =
            |since: &str, now: &str| schedule.last_missed(at(since), at(now), &TimeZone::UTC, 100);
        assert_eq!(missed("2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z"), None);
        assert_eq!(
            missed("2026-01-01T00:00:00Z", "2026-01-01T03:30:00Z"),
            Some((at("2026-01-01T03:00:00Z"), 3))
        );
        let (last, _) = missed("2025-01-01T00:00:00Z", "2026-01-01T03:30:00Z").expect("many");
        assert_eq!(last, at("2026-01-01T03:00:00Z"));
    }
}
