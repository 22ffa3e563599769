//! Family L: the look-up cache.

mod kit;

use futures_lite::StreamExt as _;
use kit::{Answer, Calls, Refused, Tap, World, ms};
use peu_operators::{
    AsyncMap, AsyncOptions, Cache, CacheMetrics, CacheOptions, Fallback, Lookup, OnError, Reload,
    StagePolicies, StreamExt as _, Table,
};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A cache from numbers to ten times the number, whose loads are scripted. 0 stands for "there is none".
struct Shelf {
    world: World,
    loads: Calls,
    cache: Cache<u64, u64, Refused>,
}

impl Shelf {
    fn new(options: CacheOptions<u64, u64>) -> Self {
        let (world, loads) = (World::new(), Calls::new());
        let cache = {
            let loads = loads.clone();
            Cache::new(&world, options, move |key| {
                let load = loads.call(key);
                async move { load.await.map(|value| (value > 0).then_some(value)) }
            })
        };
        Self {
            world,
            loads,
            cache,
        }
    }

    /// What a look-up finds at once, if the load's answer is there already.
    fn now(&self, key: u64) -> Option<Result<Option<u64>, ()>> {
        let mut lookup = self.cache.get(key);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut lookup).poll(&mut cx) {
            Poll::Ready(found) => Some(found.map_err(drop)),
            Poll::Pending => None,
        }
    }

    /// A look-up that has to load, and does.
    fn load(&self, key: u64, answer: Answer) -> Option<Result<Option<u64>, ()>> {
        let before = self.metrics().loads;
        self.loads.answer(key, answer);
        let found = self.now(key);
        assert_eq!(self.metrics().loads, before + 1);
        found
    }

    fn fill(&self, keys: impl IntoIterator<Item = u64>) {
        for key in keys {
            assert_eq!(
                self.load(key, Answer::Output(10 * key)),
                Some(Ok(Some(10 * key)))
            );
        }
    }

    fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
    }

    fn metrics(&self) -> CacheMetrics {
        self.cache.metrics()
    }

    /// A stage of its own over some keys, which looks them up here.
    fn stage<P>(&self, keys: &[u64], options: AsyncOptions<P>) -> Tap<AsyncMap<Option<u64>>>
    where
        P: StagePolicies<u64, Option<u64>, Arc<Refused>>,
    {
        let cache = self.cache.clone();
        let keys = futures_lite::stream::iter(keys.to_vec());
        let keys = keys.chain(futures_lite::stream::pending());
        Tap::new(keys.async_map(&self.world, "stage", move |key| cache.get(key), options))
    }
}

fn outputs(tap: &mut Tap<AsyncMap<Option<u64>>>) -> Vec<Option<u64>> {
    let mut outputs = Vec::new();
    while let Some(output) = tap.next_now() {
        outputs.push(output.expect("nothing fails"));
    }
    outputs
}

#[test]
fn l01_entries_are_bounded_by_number() {
    let shelf = Shelf::new(CacheOptions::entries(100));
    shelf.fill(1..=1_000);
    let entries = shelf.metrics().entries;
    assert!((50..=110).contains(&entries), "{entries} entries");
}

#[test]
fn l01_or_by_weight() {
    let weigh = |key: u64| if key > 500 { 10 } else { 1 };
    let options = CacheOptions::weight(100, move |key: &u64, _: Option<&u64>| weigh(*key));
    let shelf = Shelf::new(options);
    shelf.fill(1..=1_000);
    let there = (1..=1_000).filter(|key| shelf.now(*key).is_some());
    let weights: Vec<u64> = there.map(weigh).collect();
    let total: u64 = weights.iter().sum();
    assert!((50..=110).contains(&total), "{weights:?}");
    assert!(weights.contains(&10), "{weights:?}");
}

#[test]
fn l01_kept_misses_weigh_what_their_keys_do() {
    let options = CacheOptions::weight(100, |_: &u64, value: Option<&u64>| match value {
        Some(_) => 1,
        None => 10,
    });
    let shelf = Shelf::new(options.keep_misses(ms(1_000)));
    for key in 1..=1_000 {
        assert_eq!(shelf.load(key, Answer::Output(0)), Some(Ok(None)));
    }
    let entries = shelf.metrics().entries;
    assert!((5..=11).contains(&entries), "{entries} entries");
}

