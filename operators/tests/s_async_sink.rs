//! Family S: the async sink. Its requests are scripted, and so is the clock.

mod kit;

use kit::jobs::{Log, outcome, start};
use kit::{Refused, World, ms};
use peu_operators::pipeline::{
    AsyncSink, AsyncSinkOptions, Pipeline, PipelineError, RecordTooLarge, Report, Running, every,
};
use peu_operators::{AsyncOptions, Cause, DeadLetters, Failure, Retry};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

type Answer = Result<Vec<Result<(), Refused>>, Refused>;

/// A service whose answers are scripted. Requests are numbered from 0.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<Call>>>);

struct Call {
    records: Vec<u64>,
    answer: Option<Answer>,
    waker: Option<Waker>,
    is_live: bool,
}

impl Service {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().expect("no panic is scripted under this lock")
    }

    fn call(&self, records: Vec<u64>) -> Request {
        let mut calls = self.calls();
        calls.push(Call {
            records,
            answer: None,
            waker: None,
            is_live: true,
        });
        Request(self.clone(), calls.len() - 1)
    }

    /// The records of each request that was made.
    fn made(&self) -> Vec<Vec<u64>> {
        let calls = self.calls();
        calls.iter().map(|call| call.records.clone()).collect()
    }

    /// Which requests are in flight.
    fn live(&self) -> Vec<usize> {
        let calls = self.calls();
        let live = calls.iter().enumerate().filter(|(_, call)| call.is_live);
        live.map(|(number, _)| number).collect()
    }

    fn answer(&self, request: usize, answer: Answer) {
        let mut calls = self.calls();
        calls[request].answer = Some(answer);
        let waker = calls[request].waker.clone();
        drop(calls);
        waker.into_iter().for_each(Waker::wake);
    }

    /// All records of the request are written, but for these.
    fn refuse(&self, request: usize, refused: &[u64]) {
        let records = self.calls()[request].records.clone();
        let results = records.iter().map(|record| match refused.contains(record) {
            true => Err(Refused),
            false => Ok(()),
        });
        self.answer(request, Ok(results.collect()));
    }
}

struct Request(Service, usize);

impl Future for Request {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut calls = self.0.calls();
        let call = &mut calls[self.1];
        call.waker = Some(cx.waker().clone());
        call.answer.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.calls()[self.1].is_live = false;
    }
}

/// A job from a log to an async sink, as one process runs it.
struct Process {
    world: World,
    log: Log<u64>,
    service: Service,
    running: Running,
}

impl Process {
    fn new(options: AsyncSinkOptions<u64>) -> Self {
        let (log, world, service) = (Log::new(), World::new(), Service::default());
        let job = Pipeline::source(log.reader()).sink(sink(&service, options));
        let running = start(&world, job).unwrap();
        Self {
            world,
            log,
            service,
            running,
        }
    }

    /// Goes on from a checkpoint, if there is one.
    fn restored(log: &Log<u64>, folder: &Path, options: AsyncSinkOptions<u64>) -> Self {
        let (log, world, service) = (log.clone(), World::new(), Service::default());
        let job = Pipeline::source(log.reader())
            .sink(sink(&service, options))
            .checkpoint(every(ms(100)).restore(), folder);
        let running = start(&world, job).unwrap();
        Self {
            world,
            log,
            service,
            running,
        }
    }

    fn push(&self, records: impl IntoIterator<Item = u64>) {
        records.into_iter().for_each(|record| self.log.add(record));
        self.world.run();
    }

    fn end_input(&self) {
        self.log.end();
        self.world.run();
    }

    fn advance(&self, milliseconds: u64) {
        self.world.advance(ms(milliseconds));
        self.world.run();
    }

    /// All records of the request are written.
    fn complete(&self, request: usize) {
        self.refuse(request, &[]);
    }

    fn refuse(&self, request: usize, refused: &[u64]) {
        self.service.refuse(request, refused);
        self.world.run();
    }

