//! What the events of a window come to, and when that is worth an alert.

use peu::pipeline::Windowed;
use serde::{Deserialize, Serialize};

use crate::events::{Event, Time, What};

/// With fewer flights a quarter is one or two of them.
const ENOUGH: u32 = 10;

/// Minutes.
const LATE: i32 = 60;

/// What has happened at an airport in a window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Situation {
    departures: u32,
    late: u32,
    cancelled: u32,
    gust: Option<f64>,
    visibility: Option<f64>,
    rain: Option<f64>,
}

impl Situation {
    pub(crate) fn add(&mut self, event: Event) {
        match event.what {
            What::Departure { delay } => {
                self.departures += 1;
                self.cancelled += u32::from(delay.is_none());
                self.late += u32::from(delay.is_some_and(|minutes| minutes >= LATE));
            }
            What::Weather {
                gust,
                visibility,
                rain,
            } => {
                self.gust = either(self.gust, gust, f64::max);
                self.visibility = either(self.visibility, visibility, f64::min);
                self.rain = either(self.rain, rain, f64::max);
            }
        }
    }
}

/// One of two, or the only one.
fn either(one: Option<f64>, other: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, other) => one.or(other),
    }
}

/// An airport is in trouble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// The same whenever this alert is raised: whoever gets it twice can tell.
    pub(crate) id: String,
    pub(crate) airport: String,
    pub(crate) from: Time,
    pub(crate) until: Time,
    /// How many flights were to leave.
    pub(crate) departures: u32,
    /// How many of them left at least an hour late.
    pub(crate) late: u32,
    pub(crate) cancelled: u32,
    /// The strongest gust, in miles an hour.
    pub(crate) gust: Option<f64>,
    /// The shortest visibility, in miles.
    pub(crate) visibility: Option<f64>,
    /// The most rain in an hour, in inches.
    pub(crate) rain: Option<f64>,
}

impl Alert {
    /// The rule.
    pub(crate) fn of(window: &Windowed<String, Situation>) -> Option<Self> {
        let situation = &window.value;
        let troubled = situation.late + situation.cancelled;
        if situation.departures < ENOUGH || 4 * troubled < situation.departures {
            return None;
        }
        let [from, until] = [window.start, window.end].map(|time| Time(time.as_millis()));
        Some(Self {
            id: format!("{}/{until}", window.key),
            airport: window.key.clone(),
            from,
            until,
            departures: situation.departures,
            late: situation.late,
            cancelled: situation.cancelled,
            gust: situation.gust,
            visibility: situation.visibility,
            rain: situation.rain,
        })
    }
}