#[test]
fn l01_an_entry_may_weigh_nearly_as_much_as_all_together() {
    let options = CacheOptions::weight(100, |key: &u64, _: Option<&u64>| *key);
    let shelf = Shelf::new(options);
    shelf.fill([30]);
    assert_eq!(shelf.now(30), Some(Ok(Some(300))));
    for _ in 0..2 {
        shelf.fill([98, 99, 101]);
    }
    assert_eq!(shelf.now(30), Some(Ok(Some(300))), "they took its place");
    shelf.fill([97]);
    assert_eq!(shelf.now(97), Some(Ok(Some(970))));
    assert_eq!(shelf.metrics().entries, 1);
}

#[test]
fn l01_an_entry_expires_after_it_was_written() {
    let shelf = Shelf::new(CacheOptions::entries(10).expire_after_write(ms(100)));
    shelf.fill([1]);
    shelf.advance(99);
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    shelf.advance(1);
    assert_eq!(shelf.load(1, Answer::Output(11)), Some(Ok(Some(11))));
    assert_eq!(shelf.now(1), Some(Ok(Some(11))));
}

#[test]
fn l01_or_after_it_was_last_found_or_whichever_is_first() {
    let options = CacheOptions::entries(10).expire_after_access(ms(100));
    let shelf = Shelf::new(options.expire_after_write(ms(250)));
    shelf.fill([1]);
    for _ in 0..2 {
        shelf.advance(99);
        assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    }
    shelf.advance(52);
    assert_eq!(
        shelf.load(1, Answer::Output(11)),
        Some(Ok(Some(11))),
        "written 250 ms ago"
    );
    shelf.advance(100);
    assert_eq!(
        shelf.load(1, Answer::Output(12)),
        Some(Ok(Some(12))),
        "found 100 ms ago"
    );
}

#[test]
fn l01_a_miss_is_kept_only_if_asked_for_and_for_its_own_time() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    assert_eq!(shelf.load(1, Answer::Output(0)), Some(Ok(None)));
    assert_eq!(shelf.load(1, Answer::Output(0)), Some(Ok(None)));

    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.keep_misses(ms(10)));
    assert_eq!(shelf.load(1, Answer::Output(0)), Some(Ok(None)));
    shelf.advance(9);
    assert_eq!(shelf.now(1), Some(Ok(None)));
    shelf.advance(1);
    assert_eq!(shelf.load(1, Answer::Output(10)), Some(Ok(Some(10))));
    shelf.advance(99);
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
}

#[test]
fn l02_stages_that_ask_for_a_key_at_the_same_time_share_one_load() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let mut one = shelf.stage(&[1, 1, 2], AsyncOptions::ordered());
    let mut other = shelf.stage(&[2, 1], AsyncOptions::ordered());
    shelf.world.run();
    assert_eq!(shelf.loads.made(), [1, 2]);
    shelf.loads.answer(2, Answer::Output(20));
    shelf.world.run();
    shelf.loads.answer(1, Answer::Output(10));
    shelf.world.run();
    assert_eq!(outputs(&mut one), [Some(10), Some(10), Some(20)]);
    assert_eq!(outputs(&mut other), [Some(20), Some(10)]);
    let metrics = shelf.metrics();
    assert_eq!((metrics.misses, metrics.loads, metrics.hits), (5, 2, 0));
}

#[test]
fn l02_a_failure_is_told_to_all_and_not_kept() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let options = || AsyncOptions::ordered().on_error(OnError::Skip);
    let (one, other) = (
        shelf.stage(&[1, 1], options()),
        shelf.stage(&[1], options()),
    );
    shelf.world.run();
    shelf.loads.answer(1, Answer::Refused);
    shelf.world.run();
    assert_eq!(one.stream().metrics().failed, 2);
    assert_eq!(other.stream().metrics().failed, 1);
    assert_eq!((shelf.metrics().loads, shelf.metrics().failures), (1, 1));
    assert_eq!(shelf.load(1, Answer::Output(10)), Some(Ok(Some(10))));
}

