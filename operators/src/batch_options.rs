//! When a batch is full.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::time::Duration;

/// The options of a [`Batcher`](crate::Batcher): how many records a batch has at most, and how old it gets.
///
/// # Examples
///
/// ```
/// use peu_operators::BatchOptions;
/// use std::time::Duration;
///
/// let options = BatchOptions::new(50, Duration::from_millis(100))
///     .bytes(64 << 10, |line: &String| line.len() as u64)
///     .distinct_by(|line: &String| line.clone());
/// ```
#[must_use = "options do nothing until a batcher is made with them"]
pub struct BatchOptions<T> {
    pub(crate) count: usize,
    pub(crate) age: Duration,
    pub(crate) bytes: Option<(u64, Box<Size<T>>)>,
    pub(crate) seen: Option<Box<dyn Seen<T>>>,
}

pub(crate) type Size<T> = dyn Fn(&T) -> u64 + Send + Sync;

impl<T: 'static> BatchOptions<T> {
    /// A batch is asked for when it has `count` records, or when its first has waited for `age`, whichever comes first. The end of a
    /// stage's input is no reason: the last batch waits for its age, for ever if no clock gets there.
    ///
    /// A stage should have a capacity of at least `count`, better of several times as much: what waits in a batch takes
    /// a place, so a smaller stage always waits for the age.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[track_caller]
    pub fn new(count: usize, age: Duration) -> Self {
        assert!(count > 0, "a batch must have at least 1 record");
        Self {
            count,
            age,
            bytes: None,
            seen: None,
        }
    }

    /// Nor has a batch more than so many bytes, by a size of yours. A record that would exceed them begins the next one;
    /// one that is larger by itself is asked for alone.
    pub fn bytes<F>(mut self, most: u64, size: F) -> Self
    where
        F: Fn(&T) -> u64 + Send + Sync + 'static,
    {
        self.bytes = Some((most, Box::new(size)));
        self
    }

    /// Records with equal keys are asked for once in each batch, by the first of them; all get its answer.
    pub fn distinct_by<K, F>(mut self, key: F) -> Self
    where
        K: Hash + Eq + Send + 'static,
        F: Fn(&T) -> K + Send + 'static,
    {
        let places = HashMap::new();
        self.seen = Some(Box::new(SeenKeys { key, places }));
        self
    }
}

impl<T> Debug for BatchOptions<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOptions")
            .field("count", &self.count)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

/// The keys that a batch has seen, and where.
pub(crate) trait Seen<T>: Send {
    /// Where a record with this key is; at `next`, if there was none.
    fn place(&mut self, record: &T, next: usize) -> usize;

    /// The next batch begins.
    fn clear(&mut self);
}

struct SeenKeys<K, F> {
    key: F,
    places: HashMap<K, usize>,
}

impl<T, K, F> Seen<T> for SeenKeys<K, F>
where
    K: Hash + Eq + Send,
    F: Fn(&T) -> K + Send,
{
    fn place(&mut self, record: &T, next: usize) -> usize {
        *self.places.entry((self.key)(record)).or_insert(next)
    }

    fn clear(&mut self) {
        self.places.clear();
    }
}