    fn is_running(&mut self) -> bool {
        outcome(&mut self.running).is_none()
    }

    fn end(mut self) -> Result<Report, PipelineError> {
        let end = outcome(&mut self.running).expect("it has ended");
        assert_eq!(self.world.tasks(), 0);
        assert_eq!(self.world.sleeps(), 0);
        assert_eq!(self.service.live(), [0_usize; 0]);
        end
    }
}

fn sink(service: &Service, options: AsyncSinkOptions<u64>) -> AsyncSink<u64> {
    let service = service.clone();
    AsyncSink::new("rows", move |records| service.call(records), options)
}

/// Requests of 2 records, which wait for a second at most.
fn pairs() -> AsyncSinkOptions<u64> {
    AsyncSinkOptions::new(2, ms(1_000))
}

type Letters = Arc<Mutex<Vec<Failure<u64>>>>;

fn dead_letters(options: AsyncSinkOptions<u64>) -> (AsyncSinkOptions<u64>, Letters) {
    let letters = Letters::default();
    let kept = Arc::clone(&letters);
    let policy = DeadLetters(move |letter| kept.lock().unwrap().push(letter));
    (options.on_error(policy), letters)
}

#[test]
fn s01_a_request_is_made_by_count() {
    let process = Process::new(AsyncSinkOptions::new(3, ms(1_000)));
    process.push([1, 2]);
    assert!(process.service.made().is_empty());
    process.push([3, 4]);
    assert_eq!(process.service.made(), [[1, 2, 3]]);
    process.push([5, 6, 7, 8, 9]);
    assert_eq!(process.service.made(), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
}

#[test]
fn s01_a_request_is_made_by_bytes_and_one_that_would_exceed_them_begins_the_next() {
    let options = AsyncSinkOptions::new(10, ms(1_000)).bytes(100, |size: &u64| *size);
    let process = Process::new(options);
    process.push([60, 30]);
    assert!(process.service.made().is_empty());
    process.push([20]);
    assert_eq!(process.service.made(), [[60, 30]], "20 would exceed them");
    process.push([80]);
    assert_eq!(process.service.made()[1..], [[20, 80]], "exactly 100");
    process.push([0, 500, 1]);
    assert_eq!(
        process.service.made()[2..],
        [vec![0], vec![500]],
        "too large for any is sent alone"
    );
}

#[test]
fn s01_a_request_is_made_by_age_exactly() {
    let process = Process::new(AsyncSinkOptions::new(10, ms(100)));
    process.advance(50);
    process.push([1]);
    process.advance(60);
    process.push([2]);
    process.advance(39);
    assert!(process.service.made().is_empty(), "99 ms");
    process.advance(1);
    assert_eq!(process.service.made(), [[1, 2]], "100 ms");
    process.push([3]);
    process.advance(99);
    assert_eq!(process.service.made().len(), 1);
    process.advance(1);
    assert_eq!(process.service.made()[1..], [[3]]);
}

#[test]
fn s01_requests_in_flight_are_bounded_and_a_full_buffer_takes_no_input() {
    let mut process = Process::new(pairs().in_flight(2).buffered(3));
    process.push(1..=20);
    assert_eq!(process.service.made(), [[1, 2], [3, 4]]);
    assert_eq!(process.log.position(), 7, "4 in flight, 3 buffered");
    process.advance(5_000);
    assert_eq!(process.service.live(), [0, 1], "age changes nothing");
    process.complete(1);
    assert_eq!(process.service.made()[2..], [[5, 6]]);
    assert_eq!(process.log.position(), 9);
    process.end_input();
    for request in [0, 2, 3, 4, 5, 6, 7, 8, 9] {
        assert!(process.is_running());
        assert!(process.service.live().len() <= 2);
        process.complete(request);
    }
    let sent = process.service.made().concat();
    assert_eq!(sent, (1..=20).collect::<Vec<u64>>(), "nothing is lost");
    assert_eq!(process.end().unwrap().written, 20);
}

#[test]
#[should_panic(expected = "room for more records than a request has, 2, and not for 2")]
fn s01_room_for_no_more_records_than_a_request_has_is_refused() {
    let _ = pairs().buffered(2);
}

#[test]
fn s02_failed_entries_return_to_the_head_in_their_order_after_a_back_off() {
    let options = AsyncSinkOptions::new(4, ms(1_000)).retry(Retry::fixed(ms(10)));
    let process = Process::new(options.in_flight(2));
    process.push(1..=8);
    assert_eq!(process.service.made(), [[1, 2, 3, 4], [5, 6, 7, 8]]);
    process.refuse(1, &[6, 8]);
    process.refuse(0, &[2, 4]);
    process.push([9]);
    process.advance(9);
    assert_eq!(process.service.made().len(), 2, "they back off");
    process.advance(1);
    assert_eq!(process.service.made()[2..], [vec![2, 4, 6, 8]]);
    process.advance(990);
    assert_eq!(process.service.made()[3..], [vec![9]]);
}

#[test]
fn s02_retries_stand_before_what_was_never_sent_and_count_as_buffered() {
    let options = pairs().in_flight(1).buffered(3);
    let process = Process::new(options.retry(Retry::fixed(ms(10))));
    process.push([1, 2]);
    process.refuse(0, &[1, 2]);
    process.push([3, 4, 5]);
    assert_eq!(process.log.position(), 3, "2 in back-off, and 1");
    process.advance(10);
    assert_eq!(process.service.made()[1..], [[1, 2]]);
    process.complete(1);
    assert_eq!(process.service.made()[2..], [[3, 4]]);
}

#[test]
fn s02_retries_are_bounded_for_each_record_and_back_off_longer_each_time() {
    let (options, letters) = dead_letters(pairs());
    let retry = Retry::exponential(ms(10)..ms(100)).max_retries(2);
    let process = Process::new(options.retry(retry));
    process.push([1, 2]);
    // A request that fails as a whole fails for each of its records.
    process.service.answer(0, Err(Refused));
    process.world.run();
    process.advance(10);
    process.refuse(1, &[2]);
    process.advance(19);
    assert_eq!(process.service.made(), [vec![1, 2], vec![1, 2]]);
    process.advance(1);
    assert_eq!(process.service.made()[2..], [vec![2]], "after 20 ms");
    assert!(letters.lock().unwrap().is_empty());
    process.refuse(2, &[2]);
    process.advance(10_000);
    assert_eq!(process.service.made().len(), 3);
    let letter = letters.lock().unwrap().pop().unwrap();
    assert_eq!((letter.record, letter.number, letter.attempts), (2, 2, 3));
    assert_eq!(
        (&*letter.stage, &*letter.cause.to_string()),
        ("rows", "refused")
    );
    process.end_input();
    assert_eq!(process.end().unwrap().written, 2);
}

#[test]
fn s02_without_a_policy_a_failure_ends_the_pipeline_though_its_input_is_silent() {
    let process = Process::new(pairs());
    process.push([7, 8, 9, 10]);
    process.refuse(0, &[8]);
    assert_eq!(
        process.end().unwrap_err().to_string(),
        "the sink failed: stage `rows`, record 2 (8), attempt 1: refused"
    );
}

#[test]
fn s02_a_wrong_number_of_results_is_a_failure_of_all_and_never_retried() {
    let (options, letters) = dead_letters(pairs());
    let process = Process::new(options.retry(Retry::fixed(ms(0))));
    process.push([1, 2]);
    process.service.answer(0, Ok(vec![Ok(())]));
    process.world.run();
    process.advance(10);
    assert_eq!(process.service.made().len(), 1);
    let letters = letters.lock().unwrap();
    let records: Vec<u64> = letters.iter().map(|letter| letter.record).collect();
    assert_eq!(records, [1, 2]);
    assert!(letters[0].cause.to_string().contains("had 1 results"));
}

#[test]
fn s02_a_panic_is_a_failure_of_the_records_of_its_request() {
    let (options, letters) = dead_letters(pairs());
    let (world, log, service) = (World::new(), Log::new(), Service::default());
    let calls = service.clone();
    let call = move |records: Vec<u64>| match records[0] {
        1 => panic!("scripted"),
        _ => calls.call(records),
    };
    let sink = AsyncSink::new("rows", call, options.retry(Retry::fixed(ms(0))));
    let running = start(&world, Pipeline::source(log.reader()).sink(sink)).unwrap();
    let process = Process {
        world,
        log,
        service,
        running,
    };
    process.push(1..=4);
    process.advance(10);
    assert_eq!(process.service.made(), [[3, 4]]);
    let letters = letters.lock().unwrap();
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| (letter.record, letter.cause.to_string()))
        .collect();
    let panicked = "panicked: scripted".to_owned();
    assert_eq!(letters, [(1, panicked.clone()), (2, panicked)]);
}