#[test]
fn l02_when_the_one_that_began_a_load_is_gone_the_others_go_on_with_it() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let fallback = |_: &u64| Fallback::Output(None);
    let options = AsyncOptions::ordered().timeout_with(ms(10), fallback);
    let mut hasty = shelf.stage(&[1], options);
    shelf.world.run();
    shelf.advance(5);
    let mut patient = shelf.stage(&[1], AsyncOptions::ordered());
    shelf.world.run();
    shelf.advance(5);
    assert_eq!(outputs(&mut hasty), [None]);
    assert_eq!(shelf.loads.live(), [1], "it goes on");
    shelf.loads.answer(1, Answer::Output(10));
    shelf.world.run();
    assert_eq!(outputs(&mut patient), [Some(10)]);
    assert_eq!(shelf.metrics().loads, 1);
}

#[test]
fn l02_a_load_that_nobody_waits_for_is_cancelled() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let stage = shelf.stage(&[1, 1], AsyncOptions::ordered());
    shelf.world.run();
    assert_eq!(shelf.loads.live(), [1]);
    drop(stage);
    shelf.world.run();
    assert_eq!(shelf.loads.live(), [0_u64; 0]);
    assert_eq!(shelf.load(1, Answer::Output(10)), Some(Ok(Some(10))));
}

#[test]
fn l02_a_panic_of_the_loader_is_each_records_own_and_not_kept() {
    for panic in [Answer::Panic, Answer::PanicInCall] {
        let shelf = Shelf::new(CacheOptions::entries(10));
        shelf.loads.answer(1, panic);
        let options = AsyncOptions::ordered().on_error(OnError::Skip);
        let stage = shelf.stage(&[1], options);
        shelf.world.run();
        assert_eq!(stage.stream().metrics().failed, 1);
        assert_eq!(shelf.load(1, Answer::Output(10)), Some(Ok(Some(10))));
    }
}

#[test]
fn l03_an_entry_is_loaded_ahead_of_its_end_while_it_is_served() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.refresh_after(ms(80)));
    shelf.fill([1]);
    shelf.advance(79);
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    shelf.world.run();
    assert_eq!(shelf.loads.made(), [1]);
    shelf.advance(1);
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    assert_eq!(shelf.now(1), Some(Ok(Some(10))), "one load is enough");
    assert_eq!(shelf.world.sleeps(), 0, "a look-up waits for no clock");
    shelf.world.run();
    assert_eq!(shelf.loads.live(), [1]);
    shelf.loads.answer(1, Answer::Output(11));
    shelf.world.run();
    assert_eq!(shelf.now(1), Some(Ok(Some(11))));
    shelf.advance(79);
    assert_eq!(shelf.now(1), Some(Ok(Some(11))), "its time began anew");
    let metrics = shelf.metrics();
    assert_eq!(
        (metrics.refreshes, metrics.loads, metrics.misses),
        (1, 2, 1)
    );
    assert_eq!(shelf.world.tasks(), 0);
}

#[test]
fn l03_a_refresh_that_fails_keeps_the_old_entry_and_does_not_hammer() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.refresh_after(ms(40)));
    shelf.fill([1]);
    shelf.advance(40);
    shelf.loads.answer(1, Answer::Refused);
    for _ in 0..5 {
        assert_eq!(shelf.now(1), Some(Ok(Some(10))));
        shelf.world.run();
    }
    let metrics = shelf.metrics();
    assert_eq!((metrics.refreshes, metrics.failures), (1, 1));
}

#[test]
fn l03_a_refresh_that_hangs_is_dropped_when_its_entry_expires() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.refresh_after(ms(40)));
    shelf.fill([1]);
    for _ in 0..2 {
        shelf.advance(40);
        assert_eq!(shelf.now(1), Some(Ok(Some(10))));
        shelf.world.run();
        assert_eq!(shelf.loads.live(), [1]);
        assert_eq!(shelf.world.tasks(), 1, "it is due again, and under way");
    }
    assert_eq!(shelf.metrics().refreshes, 1);
    shelf.advance(20);
    shelf.world.run();
    assert!(shelf.loads.live().is_empty());
    assert_eq!((shelf.world.tasks(), shelf.world.sleeps()), (0, 0));
    assert_eq!(shelf.load(1, Answer::Output(11)), Some(Ok(Some(11))));
}

