//! What the monitor hears of: departures, and the weather.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use peu::operators::EventTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Something happened at an airport.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) airport: String,
    pub(crate) time: Time,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A flight was to leave, and left so many minutes late, or never.
    Departure { delay: Option<i32> },
    /// How the weather was.
    Weather {
        gust: Option<f64>,
        visibility: Option<f64>,
        rain: Option<f64>,
    },
}

impl Event {
    pub(crate) fn time(&self) -> EventTime {
        EventTime::from_millis(self.time.0)
    }
}

/// A row of flights.csv.
#[derive(Deserialize)]
pub(crate) struct Flight {
    origin: String,
    /// The hour in which it was to leave.
    time_hour: Time,
    /// And the minute of that hour.
    minute: u8,
    #[serde(deserialize_with = "known")]
    dep_delay: Option<i32>,
}

impl From<Flight> for Event {
    fn from(flight: Flight) -> Self {
        Self {
            airport: flight.origin,
            time: Time(flight.time_hour.0 + i64::from(flight.minute) * MINUTE),
            what: What::Departure {
                delay: flight.dep_delay,
            },
        }
    }
}

/// A row of weather.csv.
#[derive(Deserialize)]
pub(crate) struct Weather {
    pub(crate) origin: String,
    time_hour: Time,
    /// Miles an hour.
    #[serde(deserialize_with = "known")]
    wind_gust: Option<f64>,
    /// Miles.
    #[serde(deserialize_with = "known")]
    visib: Option<f64>,
    /// Inches.
    #[serde(deserialize_with = "known")]
    precip: Option<f64>,
}

impl From<Weather> for Event {
    fn from(weather: Weather) -> Self {
        Self {
            airport: weather.origin,
            time: weather.time_hour,
            what: What::Weather {
                gust: weather.wind_gust,
                visibility: weather.visib,
                rain: weather.precip,
            },
        }
    }
}

/// `NA` is a value that nobody knows.
fn known<'de, D, T>(field: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    match String::deserialize(field)?.as_str() {
        "NA" => Ok(None),
        text => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(serde::de::Error::custom(format!("{text:?}: {error}"))),
        },
    }
}

/// Milliseconds since 1970. As text, a whole second in UTC: `2013-01-31T10:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
            let ([year, month, day], [hour, minute, second]) =
                (three(date, '-')?, three(time, ':')?);
            let is_time = hour < 24 && minute < 60 && second < 60;
            let days = is_time.then(|| days_since_1970(year, month, day))??;
            Some(days * DAY + hour * HOUR + minute * MINUTE + second * SECOND)
        };
        let wrong = || format!("{text:?} is no time: one is 2013-01-31T10:00:00Z");
        parts().map(Time).ok_or_else(wrong)
    }
}

/// Three numbers without signs, and not so large that counting with them overflows.
fn three(text: &str, between: char) -> Option<[i64; 3]> {
    let mut numbers = text
        .split(between)
        .map(|digits| digits.parse::<u16>().ok().map(i64::from));
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

/// A year that begins in March has its odd day at its end, and the lengths of its months follow a rule (Hinnant's).
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let year_from_march = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    let days = 365 * year_from_march + leap_days + day_of_year - 719_468;
    // What the calendar does not have comes out as another day.
    ((1..=12).contains(&month) && date(days) == (year, month, day)).then_some(days)
}

fn date(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let millis = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (millis / HOUR, millis / MINUTE % 60, millis / SECOND % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