#[test]
fn s03_a_checkpoint_of_a_full_sink_waits_for_no_answer_and_holds_all() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new();
    let options = || {
        pairs()
            .in_flight(2)
            .buffered(3)
            .retry(Retry::fixed(ms(500)))
    };
    let first = Process::restored(&log, folder.path(), options());
    first.push(1..=4);
    first.refuse(0, &[2]);
    first.push(5..=9);
    assert_eq!(first.service.made(), [[1, 2], [3, 4], [5, 6]]);
    assert_eq!(first.log.position(), 8, "2 backs off, 7 and 8 wait: full");
    first.advance(100);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(first.service.live(), [1, 2], "nothing has ended meanwhile");
    // What comes after the checkpoint is not in it.
    first.complete(1);
    first.world.close();

    let second = Process::restored(&log, folder.path(), options().in_flight(9));
    let sent: Vec<Vec<u64>> = vec![vec![2, 3], vec![4, 5], vec![6, 7], vec![8, 9]];
    assert_eq!(second.service.made(), sent, "all but 1, in order, once");
    (0..4).for_each(|request| second.complete(request));
    second.end_input();
    second.end().unwrap();
}

#[test]
fn s03_the_number_of_failures_is_part_of_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new();
    let options = || pairs().retry(Retry::fixed(ms(500)).max_retries(1));
    let first = Process::restored(&log, folder.path(), options());
    first.push([1, 2]);
    first.refuse(0, &[2]);
    first.advance(100);
    first.world.close();

    let (options, letters) = dead_letters(options());
    let second = Process::restored(&log, folder.path(), options);
    assert_eq!(second.service.made(), [[2]], "its back-off is over");
    second.refuse(0, &[2]);
    let letters = letters.lock().unwrap();
    assert_eq!((letters[0].number, letters[0].attempts), (2, 2));
}

