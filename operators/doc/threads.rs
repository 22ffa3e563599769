use peu_operators::{Offload, Spawn, Timer};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Instant,
};

#[derive(Clone)]
pub struct Threads;

impl Spawn for Threads {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        thread::spawn(move || futures_lite::future::block_on(task));
    }
}

impl Offload for Threads {
    fn offload<F: FnOnce() + Send + 'static>(&self, job: F) {
        thread::spawn(job);
    }
}

impl Timer for Threads {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(deadline)
    }
}

pub struct Sleep(Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        thread::spawn(move || {
            thread::sleep(left);
            waker.wake();
        });
        Poll::Pending
    }
}
