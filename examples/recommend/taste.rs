//! Who has booked what, and what that says about where they may like to fly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How many destinations a profile is judged by.
const FAVOURITES: usize = 3;
/// How many destinations are kept that go with one.
const SIMILAR: usize = 20;
/// How many are recommended.
const LIKES: usize = 3;

/// A row of flights.csv.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Flight {
    tailnum: String,
    origin: String,
    dest: String,
}

/// A row, with its number.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) flight: Flight,
}

impl Row {
    /// The first, as far as it knows.
    pub(crate) fn new(flight: Flight) -> Self {
        Self { number: 1, flight }
    }

    /// The row behind the last takes its place.
    pub(crate) fn follow(last: &mut Self, mut row: Self) {
        row.number = last.number + 1;
        *last = row;
    }
}

/// A traveller books a flight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Booking {
    /// Later bookings have higher numbers.
    number: u64,
    pub(crate) traveller: String,
    from: String,
    to: String,
}

impl Booking {
    /// None if nobody knows who flew.
    pub(crate) fn of(Row { number, flight }: Row) -> Option<Self> {
        (flight.tailnum != "NA").then_some(Self {
            number,
            traveller: flight.tailnum,
            from: flight.origin,
            to: flight.dest,
        })
    }
}

/// Where a traveller has flown, by the numbers of the bookings. So a booking can be added again, and what the profile was at any booking can
/// still be told: after a crash both happen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Profile(BTreeMap<u64, String>);

impl Profile {
    pub(crate) fn add(&mut self, booking: &Booking) {
        self.0.insert(booking.number, booking.to.clone());
    }

    /// How often the traveller was where, this booking included, and nothing behind it.
    pub(crate) fn visits(&self, booking: &Booking) -> Visits {
        let mut visits = BTreeMap::<String, u32>::new();
        for to in self.0.range(..=booking.number).map(|(_, to)| to) {
            *visits.entry(to.clone()).or_default() += 1;
        }
        Visits(visits)
    }
}

/// How often a traveller was where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visits(BTreeMap<String, u32>);

impl Visits {
    /// Where the traveller was most often.
    pub(crate) fn favourites(&self) -> impl Iterator<Item = (String, u32)> + use<> {
        most(&self.0, FAVOURITES).into_iter()
    }
}

/// A booking, and where its traveller was with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visited {
    pub(crate) booking: Booking,
    pub(crate) visits: Visits,
}

/// Destinations, each with how many travellers speak for it; those with most first.
pub(crate) type Similar = Vec<(String, u32)>;

/// How many travellers were at both of two destinations, and how many at one: what a recommender learns over night.
#[derive(Default)]
pub(crate) struct Together {
    pairs: BTreeMap<String, BTreeMap<String, u32>>,
    visitors: BTreeMap<String, u32>,
}

impl Together {
    /// Learns from the same bookings. It blocks.
    pub(crate) fn learn(input: &Path, limit: u64) -> Result<Self, String> {
        let error = |error: csv::Error| format!("cannot read {}: {error}", input.display());
        let mut by_traveller = BTreeMap::<String, BTreeSet<String>>::new();
        let mut rows = csv::Reader::from_path(input).map_err(error)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for flight in rows.deserialize().take(limit) {
            if let Some(booking) = Booking::of(Row::new(flight.map_err(error)?)) {
                let visited = by_traveller.entry(booking.traveller).or_default();
                visited.insert(booking.to);
            }
        }
        let mut together = Self::default();
        by_traveller
            .values()
            .for_each(|visited| together.add(visited));
        Ok(together)
    }

    fn add(&mut self, visited: &BTreeSet<String>) {
        for one in visited {
            *self.visitors.entry(one.clone()).or_default() += 1;
            let others = self.pairs.entry(one.clone()).or_default();
            for other in visited.iter().filter(|other| *other != one) {
                *others.entry(other.clone()).or_default() += 1;
            }
        }
    }

    /// For each destination, what goes with it best.
    pub(crate) fn similar(&self) -> impl Iterator<Item = (&str, Similar)> {
        let pairs = self.pairs.iter();
        pairs.map(|(destination, others)| (destination.as_str(), most(others, SIMILAR)))
    }

    /// Where most travellers were.
    pub(crate) fn popular(&self) -> Similar {
        most(&self.visitors, usize::MAX)
    }
}

/// Those with the highest counts first; equal ones by their names.
fn most(counts: &BTreeMap<String, u32>, limit: usize) -> Similar {
    let mut counts: Vec<(String, u32)> = counts.clone().into_iter().collect();
    counts.sort_by(|(one, most), (other, more)| more.cmp(most).then_with(|| one.cmp(other)));
    counts.truncate(limit);
    counts
}

/// A recommendation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Likes {
    booking: Booking,
    likes: Vec<String>,
    /// It is what everybody likes.
    is_fallback: bool,
}

impl Likes {
    /// Where others were who were where the traveller was: each of them counts as often as the traveller was there.
    pub(crate) fn new(visited: &Visited, similar: &[(u32, Similar)]) -> Self {
        let mut scores = BTreeMap::<String, u32>::new();
        for (visits, table) in similar {
            for (destination, travellers) in table {
                let score = scores.entry(destination.clone()).or_default();
                *score = score.saturating_add(visits.saturating_mul(*travellers));
            }
        }
        Self::of(visited, &most(&scores, usize::MAX), false)
    }

    pub(crate) fn fallback(visited: &Visited, popular: &Similar) -> Self {
        Self::of(visited, popular, true)
    }

    /// The best where the traveller has not been yet.
    fn of(visited: &Visited, best: &Similar, is_fallback: bool) -> Self {
        let is_new =
            |(destination, _): &&(String, u32)| !visited.visits.0.contains_key(destination);
        let best = best.iter().filter(is_new).take(LIKES);
        Self {
            booking: visited.booking.clone(),
            likes: best.map(|(destination, _)| destination.clone()).collect(),
            is_fallback,
        }
    }
}
