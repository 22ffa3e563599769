//! What a request of an async sink comes down to: for each of its records, whether it was written, and if not, why.

use crate::error::{BoxError, Cause};
use crate::flight::BoxFuture;
use std::error::Error;
use std::sync::Arc;

/// For each record of a request, whether it was written.
pub(super) type Answers = Vec<Result<(), Cause>>;

/// The function, whatever its types are.
pub(super) type Call<T> = dyn FnMut(Vec<T>) -> BoxFuture<Answers> + Send;

/// An error is shared by all records of its request, so each has an `Arc` of it, whatever it is about.
pub(super) fn answers<E>(answered: Result<Vec<Result<(), E>>, E>, count: usize) -> Answers
where
    E: Error + Send + Sync + 'static,
{
    let cause = |error: Arc<E>| Cause::Failed(BoxError::from(error));
    match answered {
        Ok(results) => {
            assert!(
                results.len() == count,
                "a request with {count} records had {} results: the function must give one for each, in their order",
                results.len()
            );
            let results = results.into_iter();
            results
                .map(|result| result.map_err(|error| cause(Arc::new(error))))
                .collect()
        }
        Err(error) => {
            let error = Arc::new(error);
            (0..count).map(|_| Err(cause(Arc::clone(&error)))).collect()
        }
    }
}

/// The function, or its future, panicked with this message.
pub(super) fn panicked(count: usize, message: &str) -> Answers {
    (0..count)
        .map(|_| Err(Cause::Panicked(message.to_owned())))
        .collect()
}