#[test]
fn l03_what_has_expired_is_served_when_its_load_fails() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.serve_stale(ms(50)));
    shelf.fill([1]);
    shelf.advance(149);
    assert_eq!(shelf.load(1, Answer::Refused), Some(Ok(Some(10))));
    assert_eq!(shelf.metrics().stale, 1);
    shelf.advance(1);
    assert_eq!(shelf.load(1, Answer::Refused), Some(Err(())));
    assert_eq!(shelf.load(2, Answer::Refused), Some(Err(())));
    assert_eq!((shelf.metrics().failures, shelf.metrics().stale), (3, 1));
}

#[test]
fn l05_what_a_cache_does_is_counted() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let mut lookup = shelf.cache.get(1);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut lookup).poll(&mut cx).is_pending());
    shelf.advance(30);
    shelf.loads.answer(1, Answer::Output(10));
    assert!(Pin::new(&mut lookup).poll(&mut cx).is_ready());
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    shelf.load(2, Answer::Refused);
    let metrics = shelf.metrics();
    assert_eq!((metrics.hits, metrics.misses), (1, 2));
    assert_eq!((metrics.loads, metrics.failures), (2, 1));
    assert_eq!((metrics.entries, metrics.load_time), (1, ms(30)));
    shelf.cache.remove(&1);
    assert_eq!(shelf.metrics().entries, 0);
}

#[test]
#[should_panic(expected = "refresh sooner, or let it expire later")]
fn l03_a_refresh_after_the_end_is_refused() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let _ = Shelf::new(options.refresh_after(ms(100)));
}

#[test]
#[should_panic(expected = "let entries expire")]
fn l03_stale_entries_where_nothing_expires_are_refused() {
    let _ = Shelf::new(CacheOptions::entries(10).serve_stale(ms(1)));
}

#[test]
fn l02_a_look_up_that_is_dropped_unpolled_is_cancelled() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    drop(shelf.cache.get(1));
    assert_eq!(shelf.loads.made(), [0_u64; 0], "its load never began");
    let never: Cache<u64, u64, Refused> =
        Cache::new(&shelf.world, CacheOptions::entries(1), |_| pending());
    drop(never.get(1));
    assert_eq!(never.metrics().loads, 0);
}

/// Polls a look-up once.
fn polled<V: Clone + Send + Sync, E: Send + Sync>(
    lookup: &mut Lookup<V, E>,
) -> Poll<Result<Option<V>, Arc<E>>> {
    Pin::new(lookup).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn l02_what_was_removed_while_it_was_loaded_does_not_come_back() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let mut before = shelf.cache.get(1);
    assert!(polled(&mut before).is_pending());
    shelf.cache.remove(&1);
    let mut after = shelf.cache.get(1);
    shelf.loads.answer(1, Answer::Output(10));
    assert!(matches!(polled(&mut before), Poll::Ready(Ok(Some(10)))));
    assert_eq!(shelf.metrics().entries, 0, "what is old is not kept");
    assert!(polled(&mut after).is_pending());
    assert_eq!(shelf.loads.made(), [1, 1], "it asks anew");
    shelf.loads.answer(1, Answer::Output(11));
    assert!(matches!(polled(&mut after), Poll::Ready(Ok(Some(11)))));
    assert_eq!(shelf.now(1), Some(Ok(Some(11))));
}

/// Looks 1 up when it is woken, and keeps the look-up.
struct Asks(
    Cache<u64, u64, Refused>,
    Mutex<Option<Lookup<u64, Refused>>>,
);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        *self.1.lock().unwrap() = Some(self.0.get(1));
    }
}

