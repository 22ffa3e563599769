//! What a cache holds, and for how long.

use crate::cache::Entry;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder};
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// The options of a [`Cache`](crate::Cache): how much it holds, and then what should differ from the defaults: nothing
/// expires, what is not found is not kept, nothing is loaded ahead, and nothing is served that has expired.
///
/// # Examples
///
/// ```
/// use peu_operators::CacheOptions;
/// use std::time::Duration;
///
/// let options = CacheOptions::weight(64 << 20, |_: &u64, page: Option<&String>| {
///     page.map_or(8, |page| page.len() as u64)
/// })
///     .expire_after_write(Duration::from_secs(600))
///     .refresh_after(Duration::from_secs(500))
///     .serve_stale(Duration::from_secs(3_600))
///     .keep_misses(Duration::from_secs(10));
/// ```
#[must_use = "options do nothing until a cache is made with them"]
pub struct CacheOptions<K, V> {
    bound: u64,
    expected: usize,
    weigh: Weigh<K, V>,
    rules: Rules,
}

/// What may be served, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) after_write: Option<Duration>,
    pub(crate) after_access: Option<Duration>,
    pub(crate) misses: Option<Duration>,
    pub(crate) refresh_after: Option<Duration>,
    pub(crate) stale: Option<Duration>,
}

impl Rules {
    pub(crate) fn expire(&self) -> bool {
        self.after_write.is_some() || self.after_access.is_some() || self.misses.is_some()
    }
}

pub(crate) type Entries<K, V> = quick_cache::sync::Cache<K, Arc<Entry<V>>, Weighed>;

/// Asks entries for the weight that they were given. The table asks often, and under its locks: no place for code of
/// others, or for an answer that changes.
#[derive(Clone)]
pub(crate) struct Weighed;

impl<K, V> quick_cache::Weighter<K, Arc<Entry<V>>> for Weighed {
    fn weight(&self, _: &K, entry: &Arc<Entry<V>>) -> u64 {
        entry.weight
    }
}

type Weight<K, V> = dyn Fn(&K, Option<&V>) -> u64 + Send + Sync;

/// How much of the bound an entry takes. None: as much as every other.
pub(crate) struct Weigh<K, V>(Option<Box<Weight<K, V>>>);

impl<K, V> Weigh<K, V> {
    /// At least 1: what weighs nothing would never have to go.
    pub(crate) fn of(&self, key: &K, value: Option<&V>) -> u64 {
        self.0.as_ref().map_or(1, |weigh| weigh(key, value).max(1))
    }
}

/// A guess for caches that are bounded by weight; it sizes a few tables, and bounds nothing.
const EXPECTED_ENTRIES: usize = 1024;

impl<K: Hash + Eq, V> CacheOptions<K, V> {
    /// Holds at most about so many entries; which of them go, their recency and frequency decide.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[track_caller]
    pub fn entries(most: usize) -> Self {
        assert!(most > 0, "a cache must hold at least 1 entry");
        Self {
            bound: most as u64,
            expected: most,
            weigh: Weigh(None),
            rules: Rules::default(),
        }
    }

    /// Holds entries that weigh at most about `most` together, by a weight of yours, as bytes. No value: it is known that there
    /// is none, which is kept with [`keep_misses`](CacheOptions::keep_misses), and has a key that weighs something. What weighs 0
    /// weighs 1. An entry is weighed once, as a part of its load.
    ///
    /// What weighs more than 97% of `most` is not kept, and loaded for each look-up; it takes no other's place.
    ///
    /// # Cost
    ///
    /// Unlike a cache that is bounded by [`entries`](CacheOptions::entries), its table is not split by keys, since each part would
    /// have a part of the bound, and would not keep what is heavier: so threads that find something share one lock, to read.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[track_caller]
    pub fn weight<F>(most: u64, weigh: F) -> Self
    where
        F: Fn(&K, Option<&V>) -> u64 + Send + Sync + 'static,
    {
        assert!(
            most > 0,
            "a cache must hold entries of a weight of at least 1"
        );
        Self {
            bound: most,
            expected: EXPECTED_ENTRIES,
            weigh: Weigh(Some(Box::new(weigh))),
            rules: Rules::default(),
        }
    }

    /// An entry expires so long after it was loaded.
    pub fn expire_after_write(mut self, limit: Duration) -> Self {
        self.rules.after_write = Some(limit);
        self
    }

    /// An entry expires so long after it was last found.
    pub fn expire_after_access(mut self, limit: Duration) -> Self {
        self.rules.after_access = Some(limit);
        self
    }

    /// That there is nothing for a key is kept too, for so long.
    pub fn keep_misses(mut self, limit: Duration) -> Self {
        self.rules.misses = Some(limit);
        self
    }

    /// An entry that is found so long after it was loaded is loaded again, while it is still served. A load that has not ended when the entry
    /// expires is dropped, unless somebody waits for it by then; if entries don't expire, a load that never ends is the last of its key, so give it a
    /// timeout.
    pub fn refresh_after(mut self, age: Duration) -> Self {
        self.rules.refresh_after = Some(age);
        self
    }

    /// When a load fails, an entry is served that expired at most so long ago.
    pub fn serve_stale(mut self, grace: Duration) -> Self {
        self.rules.stale = Some(grace);
        self
    }

    /// The empty table; refuses what makes no sense together.
    #[track_caller]
    pub(crate) fn build(self) -> (Entries<K, V>, Weigh<K, V>, Rules) {
        let rules = self.rules;
        if let (Some(age), Some(limit)) = (rules.refresh_after, rules.after_write) {
            assert!(
                age < limit,
                "an entry that expires {limit:?} after it was loaded can't be loaded again ahead of that after {age:?}; \
                 refresh sooner, or let it expire later"
            );
        }
        let expires = rules.after_write.is_some() || rules.after_access.is_some();
        assert!(
            expires || rules.stale.is_none(),
            "nothing expires in this cache, so nothing is ever served that has: \
             let entries expire, or leave `serve_stale` out"
        );
        (self.table(), self.weigh, rules)
    }

    fn table(&self) -> Entries<K, V> {
        let mut options = OptionsBuilder::new();
        options
            .estimated_items_capacity(self.expected)
            .weight_capacity(self.bound);
        // Each shard has an equal part of the bound, and refuses what is heavier. Entries that are counted are all alike.
        if self.weigh.0.is_some() {
            options.shards(1);
        }
        let options = options.build().expect("both capacities are set");
        Entries::with_options(
            options,
            Weighed,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        )
    }
}

impl<K, V> Debug for CacheOptions<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheOptions")
            .field("bound", &self.bound)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
