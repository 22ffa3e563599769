//! Days of the calendar, as far as flights need them.

use std::fmt;

use serde::{Serialize, Serializer};

/// A day that the calendar has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    pub(crate) fn new(year: u16, month: u8, day: u8) -> Option<Date> {
        let date = Date { year, month, day };
        (1..=date.days_of_month()).contains(&day).then_some(date)
    }

    /// The day after.
    pub(crate) fn next(self) -> Date {
        let Date { year, month, day } = self;
        Date::new(year, month, day + 1)
            .or_else(|| Date::new(year, month + 1, 1))
            .unwrap_or(Date {
                year: year.saturating_add(1),
                month: 1,
                day: 1,
            })
    }

    /// The days since 1970 began, of a calendar that has always been ours.
    pub(crate) fn days_since_1970(self) -> i64 {
        let before = (1..self.month).map(|month| Date { month, ..self }.days_of_month());
        let year = i64::from(self.year);
        let leap_years = |to: i64| to.div_euclid(4) - to.div_euclid(100) + to.div_euclid(400);
        let days = (year - 1970) * 365 + leap_years(year - 1) - leap_years(1969);
        days + before.map(i64::from).sum::<i64>() + i64::from(self.day) - 1
    }

    fn days_of_month(self) -> u8 {
        let Date { year, month, .. } = self;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match month {
            2 => 28 + u8::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        }
    }
}

/// `2013-01-31`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
