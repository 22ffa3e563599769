use super::{Answer, Calls, Feed, Refused, Tap, World};
use peu_operators::{
    AsyncElements, AsyncOptions, Element, EventTime, LatencyMarker, Mark, StagePolicies,
    StreamExt as _,
};
use std::time::Instant;

pub(crate) fn watermark(millis: i64) -> Mark {
    Mark::Watermark(EventTime::from_millis(millis))
}

pub(crate) fn latency() -> Mark {
    Mark::Latency(LatencyMarker {
        born: Instant::now(),
    })
}

/// A stage over records with times, and with marks between them. The time of a record is the record.
pub(crate) struct Marked {
    pub(crate) world: World,
    pub(crate) feed: Feed<Element<u64>>,
    pub(crate) calls: Calls,
    pub(crate) out: Tap<AsyncElements<u64>>,
}

impl Marked {
    pub(crate) fn new<P: StagePolicies<u64, u64, Refused>>(options: AsyncOptions<P>) -> Self {
        let (world, calls) = (World::new(), Calls::new());
        let (feed, source) = Feed::new();
        let function = {
            let calls = calls.clone();
            move |record| calls.call(record)
        };
        let out = Tap::new(source.async_map_elements(&world, "stage", function, options));
        world.run();
        Self {
            world,
            feed,
            calls,
            out,
        }
    }

    pub(crate) fn push(&self, record: u64) {
        let time = EventTime::from_millis(record as i64);
        self.feed.push(Element::Record(record, Some(time)));
        self.world.run();
    }

    pub(crate) fn mark(&self, mark: Mark) {
        self.feed.push(Element::Mark(mark));
        self.world.run();
    }

    /// Records are numbers; `0` stands for a watermark, each later than the one before.
    pub(crate) fn script(&self, script: &[u64]) {
        let mut watermarks = 0;
        for step in script {
            match step {
                0 => {
                    watermarks += 1;
                    self.mark(watermark(watermarks));
                }
                record => self.push(*record),
            }
        }
    }

    /// Completes a request with ten times its record, and lets the stage run.
    pub(crate) fn complete(&self, record: u64) {
        self.calls.answer(record, Answer::Output(10 * record));
        self.world.run();
    }

    /// Takes all that is there.
    pub(crate) fn take_elements(&mut self) -> Vec<Element<u64>> {
        let mut taken = Vec::new();
        while let Some(element) = self.out.next_now() {
            taken.push(element.expect("no failure is scripted"));
            self.world.run();
        }
        taken
    }

    /// Takes all that is there: `r2` is the output of record 2, `W1` the first watermark.
    pub(crate) fn take(&mut self) -> String {
        let shown = self
            .take_elements()
            .into_iter()
            .map(|element| match element {
                Element::Record(output, time) => {
                    let record = output / 10;
                    let expected = EventTime::from_millis(record as i64);
                    assert_eq!(time, Some(expected), "an output has its record's time");
                    format!("r{record}")
                }
                Element::Mark(Mark::Watermark(time)) => format!("W{}", time.as_millis()),
                Element::Mark(Mark::Idle) => "idle".to_owned(),
                Element::Mark(Mark::Active) => "active".to_owned(),
                Element::Mark(Mark::Latency(_)) => "latency".to_owned(),
                other => format!("{other:?}"),
            });
        shown.collect::<Vec<_>>().join(" ")
    }
}