#[test]
fn s03_the_end_of_the_input_flushes_all_retries_included() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new();
    let options = || pairs().in_flight(1).retry(Retry::fixed(ms(10)));
    let mut process = Process::restored(&log, folder.path(), options());
    process.push(1..=3);
    process.end_input();
    process.refuse(0, &[1]);
    assert_eq!(process.service.made(), [vec![1, 2], vec![3]], "no age");
    process.complete(1);
    assert!(process.is_running(), "1 is in back-off");
    process.advance(10);
    assert_eq!(process.service.made()[2..], [vec![1]]);
    assert!(process.is_running(), "1 is in flight");
    process.complete(2);
    process.end().unwrap();

    let again = Process::restored(&log, folder.path(), options());
    assert!(again.service.made().is_empty(), "nothing is left to do");
    again.end().unwrap();
}

#[test]
fn s04_a_record_over_the_bound_is_refused_with_its_size_and_the_bound() {
    let bounded = || pairs().record_bytes(10, |size: &u64| *size);
    let process = Process::new(bounded());
    process.push([10, 11, 9]);
    let error = process.end().unwrap_err().to_string();
    let expected = "the sink failed: stage `rows`, record 2 (11), attempt 0: \
                    it has 11 bytes, and the sink takes records of at most 10";
    assert!(error.starts_with(expected), "{error}");

    let (options, letters) = dead_letters(bounded());
    let process = Process::new(options);
    process.push([10, 11, 9]);
    assert_eq!(process.service.made(), [[10, 9]], "the others are taken");
    let letter = letters.lock().unwrap().pop().unwrap();
    let Cause::Failed(error) = &letter.cause else {
        panic!("{:?}", letter.cause);
    };
    let too_large = error.downcast_ref::<RecordTooLarge>().unwrap();
    assert_eq!((too_large.size, too_large.bound), (11, 10));
}