#[test]
fn l02_whoever_asks_after_a_load_failed_does_not_get_its_failure() {
    let shelf = Shelf::new(CacheOptions::entries(10));
    let [mut driver, mut other] = [(); 2].map(|()| shelf.cache.get(1));
    let asks = Arc::new(Asks(shelf.cache.clone(), Mutex::default()));
    assert!(polled(&mut driver).is_pending());
    let waker = Waker::from(Arc::clone(&asks));
    let told = Pin::new(&mut other).poll(&mut Context::from_waker(&waker));
    assert!(told.is_pending());
    shelf.loads.answer(1, Answer::Refused);
    assert!(matches!(polled(&mut driver), Poll::Ready(Err(_))));
    let mut asked = asks.1.lock().unwrap().take().expect("it was woken");
    assert!(polled(&mut asked).is_pending(), "it loads anew");
    assert_eq!(shelf.metrics().loads, 2);
    assert!(matches!(polled(&mut other), Poll::Ready(Err(_))));
}

/// A value whose clones and drops look up in the cache that it is in, and whose first clones may panic.
struct Nosy {
    cache: Arc<OnceLock<Cache<u64, Nosy, Refused>>>,
    calm: Arc<AtomicUsize>,
}

impl Nosy {
    fn look(&self) {
        let lookup = self.cache.get().map(|cache| cache.get(2));
        drop(lookup);
    }
}

impl Clone for Nosy {
    fn clone(&self) -> Self {
        self.look();
        // ORDERING: Relaxed, a count that one thread uses.
        let panics = self.calm.fetch_sub(1, Ordering::Relaxed) == 1;
        assert!(!panics, "a clone");
        let (cache, calm) = (Arc::clone(&self.cache), Arc::clone(&self.calm));
        Self { cache, calm }
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

/// Whichever clone panics, it is one look-up that does, or all of one load; nobody waits for ever.
#[test]
fn l02_values_that_use_the_cache_in_their_clones_and_drops_or_panic_there() {
    for (calm, expected) in [(1, 2), (2, 1), (3, 1), (4, 0)] {
        let world = World::new();
        let (cell, calm) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(calm)));
        let (inside, gate) = (Arc::clone(&cell), Calls::new());
        let answers = gate.clone();
        let options = CacheOptions::weight(100, |_: &u64, value: Option<&Nosy>| {
            value.expect("each load finds one").look();
            1
        });
        let cache = Cache::new(&world, options, move |key: u64| {
            let (answer, value) = (
                answers.call(key),
                Nosy {
                    cache: Arc::clone(&inside),
                    calm: Arc::clone(&calm),
                },
            );
            async move { answer.await.map(|_| Some(value)) }
        });
        assert!(cell.set(cache.clone()).is_ok());
        let mut lookups = [cache.get(1), cache.get(1)];
        for lookup in &mut lookups {
            assert!(polled(lookup).is_pending());
        }
        gate.answer(1, Answer::Output(10));
        let mut panics = 0;
        for mut lookup in lookups {
            match catch_unwind(AssertUnwindSafe(|| polled(&mut lookup))) {
                Ok(found) => assert!(found.is_ready()),
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, expected);
        cache.remove(&1);
        assert!(polled(&mut cache.get(1)).is_pending(), "it can be loaded");
    }
}

#[test]
fn l01_a_weigher_that_panics_fails_the_load_and_keeps_nothing() {
    let shelf = Shelf::new(CacheOptions::weight(10, |_: &u64, value: Option<&u64>| {
        assert!(value != Some(&13), "unlucky");
        1
    }));
    shelf.loads.answer(1, Answer::Output(13));
    let found = catch_unwind(AssertUnwindSafe(|| shelf.now(1)));
    assert!(found.is_err());
    assert_eq!(shelf.metrics().entries, 0);
    assert_eq!(shelf.load(1, Answer::Output(10)), Some(Ok(Some(10))));
}

#[test]
fn l03_a_refresh_that_fails_before_the_end_served_nothing_stale() {
    let options = CacheOptions::entries(10).expire_after_write(ms(100));
    let shelf = Shelf::new(options.refresh_after(ms(40)).serve_stale(ms(50)));
    shelf.fill([1]);
    shelf.advance(40);
    shelf.loads.answer(1, Answer::Refused);
    assert_eq!(shelf.now(1), Some(Ok(Some(10))));
    shelf.world.run();
    assert_eq!((shelf.metrics().failures, shelf.metrics().stale), (1, 0));
}

/// What the loads of a table give, one after the other: a version, an error, or a panic. An empty list is a load that
/// takes for ever.
#[derive(Clone, Default)]
struct Versions(Arc<Mutex<VecDeque<Result<u64, Refused>>>>);

impl Versions {
    fn then(&self, version: Result<u64, Refused>) {
        self.0.lock().unwrap().push_back(version);
    }

