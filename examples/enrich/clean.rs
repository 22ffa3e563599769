//! What a flight must be to be one. A row that breaks a rule goes to the dead letters, with the rule and the reason;
//! what passes is typed, so nothing behind this module meets a value that can't be.
//!
//! | rule | a row breaks it when |
//! |---|---|
//! | unreadable | a value has not the form of its column: a date, a number, a code, a time |
//! | missing | a value is `NA` that this flight must have. Every flight has a date, a route, a carrier and a schedule; one that departed has an aircraft, both its times, both its delays and a time in the air |
//! | unexpected | a flight that never departed has an arrival, a delay or a time in the air |
//! | impossible | a day that no calendar has, a clock beyond 24:00 or with 60 minutes, no distance or no time in the air, a speed that no airliner reaches |
//! | contradictory | a delay is not the difference of its two times, the hour in UTC is on none of the days around the local one |
//! | unanswered | nothing is wrong with it, but its look-ups failed, and `--keep-going` was asked for |
//!
//! A flight without a departure time is **cancelled**: a valid record, which happens to have no times, and often no
//! aircraft. A flight that departed but never arrived, or whose time in the air is missing, was diverted or badly
//! recorded: the file does not say which, so it is put aside. What a look-up does not find is not dirt: it is a fact
//! about the tables, written as `null`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::date::Date;
use crate::flights::RawFlight;

/// Nothing that carries passengers flies faster than 600 mph through the air; the strongest jet streams add 100.
const FASTEST_MPH: f64 = 700.0;

/// A flight as it can be.
#[derive(Debug, Serialize)]
pub(crate) struct Flight {
    /// The local day of its scheduled departure: `2013-01-31`.
    pub(crate) date: Date,
    pub(crate) carrier: String,
    pub(crate) flight: u16,
    pub(crate) tailnum: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// In miles.
    pub(crate) distance: u16,
    pub(crate) sched_dep_time: Clock,
    pub(crate) sched_arr_time: Clock,
    /// The hour of its scheduled departure in UTC, which names the hour's weather: `2013-01-31T23:00:00Z`.
    pub(crate) time_hour: String,
    #[serde(flatten)]
    pub(crate) status: Status,
}

/// Whether a flight took place.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum Status {
    Cancelled,
    /// Times are local, delays and the time in the air in minutes; who left or came early has a negative delay.
    Flown {
        dep_time: Clock,
        dep_delay: i16,
        arr_time: Clock,
        arr_delay: i16,
        air_time: u16,
    },
}

/// Checks a row and types it.
pub(crate) fn clean(raw: &RawFlight<'_>) -> Result<Flight, Reason> {
    let sched_dep_time = Clock::read("sched_dep_time", raw.sched_dep_time)?;
    let sched_arr_time = Clock::read("sched_arr_time", raw.sched_arr_time)?;
    let distance = positive("distance", raw.distance)?;
    let date = date(raw)?;
    Ok(Flight {
        date,
        carrier: code("carrier", raw.carrier, 2..=2)?,
        flight: number("flight", raw.flight)?,
        tailnum: optional(raw.tailnum)
            .map(|value| code("tailnum", value, 2..=6))
            .transpose()?,
        origin: code("origin", raw.origin, 3..=3)?,
        dest: code("dest", raw.dest, 3..=3)?,
        time_hour: hour(raw, date)?,
        status: match optional(raw.dep_time) {
            Some(_) => flown(raw, sched_dep_time, sched_arr_time, distance)?,
            None => cancelled(raw)?,
        },
        distance,
        sched_dep_time,
        sched_arr_time,
    })
}

fn flown(
    raw: &RawFlight<'_>,
    sched_dep: Clock,
    sched_arr: Clock,
    distance: u16,
) -> Result<Status, Reason> {
    let missing = columns(raw, |value| optional(value).is_none());
    if !missing.is_empty() || optional(raw.tailnum).is_none() {
        let tailnum = optional(raw.tailnum).map_or(Some("tailnum"), |_| None);
        let missing: Vec<&str> = tailnum.into_iter().chain(missing).collect();
        return Err(Rule::Missing.because(format!(
            "the flight departed, but has no {}",
            missing.join(", no ")
        )));
    }
    let dep_time = Clock::read("dep_time", raw.dep_time)?;
    let arr_time = Clock::read("arr_time", raw.arr_time)?;
    let dep_delay = number("dep_delay", raw.dep_delay)?;
    let arr_delay = number("arr_delay", raw.arr_delay)?;
    let air_time = positive("air_time", raw.air_time)?;
    agree("dep_delay", dep_delay, dep_time, sched_dep)?;
    agree("arr_delay", arr_delay, arr_time, sched_arr)?;
    possible_speed(distance, air_time)?;
    Ok(Status::Flown {
        dep_time,
        dep_delay,
        arr_time,
        arr_delay,
        air_time,
    })
}

fn cancelled(raw: &RawFlight<'_>) -> Result<Status, Reason> {
    let unexpected = columns(raw, |value| optional(value).is_some());
    match unexpected.as_slice() {
        [] => Ok(Status::Cancelled),
        names => Err(Rule::Unexpected.because(format!(
            "the flight never departed, but has {}",
            names.join(", ")
        ))),
    }
}

