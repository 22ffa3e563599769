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
//! that began it times out, the others go on with the same load; when all have left, it is dropped. A load stores what
//! it found before it lands, and a look-up that finds nothing looks again under the lock of the flights, before it
//! begins one: so nobody loads what is there.

use crate::cache_options::{CacheOptions, Entries, Rules};
use crate::flight::{BoxFuture, Flight, Landed};
use crate::runtime::{Spawn, Timer};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What a look-up gives: a value, or none if there is none; or the error of the load that all have in common.
pub type Found<V, E> = Result<Option<V>, Arc<E>>;

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

/// The loads that are under way.
type Flights<K, V, E> = HashMap<K, Arc<Flight<Found<V, E>>>>;

struct Shared<K, V, E> {
    entries: Entries<K, V>,
    flights: Mutex<Flights<K, V, E>>,
    load: Box<Load<K, V, E>>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    spawn: Box<dyn Fn(BoxFuture<()>) + Send + Sync>,
    rules: Rules,
    start: Instant,
    counts: Counts,
}

/// What was loaded for a key. Its times are in nanoseconds since the cache began.
///
/// Both atomics are Relaxed: they are times alone, and nothing is handed over with them.
pub(crate) struct Entry<V> {
    /// None: it is known that there is none.
    pub(crate) value: Option<V>,
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
        let (entries, rules) = options.build();
        let (clock, spawner) = (runtime.clone(), runtime.clone());
        Self(Arc::new(Shared {
            entries,
            flights: Mutex::new(HashMap::new()),
            load: Box::new(move |key| Box::pin(load(key))),
            now: Box::new(move || clock.now()),
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
    /// # Errors
    ///
    /// That of the load. It is not kept: the next look-up loads again.
    pub fn get(&self, key: K) -> Lookup<K, V, E> {
        match self.0.fresh(&key) {
            Some(entry) => {
                count(&self.0.counts.hits, 1);
                let value = entry.value.clone();
                self.0.refresh_ahead(key, &entry);
                Lookup(State::Found(Ok(value)))
            }
            None => {
                count(&self.0.counts.misses, 1);
                Lookup(self.0.join(key, false))
            }
        }
    }

    /// Forgets a key: the next look-up loads it.
    pub fn remove(&self, key: &K) {
        self.0.entries.remove(key);
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

    fn fresh(&self, key: &K) -> Option<Arc<Entry<V>>> {
        let entry = self.entries.get(key)?;
        if !self.rules.expire() {
            return Some(entry);
        }
        let now = self.now();
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
        if due <= now && swap(due).is_ok() {
            count(&self.counts.refreshes, 1);
            let mut state = self.join(key, true);
            (self.spawn)(Box::pin(async move {
                // What comes of it is in the cache, and in the counters.
                let _ = poll_fn(|cx| state.poll(cx)).await;
            }));
        }
    }

    /// Takes a seat on the key's flight, or begins it; unless the key has been loaded meanwhile.
    fn join(self: &Arc<Self>, key: K, anew: bool) -> State<K, V, E> {
        let mut flights = self.flights.lock();
        if !anew && let Some(entry) = self.fresh(&key) {
            return State::Found(Ok(entry.value.clone()));
        }
        let under_way = flights.get(&key).cloned();
        let boarded = under_way.and_then(|flight| Some((flight.board()?, flight)));
        let (seat, flight) = boarded.unwrap_or_else(|| {
            let flight = Flight::new(Box::pin(Arc::clone(self).load_one(key.clone())));
            flights.insert(key.clone(), Arc::clone(&flight));
            (flight.board().unwrap_or_default(), flight)
        });
        let shared = Arc::clone(self);
        State::Waits(Waits {
            shared,
            key,
            flight,
            seat,
        })
    }

    async fn load_one(self: Arc<Self>, key: K) -> Found<V, E> {
        let began = self.now();
        count(&self.counts.loads, 1);
        let loaded = (self.load)(key.clone()).await;
        count(&self.counts.nanoseconds, self.now().saturating_sub(began));
        match loaded {
            Ok(value) => {
                self.store(key, value.clone());
                Ok(value)
            }
            Err(error) => {
                count(&self.counts.failures, 1);
                self.stale(&key).ok_or_else(|| Arc::new(error))
            }
        }
    }

    fn store(&self, key: K, value: Option<V>) {
        if value.is_none() && self.rules.misses.is_none() {
            self.entries.remove(&key);
            return;
        }
        let now = self.now();
        let refresh = self.rules.refresh_after.map_or(u64::MAX, nanoseconds);
        let entry = Entry {
            value,
            written: now,
            accessed: AtomicU64::new(now),
            refresh: AtomicU64::new(now.saturating_add(refresh)),
        };
        self.entries.insert(key, Arc::new(entry));
    }

    /// An entry that has expired, but not too long ago to be better than an error.
    fn stale(&self, key: &K) -> Option<Option<V>> {
        let grace = nanoseconds(self.rules.stale?);
        let entry = self.entries.get(key)?;
        if self.end_of(&entry).saturating_add(grace) <= self.now() {
            return None;
        }
        count(&self.counts.stale, 1);
        Some(entry.value.clone())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What [`Cache::get`] returns. Ready at its first poll if the key was there.
#[must_use = "a look-up that is dropped is cancelled"]
pub struct Lookup<K, V, E>(State<K, V, E>)
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static;

enum State<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    Found(Found<V, E>),
    Waits(Waits<K, V, E>),
    /// Its result was taken.
    Over,
}

/// A seat on a flight.
struct Waits<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    shared: Arc<Shared<K, V, E>>,
    key: K,
    flight: Arc<Flight<Found<V, E>>>,
    seat: usize,
}

impl<K, V, E> State<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Landed<Found<V, E>>> {
        if let State::Waits(waits) = self
            && waits.flight.poll(waits.seat, cx).is_pending()
        {
            return Poll::Pending;
        }
        match std::mem::replace(self, State::Over) {
            State::Found(found) => Poll::Ready(Ok(found)),
            // It has landed, and tells the same again.
            State::Waits(waits) => waits.flight.poll(waits.seat, cx),
            State::Over => panic!("a look-up was polled after its end"),
        }
    }
}

impl<K, V, E> Drop for Waits<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Whoever leaves a flight that has landed, or that nobody waits for any longer, takes it off the list.
    fn drop(&mut self) {
        if !self.flight.leave(self.seat) && !self.flight.has_landed() {
            return;
        }
        let mut flights = self.shared.flights.lock();
        let listed = flights.get(&self.key);
        if listed.is_some_and(|listed| Arc::ptr_eq(listed, &self.flight)) {
            flights.remove(&self.key);
        }
    }
}

impl<K, V, E> Future for Lookup<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Found<V, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx).map(|landed| match landed {
            Ok(found) => found,
            Err(message) => resume_unwind(Box::new(message)),
        })
    }
}

/// Nothing in it is ever pinned: the load has a box of its own.
impl<K, V, E> Unpin for Lookup<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
}
