//! Every order of steps on one thread, and many orders on several.

use super::*;

/// One step in the life of a task's references; every order of them must drop everything once.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Run,
    Wake,
    DropWaker,
    DropHandle,
    DropAbortHandle,
    Abort,
    Join,
    Shutdown,
}

const STEPS: [Step; 8] = [
    Step::Run,
    Step::Wake,
    Step::DropWaker,
    Step::DropHandle,
    Step::DropAbortHandle,
    Step::Abort,
    Step::Join,
    Step::Shutdown,
];

/// Calls `visit` with every order of `STEPS` (under Miri, which is slow: with one in 997 of them).
fn permutations(visit: &mut dyn FnMut(&[Step])) {
    fn recurse(steps: &mut [Step; 8], from: usize, visit: &mut dyn FnMut(&[Step])) {
        if from == steps.len() {
            return visit(steps);
        }
        for other in from..steps.len() {
            steps.swap(from, other);
            recurse(steps, from + 1, visit);
            steps.swap(from, other);
        }
    }
    let mut index = 0;
    let every = if cfg!(miri) { 997 } else { 1 };
    recurse(&mut STEPS.clone(), 0, &mut |steps| {
        if index % every == 0 {
            visit(steps);
        }
        index += 1;
    });
}

#[test]
fn every_order_of_steps_drops_future_and_result_once() {
    permutations(&mut |steps| {
        for scheduler in [TestScheduler::new(), TestScheduler::listing_at_rest()] {
            let (futures, results) = (Counter::default(), Counter::default());
            let slot = WakerSlot::default();
            let (future, output) = (futures.token(), results.token());
            let wait = after_polls(1, &slot);
            let handle = scheduler.spawn(async move {
                let _future = future;
                wait.await;
                output
            });
            let mut abort_handle = Some(handle.abort_handle());
            let mut handle = Some(handle);
            // The first poll, so that there is a waker; the steps begin with the task at rest.
            scheduler.run_all();
            let mut waker = Some(slot.take());
            for step in steps {
                match step {
                    Step::Run => scheduler.run_all(),
                    Step::Wake => waker.iter().for_each(Waker::wake_by_ref),
                    Step::DropWaker => waker = None,
                    Step::DropHandle => handle = None,
                    Step::DropAbortHandle => abort_handle = None,
                    Step::Abort => abort_handle.iter().for_each(AbortHandle::abort),
                    Step::Join => {
                        // A poll after the result was returned panics; here each handle is joined once.
                        let _ = handle.as_mut().map(poll_once);
                    }
                    Step::Shutdown => scheduler.shutdown(),
                }
            }
            drop(slot);
            assert_eq!(futures.get(), 1, "{steps:?}");
            assert_eq!(results.get(), 1, "{steps:?}");
            assert_eq!(scheduler.alive(), 0, "{steps:?}");
            assert_eq!(scheduler.holders(), 1, "{steps:?}");
        }
    });
}

#[test]
fn threads_wake_run_abort_and_drop_at_once() {
    let rounds = if cfg!(miri) { 20 } else { 2_000 };
    for round in 0..rounds {
        let scheduler = match round % 2 {
            0 => TestScheduler::new(),
            _ => TestScheduler::listing_at_rest(),
        };
        let drops = Counter::default();
        let slot = WakerSlot::default();
        let (token, wait) = (drops.token(), after_polls(2, &slot));
        let handle = scheduler.spawn(async move {
            let _token = token;
            wait.await;
        });
        scheduler.run_one();
        let waker = slot.take();
        let abort_handle = handle.abort_handle();
        std::thread::scope(|scope| {
            scope.spawn(|| scheduler.run_all());
            scope.spawn(|| scheduler.run_all());
            scope.spawn(move || waker.wake());
            scope.spawn(move || match round % 3 {
                0 => abort_handle.abort(),
                1 => abort_handle.cancel_now(),
                _ => drop(abort_handle),
            });
            scope.spawn(move || drop(handle));
        });
        scheduler.shutdown();
        drop(slot);
        assert_eq!((drops.get(), scheduler.holders()), (1, 1));
    }
}
