//! What may have to be so before a rollout goes forward: an approval, a time of day, the word of another system.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::objective::read_name;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Which steps forward a gate stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// The first share of traffic.
    Rollout,
    /// Each step, from the first share to all traffic.
    Step,
    /// All traffic, once every step has passed.
    Promotion,
}

impl Before {
    /// Every one with the name that `app.yaml` has for it.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Rollout, "rollout"),
        (Self::Step, "step"),
        (Self::Promotion, "promotion"),
    ];
}

/// What opens a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A person's word.
    Approval,
    /// A time of the week.
    Window(Window),
    /// The word of a receiver in `alerts.toml`, by its name: a webhook or a command that is asked.
    Ask(String),
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Where it stands.
    pub before: Before,
    /// What opens it.
    pub need: Need,
}

impl Need {
    /// In words: `an approval`.
    pub fn text(&self) -> String {
        match self {
            Self::Approval => "an approval".to_owned(),
            Self::Window(window) => format!("the time {}", window.text()),
            Self::Ask(name) => format!("the word of {name}"),
        }
    }
}

impl Gate {
    /// Whether there is anything that could open it.
    pub(crate) fn is_sound(&self) -> bool {
        match &self.need {
            Need::Approval => true,
            Need::Window(window) => {
                let days = window.days.iter().all(|&day| day < 7) && window.days.len() <= 7;
                days && window.from < DAY && window.until < DAY && zone(&window.zone).is_some()
            }
            Need::Ask(name) => read_name(name).is_ok(),
        }
    }
}

/// A time that comes again each week, by a place's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Days from 0, Monday, to 6; every day if none is named. A window that goes past midnight is of the day on which it
    /// begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<u8>,
    /// Minutes since midnight.
    pub from: u16,
    /// Minutes since midnight; before `from` it is of the next day.
    pub until: u16,
    /// The place, by its name in the IANA's time zone database.
    pub zone: String,
}

impl Window {
    /// The names of days, Monday first.
    pub const DAYS: [&'static str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    /// Whether it is open at a time, in seconds since the Unix epoch. One whose place is not known is never open.
    pub fn is_open(&self, now: u64) -> bool {
        let at = i64::try_from(now)
            .ok()
            .and_then(|now| Timestamp::from_second(now).ok());
        let (Some(at), Some(zone)) = (at, zone(&self.zone)) else {
            return false;
        };
        let local = at.to_zoned(zone);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(DAY);
        let is_of = |day: Weekday| {
            let number = day.to_monday_zero_offset();
            self.days.is_empty() || self.days.iter().any(|&named| i8::try_from(named) == Ok(number))
        };
        let today = local.weekday();
        if self.from < self.until {
            is_of(today) && (self.from..self.until).contains(&minute)
        } else {
            (is_of(today) && minute >= self.from) || (is_of(today.previous()) && minute < self.until)
        }
    }

    /// As people read it: `mon-fri 09:00-16:00 Europe/Berlin`, or without days.
    pub fn text(&self) -> String {
        let days: Vec<_> = self
            .days
            .iter()
            .filter_map(|&day| Self::DAYS.get(usize::from(day)).copied())
            .collect();
        let separator = if days.is_empty() { "" } else { " " };
        format!(
            "{}{separator}{}-{} {}",
            days.join(","),
            clock(self.from),
            clock(self.until),
            self.zone
        )
    }
}

/// `09:30` of minutes since midnight.
fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `09:30` as minutes since midnight.
pub(crate) fn read_clock(text: &str) -> Result<u16, String> {
    let refuse = || format!("{text:?} is not a time of day such as 09:30");
    let (hours, minutes) = text.split_once(':').ok_or_else(refuse)?;
    let number = |text: &str, below: u16| {
        let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let value: u16 = text.parse().ok().filter(|_| is_two_digits)?;
        (value < below).then_some(value)
    };
    let (hours, minutes) = number(hours, 24).zip(number(minutes, 60)).ok_or_else(refuse)?;
    Ok(hours * 60 + minutes)
}

/// A place's rules, from the database in this build: the machine's own may be missing or old.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[u8], from: &str, until: &str, zone: &str) -> Window {
        Window {
            days: days.to_vec(),
            from: read_clock(from).unwrap(),
            until: read_clock(until).unwrap(),
            zone: zone.to_owned(),
        }
    }

    fn at(text: &str) -> u64 {
        let at: Timestamp = text.parse().unwrap();
        u64::try_from(at.as_second()).unwrap()
    }

    #[test]
    fn a_window_follows_the_clocks_of_its_place() {
        let office = window(&[0, 1, 2, 3, 4], "09:00", "16:00", "Europe/Berlin");
        let night = window(&[4], "22:00", "02:00", "UTC");
        let all_day = window(&[6], "00:00", "00:00", "UTC");
        let nowhere = window(&[], "00:00", "00:00", "Nowhere/Else");
        for (window, time, is_open) in [
            // Winter: an hour before Greenwich. Summer: two.
            (&office, "2026-01-05T08:00:00Z", true),
            (&office, "2026-01-05T07:59:59Z", false),
            (&office, "2026-07-06T07:00:00Z", true),
            (&office, "2026-07-06T14:00:00Z", false),
            // A Saturday there, still a Friday elsewhere.
            (&office, "2026-01-10T10:00:00Z", false),
            (&night, "2026-01-09T22:00:00Z", true),
            (&night, "2026-01-10T01:59:00Z", true),
            (&night, "2026-01-10T02:00:00Z", false),
            (&night, "2026-01-09T01:00:00Z", false),
            (&night, "2026-01-10T23:00:00Z", false),
            (&all_day, "2026-01-11T00:00:00Z", true),
            (&all_day, "2026-01-11T23:59:59Z", true),
            (&all_day, "2026-01-12T00:00:00Z", false),
            (&nowhere, "2026-01-12T00:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(time)), is_open, "{} at {time}", window.text());
        }
    }

    #[test]
    fn times_of_day_are_written_with_four_digits() {
        assert_eq!((read_clock("00:00"), read_clock("23:59")), (Ok(0), Ok(1_439)));
        for text in ["24:00", "9:00", "09:60", "0900", "09:0", "-1:00", "+9:00", ""] {
            assert!(read_clock(text).is_err(), "{text}");
        }
        assert_eq!(
            window(&[0, 4], "09:05", "16:00", "UTC").text(),
            "mon,fri 09:05-16:00 UTC"
        );
    }
}
