//! Which tiers may be used, as a value and as text.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

/// The tiers that operations on files may use: all of them, unless restricted.
///
/// The text form is a list of names, `now,ring,pool`. What none of the allowed tiers can do goes to the pool, for some
/// things have no other.
///
/// # Examples
/// ```
/// use peu_reactor::file::Tiers;
///
/// assert_eq!("now,ring,pool".parse(), Ok(Tiers::ALL));
/// assert_eq!("now,pool".parse(), Ok(Tiers::NOW | Tiers::POOL));
/// let error = "now,rings".parse::<Tiers>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "there is no file tier \"rings\": name one or more of now, ring and pool, as in \"now,pool\"",
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tiers(u8);

impl Tiers {
    /// In the calling task, as far as nothing has to be waited for.
    pub const NOW: Tiers = Tiers(1);
    /// By the kernel itself, through `io_uring`.
    pub const RING: Tiers = Tiers(2);
    /// On a thread that may block.
    pub const POOL: Tiers = Tiers(4);
    /// Every tier that the system has.
    pub const ALL: Tiers = Tiers(7);

    const NAMES: [(&str, Tiers); 3] = [
        ("now", Tiers::NOW),
        ("ring", Tiers::RING),
        ("pool", Tiers::POOL),
    ];

    /// Whether all of `other` are among these.
    pub fn contains(self, other: Tiers) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Tiers {
    type Output = Tiers;

    fn bitor(self, other: Tiers) -> Tiers {
        Tiers(self.0 | other.0)
    }
}

impl FromStr for Tiers {
    type Err = ParseTiersError;

    fn from_str(list: &str) -> Result<Tiers, ParseTiersError> {
        list.split(',')
            .map(str::trim)
            .try_fold(Tiers(0), |tiers, name| {
                let known = Tiers::NAMES.iter().find(|(known, _)| *known == name);
                let (_, tier) = known.ok_or_else(|| ParseTiersError(name.to_owned()))?;
                Ok(tiers | *tier)
            })
    }
}

impl fmt::Debug for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = Tiers::NAMES.iter().filter(|(_, tier)| self.contains(*tier));
        let names: Vec<&str> = allowed.map(|(name, _)| *name).collect();
        write!(f, "Tiers({})", names.join(","))
    }
}

/// Why a text names no [`Tiers`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseTiersError(String);

impl fmt::Display for ParseTiersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no file tier {:?}: name one or more of now, ring and pool, as in \"now,pool\"",
            self.0
        )
    }
}

impl std::error::Error for ParseTiersError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        for (text, tiers) in [
            ("pool", Tiers::POOL),
            ("ring", Tiers::RING),
            ("now,ring,pool", Tiers::ALL),
            (" pool , now ", Tiers::POOL | Tiers::NOW),
        ] {
            assert_eq!(text.parse(), Ok(tiers), "{text}");
        }
        for (text, about) in [("", "\"\""), ("Pool", "\"Pool\""), ("pool,", "\"\"")] {
            let error = text.parse::<Tiers>().unwrap_err().to_string();
            assert!(
                error.contains(about) && error.contains("now,pool"),
                "{error}"
            );
        }
        assert_eq!(format!("{:?}", Tiers::NOW | Tiers::RING), "Tiers(now,ring)");
    }
}
