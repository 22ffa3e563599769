//! A cache in front of look-ups: bounded, with one load for all that ask for a key at the same time.
//!
//! It is no part of a stage, but a thing that stages are given: clones are the same cache, so stages, and instances of
//! one stage, share what they load. A look-up is a future like any other, and so the stage's timeout, its retries and
//! its limits apply to it. What the entries are kept in, and which of them goes when it is full, is `quick_cache`'s: a
//! table that is split by keys, whose eviction looks at recency and frequency alike.
//!
//! # One load for all
//!
//! Those who find nothing take a seat on the key's flight (`flight.rs`), or begin it. None of them owns it: when the one
//! that began it times out, the others go on with the same load; when all have left, it is dropped.
//!
//! # What is on the list
//!
//! The list of flights has, for each key, at most the one load whose result may be stored: a load that is done, fails, panics
//! or is dropped takes itself off, whoever polls or drops it, because its future owns its place there. Loads store and go
//! off in one step, under the lock under which others look for a fresh entry and then for a flight. So nobody loads what
//! is there, or what is being loaded; nobody gets a result, or a failure, that was there before it asked, unless that is
//! kept; and as [`Cache::remove`] takes the entry and the load off in one step, what it forgot does not come back.
//!
//! Under that lock runs no code of others but the keys' `Hash` and `Eq`.

use crate::cache_options::{CacheOptions, Entries, Rules, Weigh};
use crate::flight::{BoxFuture, Flight};
use crate::lookup::{Found, Lookup, State, Waits};
use crate::runtime::{Spawn, Timer};
use crate::sync::{AtomicU64, Mutex, Ordering, twin};
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A bounded cache of what a loader finds. Clones are the same cache.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::{StreamExt as _, future::block_on, stream};
/// use peu_operators::{AsyncOptions, Cache, CacheOptions, StreamExt as _};
/// use std::{io, time::Duration};
///
/// let options = CacheOptions::entries(10_000).expire_after_write(Duration::from_secs(600));
/// let models = Cache::new(&Threads, options, |tail: &'static str| async move {
///     // A database would be asked here.
///     Ok::<_, io::Error>((tail == "N14228").then_some("Boeing 737-824"))
/// });
/// let look_up = {
///     let models = models.clone();
///     move |tail| {
///         let model = models.get(tail);
///         async move { Ok::<_, std::sync::Arc<io::Error>>((tail, model.await?)) }
///     }
/// };
/// let tails = stream::iter(["N14228", "NONE", "N14228"]);
/// let found = tails.async_map(&Threads, "models", look_up, AsyncOptions::ordered());
/// let found: Vec<_> = block_on(found.map(Result::unwrap).collect());
/// assert_eq!(found[2], ("N14228", Some("Boeing 737-824")));
/// assert!(models.metrics().loads < 4);
/// ```
pub struct Cache<K, V, E>(Arc<Shared<K, V, E>>);

type Load<K, V, E> = dyn Fn(K) -> BoxFuture<Result<Option<V>, E>> + Send + Sync;

struct Shared<K, V, E> {
    entries: Entries<K, V>,
    weigh: Weigh<K, V>,
    flights: Mutex<Flights<K, V, E>>,
    load: Box<Load<K, V, E>>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    sleep_until: Box<dyn Fn(Instant) -> BoxFuture<()> + Send + Sync>,
    spawn: Box<dyn Fn(BoxFuture<()>) + Send + Sync>,
    rules: Rules,
    start: Instant,
    counts: Counts,
}

/// The loads that are under way.
struct Flights<K, V, E> {
    by_key: HashMap<K, Numbered<V, E>>,
    next: u64,
}

/// A load, and its number: no two ever have the same.
type Numbered<V, E> = (u64, Arc<Flight<Found<V, E>>>);