#[test]
fn s05_a_request_without_an_answer_in_time_is_dropped_and_made_again() {
    let options = pairs().timeout(ms(50)).retry(Retry::fixed(ms(10)));
    let process = Process::new(options);
    process.push([1, 2]);
    process.advance(49);
    assert_eq!(process.service.live(), [0]);
    process.advance(1);
    assert_eq!(process.service.live(), [0_usize; 0], "it is cancelled");
    process.advance(10);
    assert_eq!(process.service.made(), [[1, 2], [1, 2]]);
    // A late answer, and for the place that the second request has now.
    process.refuse(0, &[1, 2]);
    assert_eq!(process.service.live(), [1], "it is ignored");
    process.complete(1);
    process.advance(10_000);
    assert_eq!(process.service.made().len(), 2);
    process.end_input();
    process.end().unwrap();
}

#[test]
fn s05_or_it_has_failed_if_the_policy_says_so() {
    let retry = Retry::fixed(ms(10)).when(|cause: &Cause| !matches!(cause, Cause::TimedOut(_)));
    let process = Process::new(pairs().timeout(ms(50)).retry(retry));
    process.push([1, 2]);
    process.refuse(0, &[2]);
    process.advance(10);
    assert_eq!(process.service.made()[1..], [[2]], "a failure is retried");
    process.advance(50);
    assert_eq!(
        process.end().unwrap_err().to_string(),
        "the sink failed: stage `rows`, record 2 (2), attempt 2: no result within 50ms"
    );
}

#[test]
fn s05_an_answer_that_is_there_when_the_time_is_up_wins() {
    let process = Process::new(pairs().timeout(ms(50)));
    process.push([1, 2]);
    process.world.advance(ms(50));
    process.service.refuse(0, &[]);
    process.world.run();
    process.push([3, 4]);
    // Its wake-up is still on its way.
    process.service.calls()[1].answer = Some(Ok(vec![Ok(()), Ok(())]));
    process.advance(50);
    process.end_input();
    process.end().unwrap();
}

