//! What an app promises: how large a share of what it does has to be good, over which time. What `spec.objectives` of
//! `app.yaml` says, and what an app gets that says nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::frame::{Arm, FrameSeries};
use crate::limits::{
    OBJECTIVE_NAME_BYTES_MAX, OBJECTIVE_WINDOW_MAX, OBJECTIVE_WINDOW_MIN, OBJECTIVES_MAX, TARGET_PPM_MAX,
    TARGET_PPM_MIN,
};

const DAY: u64 = 24 * 3600;
/// The window of every objective that an app gets without asking, in seconds.
const WINDOW_DEFAULT: u64 = 30 * DAY;

/// What is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// A request that did not fail by the fault of guest, upstream or platform. What the client spoiled counts neither
    /// way.
    Success,
    /// A request whose answer ended within so many microseconds.
    LatencyBelow(u64),
    /// A second of a node in which it had requests for the app, and not all of them failed.
    Availability,
    /// A request that did not wait for a new instance for longer than [`crate::frame::SLOW_START`].
    ColdStarts,
}

impl fmt::Display for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Availability => f.write_str("availability"),
            Self::ColdStarts => f.write_str("cold starts"),
            Self::LatencyBelow(micros) if micros % 1_000_000 == 0 => {
                write!(f, "latency below {} s", micros / 1_000_000)
            }
            Self::LatencyBelow(micros) if micros % 1_000 == 0 => {
                write!(f, "latency below {} ms", micros / 1_000)
            }
            Self::LatencyBelow(micros) => write!(f, "latency below {micros} us"),
        }
    }
}

impl Indicator {
    /// How much was good, and of how much, in the shares of one app in one frame. A copy whose answer nobody gets
    /// counts nowhere.
    pub fn count<'s>(self, shares: impl IntoIterator<Item = &'s FrameSeries>) -> (u64, u64) {
        let mut sum = (0, 0);
        let mut served = (0, 0);
        for share in shares.into_iter().filter(|share| share.arm != Arm::Mirror) {
            let countable = share.requests.saturating_sub(share.client_failures);
            let answered = (countable.saturating_sub(share.failures()), countable);
            let (good, total) = match self {
                Self::Success => answered,
                Self::LatencyBelow(micros) => {
                    let limit = Duration::from_micros(micros).as_secs_f64();
                    (share.duration.at_most(limit), share.duration.count())
                }
                Self::ColdStarts => (share.requests.saturating_sub(share.slow_starts), share.requests),
                Self::Availability => (0, 0),
            };
            sum = (sum.0 + good, sum.1 + total);
            served = (served.0 + answered.0, served.1 + answered.1);
        }
        match self {
            Self::Availability => (u64::from(served.0 > 0), u64::from(served.1 > 0)),
            _ => sum,
        }
    }
}

/// The share that has to be good, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target(pub u32);

impl Target {
    /// As a share: above 0 and below 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        let digits = format!("{fraction:04}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            digits => write!(f, "{whole}.{digits}%"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is not a percentage from 50% to 99.999%");
        let number = text.strip_suffix('%').ok_or_else(refuse)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || fraction.len() > 4 || !digits(whole) || !digits(fraction) {
            return Err(refuse());
        }
        let ppm: u32 = format!("{whole}{fraction:0<4}").parse().map_err(|_| refuse())?;
        let target = Self(ppm);
        target.is_sound().then_some(target).ok_or_else(refuse)
    }
}

impl Target {
    fn is_sound(self) -> bool {
        (TARGET_PPM_MIN..=TARGET_PPM_MAX).contains(&self.0)
    }
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSpec {
    /// How people call it; once in an app.
    pub name: String,
    /// What is good.
    pub indicator: Indicator,
    /// How much of it.
    pub target: Target,
    /// Over which rolling time, in seconds.
    pub window: u64,
}

impl ObjectiveSpec {
    /// What an app promises that says nothing: 99.9 % success, 95 of 100 answers within 100 ms and 99 within 250 ms,
    /// fewer than 1 % that wait for a new instance, over 30 days.
    pub fn defaults() -> Vec<Self> {
        [
            ("success", Indicator::Success, 999_000),
            ("latency-p95", Indicator::LatencyBelow(100_000), 950_000),
            ("latency-p99", Indicator::LatencyBelow(250_000), 990_000),
            ("cold-starts", Indicator::ColdStarts, 990_000),
        ]
        .map(|(name, indicator, target)| Self {
            name: name.to_owned(),
            indicator,
            target: Target(target),
            window: WINDOW_DEFAULT,
        })
        .into()
    }

    /// Whether it keeps its own rules; says which it does not.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        read_name(name)?;
        if !self.target.is_sound() {
            return Err(format!("the target of {name} is not from 50% to 99.999%"));
        }
        if !is_window(self.window) {
            return Err(format!("the window of {name} is not from 1d to 30d"));
        }
        if self.indicator == Indicator::LatencyBelow(0) {
            return Err(format!("{name} wants answers in no time"));
        }
        Ok(())
    }
}

