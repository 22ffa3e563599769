//! A world in which nothing happens unless the test says so: one thread, a scripted clock, scripted requests.
#![allow(dead_code, reason = "each file of tests uses its own part of the kit")]

mod calls;
pub(crate) mod faults;
mod feed;
pub(crate) mod gate;
pub(crate) mod jobs;
pub(crate) mod lives;
pub(crate) mod marked;
mod tap;
mod world;

pub(crate) use calls::{Answer, Calls, Refused};
pub(crate) use feed::Feed;
pub(crate) use tap::Tap;
pub(crate) use world::World;

use peu_operators::{AsyncMap, AsyncOptions, StageError, StagePolicies, StreamExt as _};
use std::time::Duration;

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A stage named `stage` over a feed of numbers, whose requests are scripted, and which has run once.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) feed: Feed,
    pub(crate) calls: Calls,
    pub(crate) out: Tap<AsyncMap<u64>>,
    /// What ended the stage, once that was met behind its outputs.
    error: Option<StageError>,
}

impl Bench {
    pub(crate) fn new<P: StagePolicies<u64, u64, Refused>>(options: AsyncOptions<P>) -> Self {
        Self::with_calls(Calls::new(), options)
    }

    pub(crate) fn with_calls<P: StagePolicies<u64, u64, Refused>>(
        calls: Calls,
        options: AsyncOptions<P>,
    ) -> Self {
        let world = World::new();
        let (feed, source) = Feed::new();
        let function = {
            let calls = calls.clone();
            move |record| calls.call(record)
        };
        let out = Tap::new(source.async_map(&world, "stage", function, options));
        world.run();
        Self {
            world,
            feed,
            calls,
            out,
            error: None,
        }
    }

    /// Puts records into the input, and lets the stage run.
    pub(crate) fn push(&self, records: impl IntoIterator<Item = u64>) {
        for record in records {
            self.feed.push(record);
        }
        self.world.run();
    }

    /// Ends the input, and lets the stage run.
    pub(crate) fn end(&self) {
        self.feed.end();
        self.world.run();
    }

    /// Completes a request with ten times its record, and lets the stage run.
    pub(crate) fn complete(&self, record: u64) {
        self.answer(record, Answer::Output(10 * record));
    }

    /// Completes a request, and lets the stage run.
    pub(crate) fn answer(&self, record: u64, answer: Answer) {
        self.calls.answer(record, answer);
        self.world.run();
    }

    /// Moves the clock, and lets the stage run.
    pub(crate) fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
    }

    /// Takes one output, if there is one, and lets the stage run.
    pub(crate) fn take_one(&mut self) -> Option<u64> {
        let output = self.out.next_now()?;
        self.world.run();
        output.map_err(|error| self.error = Some(error)).ok()
    }

    /// Takes all outputs that are there, and lets the stage run.
    pub(crate) fn take_all(&mut self) -> Vec<u64> {
        let mut outputs = Vec::new();
        while let Some(output) = self.take_one() {
            outputs.push(output);
        }
        outputs
    }

    /// Takes the error that ends the stage, behind all its outputs, and sees to it that the end is the end.
    pub(crate) fn take_error(&mut self) -> StageError {
        assert_eq!(self.take_one(), None);
        let error = self.error.take().expect("an error");
        self.assert_over();
        error
    }

    /// The stage has come to its end: no output, no task, no request, no sleep.
    pub(crate) fn assert_over(&mut self) {
        assert!(self.error.is_none(), "an error that no one expects");
        assert!(self.out.is_over());
        assert!(self.out.is_over(), "polled after its end");
        assert_eq!(self.world.tasks(), 0);
        assert_eq!(self.calls.live(), [0_u64; 0]);
        assert_eq!(self.world.sleeps(), 0);
    }
}
