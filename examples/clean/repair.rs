//! What can be repaired in a value without a guess: how it is written, and never what it says.
//!
//! | of | becomes |
//! |---|---|
//! | any value | without blanks around it; `NA` if it is empty, `-`, `n/a`, `null` or `none` |
//! | codes of carriers, aircraft and airports | in capitals |
//! | clocks: `5:17`, `05:17`, `0517` | 517 |
//! | numbers: `+2`, `227.0`, `1,400`, `0042` | 2, 227, 1400, 42 |
//! | the hour in UTC: `2013-01-01 10:00:00`, `2013-01-01t10:00z` | `2013-01-01T10:00:00Z` |

/// What kind of values a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Clock,
    Number,
    Hour,
    Other,
}

impl Kind {
    pub(crate) fn of(column: &str) -> Kind {
        match column {
            "carrier" | "tailnum" | "origin" | "dest" => Kind::Code,
            "dep_time" | "sched_dep_time" | "arr_time" | "sched_arr_time" => Kind::Clock,
            "time_hour" => Kind::Hour,
            "year" | "month" | "day" | "dep_delay" | "arr_delay" | "flight" | "air_time"
            | "distance" => Kind::Number,
            _ => Kind::Other,
        }
    }
}

/// The name of a column as the rules know it: `\u{feff}Dep Time` is `dep_time`.
pub(crate) fn column_name(text: &str) -> String {
    let name = text.trim_start_matches('\u{feff}').trim();
    name.to_lowercase().replace([' ', '-'], "_")
}

/// The value in the form that the rules know, or as it was: then they will tell what is wrong with it.
pub(crate) fn repair(value: &str, kind: Kind) -> String {
    let value = value.trim();
    if is_missing(value) {
        return "NA".to_owned();
    }
    let repaired = match kind {
        Kind::Code => Some(value.to_uppercase()),
        Kind::Clock => clock(value),
        Kind::Number => number(value),
        Kind::Hour => Some(hour(value)),
        Kind::Other => None,
    };
    repaired.unwrap_or_else(|| value.to_owned())
}

fn is_missing(value: &str) -> bool {
    let spellings = ["", "-", "na", "n/a", "null", "none"];
    spellings
        .iter()
        .any(|missing| value.eq_ignore_ascii_case(missing))
}

fn clock(value: &str) -> Option<String> {
    let Some((hours, minutes)) = value.split_once(':') else {
        return number(value);
    };
    let is_clock = are_digits(hours) && are_digits(minutes) && minutes.len() == 2;
    is_clock.then(|| number(&format!("{hours}{minutes}")))?
}

/// A whole number without a sign that says nothing, leading zeros, or thousands set apart. What else has a comma may be a fraction.
fn number(value: &str) -> Option<String> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole.strip_prefix('+').unwrap_or(whole)),
    };
    let digits = match digits.split_once(',') {
        Some((thousands, rest)) => {
            let are_apart = (1..=3).contains(&thousands.len()) && rest.len() == 3;
            let is_number = are_apart && !thousands.starts_with('0');
            is_number.then(|| format!("{thousands}{rest}"))?
        }
        None => digits.to_owned(),
    };
    let is_whole = fraction.bytes().all(|digit| digit == b'0');
    let is_number = is_whole && are_digits(&digits);
    let number: i64 = format!("{sign}{digits}")
        .parse()
        .ok()
        .filter(|_| is_number)?;
    Some(number.to_string())
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn hour(value: &str) -> String {
    let mut hour = value.to_uppercase().replacen(' ', "T", 1);
    if !hour.ends_with('Z') {
        hour.push('Z');
    }
    // Without seconds.
    match hour.len() == "2013-01-01T10:00Z".len() {
        true => hour.replacen("Z", ":00Z", 1),
        false => hour,
    }
}
