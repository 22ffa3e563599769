//! A panic in the user's code is a failure of one record, so every call into it goes through [`caught`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `user_code`; a panic comes back as its message.
///
/// `AssertUnwindSafe` holds because nothing of the stage is lent to the user's code: it can leave only its own state
/// half changed. A future that panicked is never polled again.
pub(crate) fn caught<V>(user_code: impl FnOnce() -> V) -> Result<V, String> {
    catch_unwind(AssertUnwindSafe(user_code)).map_err(message)
}

fn message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => {
            let message = payload.downcast_ref::<&'static str>();
            let message = message.map_or("its payload is no message", |message| *message);
            drop_quietly(payload);
            message.to_string()
        }
    }
}

/// A payload may panic when it is dropped, and so may that one's: it is left alone.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    dropped.unwrap_or_else(std::mem::forget);
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn the_message_of_a_panic_is_kept_whatever_its_type() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("plain")), Err::<(), _>("plain".into()));
        assert_eq!(
            caught(|| panic!("record {}", 7)),
            Err::<(), _>("record 7".into())
        );
        assert_eq!(
            caught(|| std::panic::panic_any(7)),
            Err::<(), _>("its payload is no message".into())
        );
    }
}