/// Those columns that only a flight which departed fills, and whose values are such.
fn columns(raw: &RawFlight<'_>, are: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let of_flown = [
        ("dep_delay", raw.dep_delay),
        ("arr_time", raw.arr_time),
        ("arr_delay", raw.arr_delay),
        ("air_time", raw.air_time),
    ];
    of_flown
        .into_iter()
        .filter(|(_, value)| are(value))
        .map(|(name, _)| name)
        .collect()
}

fn possible_speed(miles: u16, minutes: u16) -> Result<(), Reason> {
    let mph = f64::from(miles) / f64::from(minutes) * 60.0;
    match mph > FASTEST_MPH {
        true => Err(Rule::Impossible.because(format!(
            "{miles} miles in {minutes} minutes is {mph:.0} mph, and none flies over {FASTEST_MPH}"
        ))),
        false => Ok(()),
    }
}

/// A delay is actual minus scheduled, give or take whole days: the times don't say on which day they were.
fn agree(column: &str, delay: i16, actual: Clock, scheduled: Clock) -> Result<(), Reason> {
    const DAY: i32 = 24 * 60;
    let difference = actual.minutes() - scheduled.minutes();
    match (difference - i32::from(delay)).rem_euclid(DAY) {
        0 => Ok(()),
        _ => Err(Rule::Contradictory.because(format!(
            "{column} is {delay}, but the flight was {actual} for {scheduled}"
        ))),
    }
}

/// A time of day, in minutes from 00:01 to 24:00: the source writes midnight as 2400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock(u16);

impl Clock {
    /// Reads the source's form: hours times a hundred plus minutes, without leading zeros.
    fn read(column: &str, text: &str) -> Result<Clock, Reason> {
        let value: i32 = number(column, text)?;
        let (hours, minutes) = (value.div_euclid(100), value.rem_euclid(100));
        match (0..=2400).contains(&value) && minutes < 60 {
            true => Ok(Clock((hours * 60 + minutes) as u16)),
            false => {
                Err(Rule::Impossible.because(format!("{column} is {value}: no clock shows that")))
            }
        }
    }

    fn minutes(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a row is no possible flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    pub(crate) rule: Rule,
    pub(crate) reason: String,
}

/// The rules, as the top of this file has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rule {
    Unreadable,
    Missing,
    Unexpected,
    Impossible,
    Contradictory,
    Unanswered,
}

impl Rule {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Rule::Unreadable => "unreadable",
            Rule::Missing => "missing",
            Rule::Unexpected => "unexpected",
            Rule::Impossible => "impossible",
            Rule::Contradictory => "contradictory",
            Rule::Unanswered => "unanswered",
        }
    }

    pub(crate) fn because(self, reason: String) -> Reason {
        Reason { rule: self, reason }
    }
}

fn optional(value: &str) -> Option<&str> {
    (value != "NA").then_some(value)
}

fn required<'a>(column: &str, value: &'a str) -> Result<&'a str, Reason> {
    optional(value).ok_or_else(|| Rule::Missing.because(format!("{column} is NA")))
}

fn number<T: FromStr>(column: &str, text: &str) -> Result<T, Reason> {
    let text = required(column, text)?;
    text.parse().map_err(|_| {
        Rule::Unreadable.because(format!("{column} is `{text}`, no number of its size"))
    })
}

fn positive(column: &str, text: &str) -> Result<u16, Reason> {
    let value: i32 = number(column, text)?;
    u16::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| Rule::Impossible.because(format!("{column} is {value}")))
}

/// Codes of carriers, airports and aircraft are capitals and digits.
fn code(
    column: &str,
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<String, Reason> {
    let text = required(column, text)?;
    match lengths.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    {
        true => Ok(text.to_owned()),
        false => Err(Rule::Unreadable.because(format!("{column} is `{text}`, no such code"))),
    }
}

fn date(raw: &RawFlight<'_>) -> Result<Date, Reason> {
    let (year, month, day) = (
        number("year", raw.year)?,
        number("month", raw.month)?,
        number("day", raw.day)?,
    );
    Date::new(year, month, day)
        .ok_or_else(|| Rule::Impossible.because(format!("no calendar has {year}-{month}-{day}")))
}

/// The hour of the scheduled departure in UTC, at most a day from the local `date`. It is part of a key, so its text is kept.
fn hour(raw: &RawFlight<'_>, date: Date) -> Result<String, Reason> {
    let text = required("time_hour", raw.time_hour)?;
    let no_hour = || format!("time_hour is `{text}`, no full hour in UTC");
    let (day, hour) = parts_of_hour(text).ok_or_else(|| Rule::Unreadable.because(no_hour()))?;
    let day = day
        .filter(|_| hour < 24)
        .ok_or_else(|| Rule::Impossible.because(no_hour()))?;
    match day == date || day.next() == date || date.next() == day {
        true => Ok(text.to_owned()),
        false => Err(Rule::Contradictory.because(format!(
            "time_hour is {text}, but the flight was due on {date}"
        ))),
    }
}

/// The day, if a calendar has it, and the hour of a text that has their form.
pub(crate) fn parts_of_hour(text: &str) -> Option<(Option<Date>, u8)> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:00:00Z";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    if text.len() != FORM.len() || !text.bytes().zip(FORM).all(fits) {
        return None;
    }
    let (year, month, day) = (&text[..4], &text[5..7], &text[8..10]);
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    Some((date, text[11..13].parse().ok()?))
}
