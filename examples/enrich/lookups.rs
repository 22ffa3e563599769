//! What the event loop looks up with: the client, and, if `--cache` asks for one, a cache in front of it.
//!
//! Without a cache both modes ask the server for the same, so that their times compare. With one, look-ups of the same key
//! that are under way at the same time make one request, and what was found, or not found, is asked for once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use peu::Handle;
use peu::operators::{Cache, CacheOptions};

use crate::clean::Flight;
use crate::client::Client;
use crate::failure::Failure;
use crate::join::{Answer, Answers, Keys};

/// The tables don't change while a job runs, so what they have not got they have not got to its end.
const MISSES: Duration = Duration::from_secs(24 * 3600);

/// Looks up what flights need.
pub(crate) struct Lookups {
    client: Arc<Client>,
    cache: Option<Cache<String, Vec<u8>, Failure>>,
}

impl Lookups {
    /// With a cache of at most so many entries, if any.
    pub(crate) fn new(client: Client, entries: Option<NonZeroUsize>) -> Lookups {
        let client = Arc::new(client);
        let cache = entries.map(|entries| {
            let options = CacheOptions::entries(entries.get()).keep_misses(MISSES);
            let client = Arc::clone(&client);
            Cache::new(&Handle::current(), options, move |key: String| {
                let client = Arc::clone(&client);
                async move { client.get(&key).await }
            })
        });
        Lookups { client, cache }
    }

    /// Look-ups that needed no request of their own.
    pub(crate) fn spared(&self) -> u64 {
        self.cache.as_ref().map_or(0, |cache| {
            let counts = cache.metrics();
            counts.hits + counts.misses - counts.loads
        })
    }

    /// The four look-ups of a flight, at the same time. The first that fails ends them all.
    pub(crate) async fn of(&self, flight: &Flight) -> Result<Answers, Failure> {
        let keys = Keys::of(flight);
        let plane = async {
            match keys.plane {
                Some(key) => self.get(key).await.map(Some),
                None => Ok(None),
            }
        };
        let of_route = future::try_zip(self.get(keys.airport), self.get(keys.airline));
        let of_day = future::try_zip(plane, self.get(keys.weather));
        let ((airport, airline), (plane, weather)) = future::try_zip(of_route, of_day).await?;
        Ok(Answers {
            plane,
            airport,
            airline,
            weather,
        })
    }

    async fn get(&self, key: String) -> Result<Answer, Failure> {
        let started = Instant::now();
        let value = match &self.cache {
            None => self.client.get(&key).await?,
            Some(cache) => {
                let found = cache.get(key.clone()).await;
                found.map_err(|shared| Failure::clone(&shared))?
            }
        };
        Ok(Answer {
            key,
            value,
            took: started.elapsed(),
        })
    }
}
