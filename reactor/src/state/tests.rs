use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

struct Nothing;

impl Job for Nothing {
    fn execute(&mut self) -> crate::submit::Attempt {
        crate::submit::Attempt::Done
    }

    fn complete(self: Box<Self>) {}
}

fn key(number: usize) -> Key {
    mio::Token(number).into()
}

/// A state whose reading side was tried and would have blocked.
fn blocked() -> Arc<State> {
    let state = Arc::new(State::new());
    state
        .readiness
        .blocked(state.readiness.load(), Direction::Read);
    state
}

fn deliver(state: &Arc<State>) -> Gathered {
    let mut gathered = Gathered::default();
    state.deliver(Edge::ready(Direction::Read), &mut gathered);
    gathered
}

#[test]
fn an_event_hands_out_every_waiter_of_its_direction_once() {
    let state = blocked();
    let waker = Waker::from(Arc::new(Count::default()));
    let (mut first, mut second) = (None, None);
    assert!(state.wait(Direction::Read, &mut first, &waker).is_none());
    assert!(state.wait(Direction::Read, &mut second, &waker).is_none());
    assert!(matches!(state.poll(Direction::Read, &waker), Ok(None)));
    assert_ne!(first, second);

    assert_eq!(deliver(&state).wakers.len(), 3);
    assert!(deliver(&state).wakers.is_empty());
    assert!(state.wait(Direction::Read, &mut first, &waker).is_some());
}

#[test]
#[cfg_attr(
    miri,
    ignore = "Miri gives a waker's table of functions several addresses, so that will_wake may deny"
)]
fn waiting_again_clones_no_waker_that_is_there() {
    let state = blocked();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut entry = None;
    for _ in 0..3 {
        assert!(state.wait(Direction::Read, &mut entry, &waker).is_none());
        assert!(matches!(state.poll(Direction::Read, &waker), Ok(None)));
    }
    // The test's two, one in the future's entry and one in the shared place.
    assert_eq!(Arc::strong_count(&count), 4);
}

#[test]
fn a_forgotten_future_is_not_woken() {
    let state = blocked();
    let waker = Waker::from(Arc::new(Count::default()));
    let mut entry = None;
    assert!(state.wait(Direction::Read, &mut entry, &waker).is_none());
    state.forget(Direction::Read, entry.unwrap());
    assert!(deliver(&state).wakers.is_empty());
}

#[test]
fn an_operation_on_a_ready_source_has_to_be_announced() {
    let state = blocked();
    let refused = state.enqueue(Direction::Read, key(1), Box::new(Nothing));
    assert!(matches!(refused, Enqueued::Waiting));
    let write = state.enqueue(Direction::Write, key(2), Box::new(Nothing));
    assert!(matches!(write, Enqueued::Runnable));
}

#[test]
fn one_operation_is_performed_at_a_time_and_in_order() {
    let state = blocked();
    for number in 1..=2 {
        let enqueued = state.enqueue(Direction::Read, key(number), Box::new(Nothing));
        assert!(matches!(enqueued, Enqueued::Waiting));
    }
    assert!(state.begin(Direction::Read).is_none(), "not ready");
    assert_eq!(deliver(&state).runnable.len(), 1);

    let (first, job, seen) = state.begin(Direction::Read).unwrap();
    assert_eq!(first, key(1));
    assert!(
        state.begin(Direction::Read).is_none(),
        "another turn is at it"
    );
    assert!(deliver(&state).runnable.is_empty(), "and will look again");

    assert!(state.put_back(Direction::Read, seen, job).is_none());
    let (again, job, seen) = state
        .begin(Direction::Read)
        .expect("the event came meanwhile");
    assert_eq!(again, key(1), "it kept its place");
    assert!(state.put_back(Direction::Read, seen, job).is_none());
    assert!(state.begin(Direction::Read).is_none(), "now it blocks");
}

#[test]
fn an_operation_is_cancelled_by_exactly_one() {
    let state = blocked();
    let _ = state.enqueue(Direction::Read, key(1), Box::new(Nothing));
    assert!(matches!(
        state.cancel(Direction::Read, key(2)),
        Cancelled::Finished
    ));
    assert!(matches!(
        state.cancel(Direction::Read, key(1)),
        Cancelled::Taken(_)
    ));
    assert!(matches!(
        state.cancel(Direction::Read, key(1)),
        Cancelled::Finished
    ));
}

#[test]
fn an_operation_that_is_cancelled_while_performed_is_not_put_back() {
    let state = blocked();
    let _ = state.enqueue(Direction::Read, key(1), Box::new(Nothing));
    deliver(&state);
    let (_, job, seen) = state.begin(Direction::Read).unwrap();
    assert!(matches!(
        state.cancel(Direction::Read, key(1)),
        Cancelled::Executing
    ));
    assert!(state.put_back(Direction::Read, seen, job).is_some());
}

#[test]
fn cancelling_one_that_has_finished_leaves_the_next_alone() {
    let state = blocked();
    for number in [1, 2] {
        let _ = state.enqueue(Direction::Read, key(number), Box::new(Nothing));
    }
    deliver(&state);
    drop(state.begin(Direction::Read).unwrap());
    state.finish(Direction::Read);
    let (_, job, seen) = state.begin(Direction::Read).unwrap();
    assert!(matches!(
        state.cancel(Direction::Read, key(1)),
        Cancelled::Finished
    ));
    assert!(state.put_back(Direction::Read, seen, job).is_none());
}

#[test]
fn a_closed_state_hands_everything_out_and_refuses_what_comes() {
    let state = blocked();
    let waker = Waker::from(Arc::new(Count::default()));
    let mut entry = None;
    assert!(state.wait(Direction::Read, &mut entry, &waker).is_none());
    let _ = state.enqueue(Direction::Read, key(1), Box::new(Nothing));
    let (mut wakers, mut jobs) = (Vec::new(), Vec::new());
    state.close(&mut wakers, &mut jobs);
    assert_eq!((wakers.len(), jobs.len()), (1, 1));
    assert!(
        state
            .wait(Direction::Read, &mut entry, &waker)
            .unwrap()
            .is_gone()
    );
    let refused = state.enqueue(Direction::Read, key(2), Box::new(Nothing));
    assert!(matches!(refused, Enqueued::Refused(_)));
}

#[test]
fn an_operation_that_is_performed_while_the_reactor_closes_is_not_put_back() {
    let state = blocked();
    let _ = state.enqueue(Direction::Read, key(1), Box::new(Nothing));
    deliver(&state);
    let (_, job, seen) = state.begin(Direction::Read).unwrap();
    state.close(&mut Vec::new(), &mut Vec::new());
    assert!(state.put_back(Direction::Read, seen, job).is_some());
}

#[test]
fn the_state_of_a_source_is_small_while_one_task_waits_for_each_direction() {
    assert!(size_of::<State>() + 2 * size_of::<usize>() <= 80);
}