/// Whether an app may have all of these; says why not.
pub fn check_all(objectives: &[ObjectiveSpec]) -> Result<(), String> {
    if objectives.len() > OBJECTIVES_MAX {
        return Err(format!(
            "{} objectives, the ceiling is {OBJECTIVES_MAX}",
            objectives.len()
        ));
    }
    for (index, objective) in objectives.iter().enumerate() {
        objective.check()?;
        if objectives[..index]
            .iter()
            .any(|other| other.name == objective.name)
        {
            return Err(format!("the objective {:?} is there twice", objective.name));
        }
    }
    Ok(())
}

/// A name of lower-case letters, digits and dashes: it becomes part of a key.
pub(crate) fn read_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = text.as_bytes();
    if bytes.len() > OBJECTIVE_NAME_BYTES_MAX
        || !text.bytes().all(allowed)
        || !edge(bytes.first())
        || !edge(bytes.last())
    {
        return Err(format!(
            "{text:?} is not a name of lower-case letters, digits and '-', up to {OBJECTIVE_NAME_BYTES_MAX} bytes"
        ));
    }
    Ok(text.to_owned())
}

fn is_window(seconds: u64) -> bool {
    (OBJECTIVE_WINDOW_MIN.as_secs()..=OBJECTIVE_WINDOW_MAX.as_secs()).contains(&seconds)
}

/// `30d`, or hours as in `36h`, in seconds.
pub(crate) fn read_window(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is not a window from 1d to 30d");
    let (number, unit) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, DAY),
        (_, Some(hours)) => (hours, 3_600),
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let seconds = number.checked_mul(unit).ok_or_else(refuse)?;
    is_window(seconds).then_some(seconds).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::Sketch;

    fn share(requests: u64, guest: u64, client: u64) -> FrameSeries {
        let mut duration = Sketch::default();
        duration.add(0.01, requests.saturating_sub(2));
        duration.add(0.5, 2);
        FrameSeries {
            requests,
            guest_failures: guest,
            client_failures: client,
            slow_starts: 1,
            duration,
            ..FrameSeries::default()
        }
    }

    #[test]
    fn shares_are_counted_by_what_is_good() {
        let stable = share(10, 3, 1);
        let mirror = FrameSeries {
            arm: Arm::Mirror,
            ..share(10, 10, 0)
        };
        for (indicator, want) in [
            (Indicator::Success, (6, 9)),
            (Indicator::LatencyBelow(100_000), (8, 10)),
            (Indicator::ColdStarts, (9, 10)),
            (Indicator::Availability, (1, 1)),
        ] {
            assert_eq!(indicator.count([&stable, &mirror]), want, "{indicator}");
        }
        for (share, want) in [(share(4, 4, 0), (0, 1)), (share(4, 0, 4), (0, 0))] {
            assert_eq!(Indicator::Availability.count([&share]), want);
        }
        assert_eq!(Indicator::Success.count([]), (0, 0), "no data is no success");
        // One release that answers is enough for the app to be there.
        assert_eq!(
            Indicator::Availability.count([&share(4, 4, 0), &share(4, 1, 0)]),
            (1, 1)
        );
    }

    #[test]
    fn targets_and_windows_are_read_as_written() {
        for (text, ppm) in [("99.9%", 999_000), ("95%", 950_000), ("99.999%", 999_990)] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.0, target.to_string().as_str()), (ppm, text));
        }
        for text in ["100%", "99.9", "49%", "%", "99.99999%", "-1%", "99.9995%"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert_eq!(read_window("30d"), Ok(30 * DAY));
        assert_eq!(read_window("36h"), Ok(36 * 3600));
        for text in ["31d", "1h", "30", "d", "99999999999999999999d"] {
            assert!(read_window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_sound_is_named() {
        assert_eq!(check_all(&ObjectiveSpec::defaults()), Ok(()));
        let twice = [ObjectiveSpec::defaults(), ObjectiveSpec::defaults()].concat();
        let refusal = check_all(&twice).unwrap_err();
        assert!(refusal.contains("twice"), "{refusal}");
        let many = vec![ObjectiveSpec::defaults().remove(0); OBJECTIVES_MAX + 1];
        assert!(check_all(&many).unwrap_err().contains("ceiling"));
        for change in [
            |spec: &mut ObjectiveSpec| spec.name = "a/b".to_owned(),
            |spec: &mut ObjectiveSpec| spec.target = Target(1_000_000),
            |spec: &mut ObjectiveSpec| spec.window = 60,
            |spec: &mut ObjectiveSpec| spec.indicator = Indicator::LatencyBelow(0),
        ] {
            let mut spec = ObjectiveSpec::defaults().remove(0);
            change(&mut spec);
            assert!(spec.check().is_err(), "{spec:?}");
        }
    }
}