#[test]
fn x11_an_async_sink_has_metrics_beside_those_of_stages() {
    let (options, letters) = dead_letters(pairs());
    let options = options
        .in_flight(2)
        .timeout(ms(50))
        .record_bytes(99, |n| *n);
    let process = Process::new(options.retry(Retry::fixed(ms(10)).max_retries(1)));
    let [(name, monitor)] = process.running.monitors() else {
        panic!("only the sink has any");
    };
    assert_eq!(&**name, "rows");
    let monitor = monitor.clone();
    process.push(1..=6);
    let metrics = monitor.metrics();
    assert_eq!((metrics.attempts, metrics.running), (2, 2));
    process.advance(20);
    process.refuse(0, &[2]);
    let metrics = monitor.metrics();
    assert_eq!((metrics.accepted, metrics.in_flight), (6, 5), "2 to 6");
    assert_eq!((metrics.completed, metrics.failed), (1, 0), "2 is not lost");
    assert_eq!((metrics.attempts, metrics.retries), (3, 0));
    process.complete(1);
    process.advance(10);
    let metrics = monitor.metrics();
    assert_eq!((metrics.attempts, metrics.retries), (4, 1));
    process.refuse(3, &[2]);
    let metrics = monitor.metrics();
    assert_eq!((metrics.failed, metrics.skipped), (1, 1));
    assert_eq!(metrics.dead_letters, 1);
    process.push([100, 7]);
    process.complete(2);
    process.end_input();
    process.advance(50);
    process.advance(10);
    assert_eq!(monitor.metrics().timed_out, 1);
    process.complete(5);
    let metrics = monitor.metrics();
    assert_eq!((metrics.accepted, metrics.completed), (8, 6));
    assert_eq!(
        (metrics.skipped, metrics.in_flight, metrics.running),
        (2, 0, 0)
    );
    let latencies = monitor.latencies();
    assert_eq!(latencies.count(), 7, "all that were sent");
    assert_eq!(latencies.sum(), ms(20 + 20 + 20 + 30 + 30 + 30 + 60));
    let report = process.end().unwrap();
    assert_eq!(report.stages[0].1, metrics);
    assert_eq!(letters.lock().unwrap().len(), 2);
}

#[test]
fn a_stage_with_the_name_of_the_sink_is_refused() {
    let (world, log, service) = (World::new(), Log::new(), Service::default());
    log.add(1_u64);
    let pass = |n: u64| async move { Ok::<_, Refused>(n) };
    let requests = service.clone();
    let sink = AsyncSink::new(
        "service",
        move |records: Vec<u64>| requests.call(records),
        AsyncSinkOptions::new(1, ms(100)),
    );
    let job = Pipeline::source(log.reader())
        .async_map("service", pass, AsyncOptions::ordered())
        .sink(sink);
    let error = start(&world, job).err();
    assert!(
        matches!(&error, Some(PipelineError::SameName(name)) if name == "service"),
        "{error:?}"
    );
    assert_eq!(log.polls(), 0);
}

/// As those of a stage: a delay that no clock gets to lasts until the input ends.
#[test]
fn s03_the_end_of_the_input_ends_back_offs_that_no_clock_ends() {
    let options = pairs().retry(Retry::fixed(Duration::MAX).max_retries(3));
    let mut process = Process::new(options);
    process.push([1, 2]);
    process.refuse(0, &[1]);
    process.advance(1_000_000);
    assert_eq!(process.service.made(), [[1, 2]]);
    process.end_input();
    assert_eq!(process.service.made()[1..], [[1]]);
    process.refuse(1, &[1]);
    assert_eq!(process.service.made()[2..], [[1]], "also from then on");
    assert!(process.is_running());
    process.complete(2);
    assert_eq!(process.end().unwrap().written, 2);
}

/// A request without an answer, whose `drop` panics.
struct Grudge;

impl Future for Grudge {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Answer> {
        Poll::Pending
    }
}

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("a grudge");
    }
}

/// One such panic after the other, while the first is under way, would end the process.
#[test]
fn e03_requests_that_panic_when_dropped_are_all_dropped_whoever_ends_the_job() {
    for runtime_ends in [false, true] {
        let (world, log) = (World::new(), Log::new());
        let options = AsyncSinkOptions::new(1, ms(1_000)).in_flight(4);
        let sink = AsyncSink::new("grudge", |_: Vec<u64>| Grudge, options);
        let running = start(&world, Pipeline::source(log.reader()).sink(sink)).unwrap();
        (1..=3).for_each(|record| log.add(record));
        world.run();
        let monitor = running.monitors()[0].1.clone();
        assert_eq!(monitor.metrics().running, 3);
        if runtime_ends {
            world.close();
        } else {
            drop(running);
            world.run();
            assert_eq!((monitor.metrics().running, world.tasks()), (0, 0));
        }
    }
}