impl<K: Hash + Eq, V, E> Flights<K, V, E> {
    /// Takes a load off the list, if it is there. What is given is to be dropped without the lock.
    fn unlist(&mut self, key: &K, number: u64) -> Option<(K, Numbered<V, E>)> {
        let listed = self.by_key.get(key);
        match listed.is_some_and(|(listed, _)| *listed == number) {
            true => self.by_key.remove_entry(key),
            false => None,
        }
    }
}

/// What was loaded for a key. Its times are in nanoseconds since the cache began.
///
/// Both atomics are Relaxed: they are times alone, and nothing is handed over with them.
pub(crate) struct Entry<V> {
    /// None: it is known that there is none.
    pub(crate) value: Option<V>,
    pub(crate) weight: u64,
    written: u64,
    accessed: AtomicU64,
    /// When it is to be loaded anew, ahead of its end.
    refresh: AtomicU64,
}

/// Relaxed, all of them: counters.
#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
    failures: AtomicU64,
    stale: AtomicU64,
    refreshes: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The counters of a [`Cache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheMetrics {
    /// Look-ups that found a fresh entry.
    pub hits: u64,
    /// Look-ups that did not, those that waited for another's load included.
    pub misses: u64,
    /// Calls of the loader.
    pub loads: u64,
    /// Loads that returned an error.
    pub failures: u64,
    /// Loads that failed, and were answered with an entry that had expired.
    pub stale: u64,
    /// Loads that were begun ahead of the entry's end.
    pub refreshes: u64,
    /// How long all loads took together.
    pub load_time: Duration,
    /// Entries now, expired ones included.
    pub entries: usize,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// An empty cache. `load` is asked for keys that are not in it; `runtime` tells the time, and runs what is loaded ahead.
    ///
    /// # Panics
    ///
    /// If the options make no sense together.
    #[track_caller]
    pub fn new<R, F, Fut>(runtime: &R, options: CacheOptions<K, V>, load: F) -> Self
    where
        R: Spawn + Timer + Sync,
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let (entries, weigh, rules) = options.build();
        let (clock, timer, spawner) = (runtime.clone(), runtime.clone(), runtime.clone());
        Self(Arc::new(Shared {
            entries,
            weigh,
            flights: Mutex::new(Flights {
                by_key: HashMap::new(),
                next: 0,
            }),
            load: Box::new(move |key| Box::pin(load(key))),
            now: Box::new(move || clock.now()),
            sleep_until: Box::new(move |end| Box::pin(timer.sleep_until(end))),
            spawn: Box::new(move |task| spawner.spawn(task)),
            rules,
            start: runtime.now(),
            counts: Counts::default(),
        }))
    }

    /// Looks a key up. What is there is found without an allocation; what is not is loaded once, whoever asks.
    ///
    /// The look-up begins with the call, not with the first poll. Dropping it leaves the load to the others that wait
    /// for it, and cancels it if there are none. A loader that panics panics in every look-up that waited for it.
    ///
    /// Whoever waits for a load may be the one that is woken to drive it. So a look-up is polled when it is woken, or
    /// dropped; one that is kept without being polled holds up the others. Stages see to that.
    ///
    /// # Errors
    ///
    /// That of the load. It is not kept: the next look-up loads again.
    pub fn get(&self, key: K) -> Lookup<V, E> {
        let now = self.0.now_if_that_counts();
        match self.0.fresh(&key, now) {
            Some(entry) => {
                count(&self.0.counts.hits, 1);
                let value = entry.value.clone();
                self.0.refresh_ahead(key, &entry);
                Lookup(State::Found(Ok(value)))
            }
            None => {
                count(&self.0.counts.misses, 1);
                Lookup(self.0.join(key, Some(now)))
            }
        }
    }

    /// Forgets a key: the next look-up loads it. A load that has begun before is for those who wait for it already; its
    /// result is not kept.
    pub fn remove(&self, key: &K) {
        let mut flights = self.0.flights.lock();
        let flight = match twin("lookup-removal-unlisted") {
            true => None,
            false => flights.by_key.remove_entry(key),
        };
        let entry = self.0.entries.remove(key);
        drop(flights);
        drop((flight, entry));
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> CacheMetrics {
        let counts = &self.0.counts;
        CacheMetrics {
            hits: read(&counts.hits),
            misses: read(&counts.misses),
            loads: read(&counts.loads),
            failures: read(&counts.failures),
            stale: read(&counts.stale),
            refreshes: read(&counts.refreshes),
            load_time: Duration::from_nanos(read(&counts.nanoseconds)),
            entries: self.0.entries.len(),
        }
    }
}

impl<K, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V, E> Debug for Cache<K, V, E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

fn count(counter: &AtomicU64, by: u64) {
    // ORDERING: Relaxed, as at the struct.
    counter.fetch_add(by, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    // ORDERING: Relaxed, as at the struct.
    counter.load(Ordering::Relaxed)
}

impl<K, V, E> Shared<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Nanoseconds since the cache began. The clock is asked only where something expires or is measured.
    fn now(&self) -> u64 {
        let since = (self.now)().saturating_duration_since(self.start);
        nanoseconds(since)
    }

    /// Any time will do where nothing expires.
    fn now_if_that_counts(&self) -> u64 {
        match self.rules.expire() {
            true => self.now(),
            false => 0,
        }
    }

    fn fresh(&self, key: &K, now: u64) -> Option<Arc<Entry<V>>> {
        let entry = self.entries.get(key)?;
        if !self.rules.expire() {
            return Some(entry);
        }
        if self.end_of(&entry) <= now {
            return None;
        }
        // ORDERING: Relaxed, as at the struct.
        entry.accessed.fetch_max(now, Ordering::Relaxed);
        Some(entry)
    }

    /// When an entry expires.
    fn end_of(&self, entry: &Entry<V>) -> u64 {
        let rules = &self.rules;
        let write = match entry.value {
            Some(_) => rules.after_write,
            None => rules.misses,
        };
        // ORDERING: Relaxed, as at the struct.
        let accessed = entry.accessed.load(Ordering::Relaxed);
        let by_write = write.map(|limit| entry.written.saturating_add(nanoseconds(limit)));
        let by_access = rules.after_access;
        let by_access = by_access.map(|limit| accessed.saturating_add(nanoseconds(limit)));
        by_write
            .into_iter()
            .chain(by_access)
            .min()
            .unwrap_or(u64::MAX)
    }

    fn refresh_ahead(self: &Arc<Self>, key: K, entry: &Entry<V>) {
        let Some(after) = self.rules.refresh_after else {
            return;
        };
        // ORDERING: Relaxed, as at the struct.
        let due = entry.refresh.load(Ordering::Relaxed);
        let now = self.now();
        let next = now.saturating_add(nanoseconds(after));
        // ORDERING: Relaxed, as at the struct. One of those who see it due wins, and the others have nothing to see of it.
        let swap = |due| {
            entry
                .refresh
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        if due <= now && swap(due).is_ok() && !self.is_under_way(&key) {
            count(&self.counts.refreshes, 1);
            self.refresh(key, self.end_of(entry));
        }
    }

    /// A load that hangs is not to gather tasks that wait for it.
    fn is_under_way(&self, key: &K) -> bool {
        self.flights.lock().by_key.contains_key(key)
    }

    /// Loads a key in a task of its own; what comes of it is in the cache, and in the counters. At its entry's end the task leaves. Should the
    /// load hang, those who find nothing from then on would else wait for it as well.
    fn refresh(self: &Arc<Self>, key: K, end: u64) {
        let mut state = self.join(key, None);
        let shared = Arc::clone(self);
        let mut sleep = None;
        (self.spawn)(Box::pin(poll_fn(move |cx| match state.poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => {
                let end = shared.start + Duration::from_nanos(end);
                let sleep = sleep.get_or_insert_with(|| (shared.sleep_until)(end));
                sleep.as_mut().poll(cx)
            }
        })));
    }

    /// Takes a seat on the key's flight, or begins it; unless there is an entry that is fresh at `unless`.
    fn join(self: &Arc<Self>, key: K, unless: Option<u64>) -> State<V, E> {
        let own = key.clone();
        // Should a comparison of keys panic, it is dropped after the lock is released, which its drop takes.
        let flight;
        let mut flights = self.flights.lock();
        let entry = unless.and_then(|now| self.fresh(&key, now));
        if let Some(entry) = entry.filter(|_| !twin("lookup-join-unlooked")) {
            drop(flights);
            return State::Found(Ok(entry.value.clone()));
        }
        if let Some((_, flight)) = flights.by_key.get(&key)
            && let Some(seat) = flight.board()
        {
            let flight = Arc::clone(flight);
            return State::Waits(Waits { flight, seat });
        }
        let abandoned = flights.by_key.remove_entry(&key);
        let number = flights.next;
        flights.next += 1;
        let listed = Listed {
            shared: Arc::clone(self),
            key: own,
            number,
        };
        flight = Flight::new(Box::pin(listed.load()));
        let seat = flight.board().unwrap_or_default();
        flights.by_key.insert(key, (number, Arc::clone(&flight)));
        drop(flights);
        drop(abandoned);
        State::Waits(Waits { flight, seat })
    }

    /// What is to be kept, if it is.
    fn entry(&self, key: &K, value: Option<V>) -> Option<Arc<Entry<V>>> {
        if value.is_none() && self.rules.misses.is_none() {
            return None;
        }
        let now = self.now();
        let refresh = self.rules.refresh_after.map_or(u64::MAX, nanoseconds);
        Some(Arc::new(Entry {
            weight: self.weigh.of(key, value.as_ref()),
            value,
            written: now,
            accessed: AtomicU64::new(now),
            refresh: AtomicU64::new(now.saturating_add(refresh)),
        }))
    }

    /// An entry that has not expired too long ago to be better than an error.
    fn stale(&self, key: &K) -> Option<Option<V>> {
        let grace = nanoseconds(self.rules.stale?);
        let entry = self.entries.get(key)?;
        let (end, now) = (self.end_of(&entry), self.now());
        if end.saturating_add(grace) <= now {
            return None;
        }
        count(&self.counts.stale, u64::from(end <= now));
        Some(entry.value.clone())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A load with its place on the list, which it leaves whatever becomes of it.
struct Listed<K, V, E>
where
    K: Hash + Eq,
{
    shared: Arc<Shared<K, V, E>>,
    key: K,
    number: u64,
}

impl<K, V, E> Listed<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    async fn load(self) -> Found<V, E> {
        let shared = &self.shared;
        let began = shared.now();
        count(&shared.counts.loads, 1);
        let loaded = (shared.load)(self.key.clone()).await;
        count(
            &shared.counts.nanoseconds,
            shared.now().saturating_sub(began),
        );
        match loaded {
            Ok(value) => {
                self.store(value.clone());
                Ok(value)
            }
            Err(error) => {
                count(&shared.counts.failures, 1);
                shared.stale(&self.key).ok_or_else(|| Arc::new(error))
            }
        }
    }

    /// Puts what was loaded in the place of the entry, and leaves the list; unless it is off already, since the key was to be
    /// forgotten meanwhile.
    fn store(&self, value: Option<V>) {
        let entry = self.shared.entry(&self.key, value);
        let key = self.key.clone();
        let mut flights = self.shared.flights.lock();
        let Some(unlisted) = flights.unlist(&key, self.number) else {
            return;
        };
        let entries = &self.shared.entries;
        let (replaced, removed) = match entry {
            Some(entry) => (Some(entries.insert_with_lifecycle(key, entry)), None),
            None => (None, entries.remove(&key)),
        };
        drop(flights);
        drop((unlisted, replaced, removed));
    }
}

impl<K: Hash + Eq, V, E> Drop for Listed<K, V, E> {
    fn drop(&mut self) {
        let unlisted = self.shared.flights.lock().unlist(&self.key, self.number);
        drop(unlisted);
    }
}