    /// A version is a table in which 1 stands for it. 13 is unlucky, and 17 as soon as it is asked for.
    fn load(self) -> impl Future<Output = Result<HashMap<u64, u64>, Refused>> {
        let next = self.0.lock().unwrap().pop_front();
        assert!(!matches!(next, Some(Ok(17))), "unlucky");
        async move {
            match next {
                Some(Ok(13)) => panic!("unlucky"),
                Some(version) => version.map(|version| HashMap::from([(1, version)])),
                None => pending().await,
            }
        }
    }
}

fn table(world: &World, versions: &Versions) -> Result<Table<u64, u64>, Refused> {
    table_by(Reload::every(ms(100)), world, versions)
}

fn table_by(
    reload: Reload,
    world: &World,
    versions: &Versions,
) -> Result<Table<u64, u64>, Refused> {
    let source = versions.clone();
    let load = move || source.clone().load();
    let mut loading = Box::pin(Table::load(world, reload, load));
    let loaded = loading
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    world.run();
    match loaded {
        Poll::Ready(loaded) => loaded,
        Poll::Pending => panic!("the first version is there"),
    }
}

#[test]
fn l04_a_table_is_loaded_as_a_whole_and_swapped_when_it_is_time_to() {
    let (world, versions) = (World::new(), Versions::default());
    versions.then(Ok(1));
    let table = table(&world, &versions).expect("a table");
    let advance = |milliseconds| {
        world.advance(ms(milliseconds));
        world.run();
    };
    assert_eq!((table.get(&1), table.get(&2)), (Some(1), None));
    let old = table.snapshot();
    versions.then(Ok(2));
    advance(99);
    assert_eq!(table.get(&1), Some(1));
    advance(1);
    assert_eq!(table.get(&1), Some(2));
    assert_eq!(old.get(&1), Some(&1), "who has the old one keeps it");
    advance(100);
    assert_eq!(table.get(&1), Some(2), "it serves while the next is loaded");
    let metrics = table.metrics();
    assert_eq!(
        (metrics.loads, metrics.failures, metrics.entries),
        (2, 0, 1)
    );
    drop(table);
    world.run();
    assert_eq!(
        (world.tasks(), world.sleeps()),
        (0, 0),
        "the last handle ends it"
    );
}

/// The clock on the wall is the real one, and only says how long it is until then.
#[test]
fn l04_a_table_is_loaded_again_at_a_time_of_day() {
    let (world, versions) = (World::new(), Versions::default());
    versions.then(Ok(1));
    versions.then(Ok(2));
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let in_an_hour = Duration::from_secs((since_1970.as_secs() + 3_600) % 86_400);
    let table = table_by(Reload::daily_at(in_an_hour), &world, &versions).expect("a table");
    for (loads, version) in [(1, 1), (2, 2)] {
        world.advance(Duration::from_secs(1_800));
        world.run();
        assert_eq!(table.metrics().loads, loads);
        assert_eq!(table.get(&1), Some(version));
    }
}

#[test]
fn l04_a_load_that_fails_or_panics_keeps_the_old_table_and_is_counted() {
    let (world, versions) = (World::new(), Versions::default());
    for version in [Ok(1), Err(Refused), Ok(13), Ok(17), Ok(2)] {
        versions.then(version);
    }
    let table = table(&world, &versions).expect("a table");
    for (failures, version) in [(1, 1), (2, 1), (3, 1), (3, 2)] {
        world.advance(ms(100));
        world.run();
        assert_eq!(table.metrics().failures, failures);
        assert_eq!(table.get(&1), Some(version));
    }
    let other = table.clone();
    drop(table);
    world.run();
    assert_eq!((other.get(&1), world.tasks()), (Some(2), 1));
}

#[test]
fn l04_the_first_load_has_to_succeed() {
    let (world, versions) = (World::new(), Versions::default());
    versions.then(Err(Refused));
    assert!(table(&world, &versions).is_err());
    assert_eq!(world.tasks(), 0);
}
