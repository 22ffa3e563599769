//! Keyed reduce: what the records of a key come to so far, anew with each of them.

use super::metrics::Tally;
use super::opening::{Opening, name_of};
use super::operator::{Ask, Operator, Step};
use super::state::save;
use super::{Keyed, Pipeline};
use crate::element::{Element, Mark};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

impl<O: Operator, F> Keyed<O, F> {
    /// A rolling reduce: `function` adds a record to what those of its key came to before it, and the outcome leaves in the
    /// record's place, with its event time. The first record of a key leaves as it is.
    ///
    /// What each key has come to is part of a checkpoint. Memory: one record for each key that ever came, for the whole
    /// life of the job; where keys have no end, [`aggregate`](Keyed::aggregate) forgets them. Time: logarithmic in the number of keys.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod threads { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/threads.rs")); }
    /// # use threads::Threads;
    /// use futures_lite::future::block_on;
    /// use peu_operators::pipeline::{Pipeline, collect, iterate};
    ///
    /// let (sink, balances) = collect();
    /// let payments = [("ann", 5), ("bob", 7), ("ann", -2)].map(|(who, sum)| (who.to_owned(), sum));
    /// let running = Pipeline::source(iterate(payments))
    ///     .key_by(|(who, _): &(String, i32)| who.clone())
    ///     .reduce(|balance, (_, sum)| balance.1 += sum)
    ///     .map(|(_, balance)| balance);
    /// block_on(running.sink(sink).run_on(&Threads))?;
    /// assert_eq!(balances.take(), [5, 7, 3]);
    /// # Ok::<(), peu_operators::pipeline::PipelineError>(())
    /// ```
    pub fn reduce<K, G>(self, function: G) -> Pipeline<Reduce<O, F, K, G>>
    where
        O::Item: Clone + Serialize + DeserializeOwned,
        F: FnMut(&O::Item) -> K + Send + 'static,
        K: Ord + Serialize + DeserializeOwned + Send + 'static,
        G: FnMut(&mut O::Item, O::Item) + Send + 'static,
    {
        let key = self.key;
        self.pipeline.then(|input| Reduce {
            input,
            key,
            function,
            name: None,
            so_far: BTreeMap::new(),
            tally: Tally::new(),
        })
    }
}

/// What [`Keyed::reduce`] makes.
pub struct Reduce<O: Operator, F, K, G> {
    input: O,
    key: F,
    function: G,
    name: Option<Arc<str>>,
    so_far: BTreeMap<K, O::Item>,
    tally: Tally,
}

impl<O, F, K, G> Reduce<O, F, K, G>
where
    O: Operator<Item: Clone>,
    F: FnMut(&O::Item) -> K,
    K: Ord,
    G: FnMut(&mut O::Item, O::Item),
{
    fn add(&mut self, record: O::Item) -> O::Item {
        let outcome = match self.so_far.entry((self.key)(&record)) {
            Entry::Vacant(first) => first.insert(record).clone(),
            Entry::Occupied(so_far) => {
                let so_far = so_far.into_mut();
                (self.function)(so_far, record);
                so_far.clone()
            }
        };
        self.tally.through(1);
        self.tally.holds(self.so_far.len());
        outcome
    }
}

impl<O, F, K, G> Operator for Reduce<O, F, K, G>
where
    O: Operator<Item: Clone + Serialize + DeserializeOwned>,
    F: FnMut(&O::Item) -> K + Send + 'static,
    K: Ord + Serialize + DeserializeOwned + Send + 'static,
    G: FnMut(&mut O::Item, O::Item) + Send + 'static,
{
    type Item = O::Item;

    fn open(&mut self, opening: &mut Opening) {
        self.input.open(opening);
        let what = format!("{} by {}, reduced", name_of::<O::Item>(), name_of::<K>());
        let name = opening.enter_unnamed("reduce", what);
        self.so_far = opening.state(&name).unwrap_or_default();
        opening.tally(&name, &self.tally);
        self.tally.holds(self.so_far.len());
        self.name = Some(name);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, ask: Ask) -> Poll<Step<O::Item>> {
        let step = ready!(self.input.poll_next(cx, ask));
        Poll::Ready(step.map(|element| match element? {
            Element::Record(record, time) => Ok(Element::Record(self.add(record), time)),
            Element::Mark(mark) => {
                save(&mark, self.name.as_ref(), &self.so_far)?;
                if let Mark::Watermark(time) = mark {
                    self.tally.watermark(time);
                }
                Ok(Element::Mark(mark))
            }
        }))
    }
}
