//! A whole table in memory, loaded anew now and then: for look-ups into something that is small and seldom changes.
//!
//! The first load is the caller's to wait for. After that a task loads again when it is time to, and swaps the new table
//! in at once: whoever looks up sees the old one or the new one, and waits for neither.
//!
//! The task ends when the last handle is dropped, whatever it waits for then: before each poll of that it leaves its waker under the
//! lock under which it saw that there is a handle. So the last one to go comes before that look, and is seen, or
//! finds the waker.

use crate::panics::caught;
use crate::runtime::{Spawn, Timer};
use crate::sync::{Mutex, twin};
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(86_400);

/// When a table is loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload(When);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Every(Duration),
    DailyAt(Duration),
}

impl Reload {
    /// So long after each load.
    ///
    /// # Panics
    ///
    /// If `period` is zero: the table would be loaded all the time.
    #[must_use]
    #[track_caller]
    pub fn every(period: Duration) -> Self {
        assert!(
            period > Duration::ZERO,
            "a table is loaded again after more than no time"
        );
        Self(When::Every(period))
    }

    /// Each day when so much time has passed since midnight, by the wall clock in UTC.
    ///
    /// # Panics
    ///
    /// If that is a day or more.
    #[must_use]
    #[track_caller]
    pub fn daily_at(since_midnight: Duration) -> Self {
        assert!(
            since_midnight < DAY,
            "{since_midnight:?} after midnight is another day; give a time of day in UTC"
        );
        Self(When::DailyAt(since_midnight))
    }

    /// How long after `now` that is.
    fn delay(self, now: SystemTime) -> Duration {
        match self.0 {
            When::Every(period) => period,
            When::DailyAt(time) => {
                let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                let today = Duration::from_secs(since.as_secs() % DAY.as_secs());
                let today = today + Duration::from_nanos(u64::from(since.subsec_nanos()));
                match today < time {
                    true => time - today,
                    false => DAY - today + time,
                }
            }
        }
    }
}

/// A table that is in memory as a whole. Clones are the same table.
///
/// # Examples
///
/// ```
/// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
/// # use threads::Threads;
/// use futures_lite::future::block_on;
/// use peu_operators::{Reload, Table};
/// use std::{collections::HashMap, io, time::Duration};
///
/// let load = || async {
///     // A file or a service would be read here.
///     Ok::<_, io::Error>(HashMap::from([("UA", "United Air Lines"), ("AA", "American Airlines")]))
/// };
/// let reload = Reload::every(Duration::from_secs(3_600));
/// let airlines = block_on(Table::load(&Threads, reload, load)).unwrap();
/// assert_eq!(airlines.get(&"UA"), Some("United Air Lines"));
/// assert_eq!(airlines.get(&"ZZ"), None);
/// ```
pub struct Table<K, V>(Arc<Handle<K, V>>);

/// The last one to go ends the task.
struct Handle<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    table: Arc<HashMap<K, V>>,
    metrics: TableMetrics,
    is_over: bool,
    /// The task, while it waits.
    task: Option<Waker>,
}

/// The counters of a [`Table`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableMetrics {
    /// Tables that were loaded, the first included.
    pub loads: u64,
    /// Loads that failed, so that the old table is kept.
    pub failures: u64,
    /// Entries of the table now.
    pub entries: usize,
}

impl<K, V> Table<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Loads the table, and then keeps loading it again in a task of `runtime`.
    ///
    /// # Errors
    ///
    /// That of the first load: there is nothing to keep. Later errors, and panics, are counted; the old table is kept,
    /// and loaded again when it is time to.
    pub async fn load<R, F, Fut, E>(runtime: &R, reload: Reload, mut load: F) -> Result<Self, E>
    where
        R: Spawn + Timer,
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<K, V>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let table = load().await?;
        let metrics = TableMetrics {
            loads: 1,
            failures: 0,
            entries: table.len(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                table: Arc::new(table),
                metrics,
                is_over: false,
                task: None,
            }),
        });
        runtime.spawn(keep_loading(
            Arc::clone(&shared),
            runtime.clone(),
            reload,
            load,
        ));
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// What the table has for a key. Costs one short lock.
    pub fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.snapshot().get(key).cloned()
    }

    /// The table as it is now: for many look-ups into the same.
    #[must_use]
    pub fn snapshot(&self) -> Arc<HashMap<K, V>> {
        Arc::clone(&self.0.0.state.lock().table)
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> TableMetrics {
        self.0.0.state.lock().metrics
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Debug for Table<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl<K, V> Drop for Handle<K, V> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task
            && !twin("table-leave-unrung")
        {
            task.wake();
        }
    }
}

async fn keep_loading<K, V, R, F, Fut, E>(
    shared: Arc<Shared<K, V>>,
    timer: R,
    reload: Reload,
    mut load: F,
) where
    R: Timer,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<HashMap<K, V>, E>>,
{
    loop {
        let delay = reload.delay(SystemTime::now());
        // What no clock gets to is waited for until the table is dropped.
        let end = timer.now().checked_add(delay);
        let mut sleep = pin!(end.map(|end| timer.sleep_until(end)));
        let slept = poll_fn(|cx| match sleep.as_mut().as_pin_mut() {
            Some(sleep) => shared.poll_unless_over(sleep, cx),
            None => shared.poll_unless_over(pin!(std::future::pending()), cx),
        });
        if slept.await.is_none() {
            return;
        }
        let Ok(future) = caught(&mut load) else {
            shared.state.lock().metrics.failures += 1;
            continue;
        };
        let mut future = pin!(future);
        let mut polled = pin!(poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Result::ok),
            Err(_) => Poll::Ready(None),
        }));
        match poll_fn(|cx| shared.poll_unless_over(polled.as_mut(), cx)).await {
            None => return,
            Some(loaded) => shared.swap(loaded),
        }
    }
}

impl<K, V> Shared<K, V> {
    /// What a future gives; none once the last handle is gone.
    fn poll_unless_over<Fut: Future>(
        &self,
        future: Pin<&mut Fut>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Fut::Output>> {
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        if state.is_over {
            return Poll::Ready(None);
        }
        if twin("table-task-late") {
            drop(state);
            state = self.state.lock();
        }
        let former = state.task.replace(waker);
        drop(state);
        drop(former);
        future.poll(cx).map(Some)
    }

    /// The new table takes the place of the old one, or there is none.
    fn swap(&self, loaded: Option<HashMap<K, V>>) {
        let mut state = self.state.lock();
        let Some(table) = loaded else {
            state.metrics.failures += 1;
            return;
        };
        state.metrics.loads += 1;
        state.metrics.entries = table.len();
        let old = std::mem::replace(&mut state.table, Arc::new(table));
        drop(state);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, Reload};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_next_time_of_day_is_today_or_tomorrow() {
        let hour = Duration::from_secs(3_600);
        let reload = Reload::daily_at(3 * hour);
        let midnight = UNIX_EPOCH + 12_345 * DAY;
        for (now, delay) in [(0, 3), (2, 1), (3, 24), (4, 23), (23, 4)] {
            assert_eq!(reload.delay(midnight + now * hour), delay * hour);
        }
        let late = Duration::from_nanos(1);
        assert_eq!(reload.delay(midnight + 3 * hour - late), late);
        assert_eq!(reload.delay(midnight + 3 * hour + late), DAY - late);
    }

    #[test]
    #[should_panic(expected = "is another day")]
    fn a_time_that_no_day_has_is_refused() {
        let _ = Reload::daily_at(DAY);
    }
}
