//! Pipelines: how they begin, flow, and end. Rows a07, a09, a11, a12 and e02 through a whole pipeline.

mod kit;

use futures_lite::future::block_on;
use kit::jobs::{Disk, Log, outcome, start};
use kit::{Answer, Calls, World, ms};
use peu_operators::pipeline::{
    Operator, Pipeline, PipelineError, Running, Watermarks, Windows, collect, every, for_each,
    generate, iterate,
};
use peu_operators::{AsyncOptions, EventTime, OnError};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how many commits the sink made, without checkpoints: one, at the end.
#[test]
fn operators_are_one_after_the_other_and_the_sink_commits_at_the_end() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let seen = Arc::new(AtomicUsize::new(0));
    let job = Pipeline::source(log.reader())
        .map(|n: u64| n + 1)
        .filter(|n| n % 2 == 0)
        .flat_map(|n| [n, 10 * n])
        .inspect({
            let seen = Arc::clone(&seen);
            move |_| {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        })
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    for n in 1..=4 {
        log.add(n);
        world.run();
    }
    assert_eq!(disk.written(), [2, 20, 4, 40]);
    assert_eq!(
        disk.visible(),
        [0_u64; 0],
        "nothing is visible before the end"
    );
    assert!(outcome(&mut running).is_none());
    log.end();
    world.run();
    let report = outcome(&mut running).unwrap().unwrap();
    assert_eq!((report.written, report.checkpoints), (4, 0));
    assert_eq!(disk.visible(), [2, 20, 4, 40]);
    assert_eq!(disk.commits(), 1);
    assert_eq!(seen.load(Ordering::Relaxed), 4);
    assert_eq!(world.tasks(), 0);
}

#[test]
fn a09_downstream_is_ready_before_upstream_starts() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let (first, second) = (Calls::new(), Calls::new());
    (1..=3).for_each(|n: u64| log.add(n));
    let (f, g) = (first.clone(), second.clone());
    let job = Pipeline::source(log.reader())
        .async_map(
            "first",
            move |n| f.call(n),
            AsyncOptions::key_ordered(|n: &u64| *n),
        )
        .async_map("second", move |n| g.call(n), AsyncOptions::ordered())
        .sink(disk.sink());
    assert_eq!(
        (log.polls(), disk.opened()),
        (0, 0),
        "a pipeline is only a plan"
    );
    let running = futures_lite::future::block_on(job.start(&world)).unwrap();
    assert_eq!(disk.opened(), 1);
    assert_eq!(
        log.polls(),
        0,
        "the sink is open, the stages are there, and no record was read"
    );
    world.run();
    assert_eq!(first.made(), [1, 2, 3]);
    for n in [2, 3, 1] {
        first.answer(n, Answer::Output(n));
        world.run();
    }
    assert_eq!(second.made(), [2, 3, 1]);
    assert_eq!(running.monitors().len(), 2);
    drop(running);
}

/// A record is its time, and has as many outputs as its last digit says; every other is waited for.
#[test]
fn a07_all_outputs_of_a_record_have_its_time() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let world = World::new();
        let outputs = |n: u64| async move {
            if n % 2 == 1 {
                futures_lite::future::yield_now().await;
            }
            Ok::<_, Infallible>(vec![n / 10; (n % 10) as usize])
        };
        let (sink, counts) = collect();
        let job = Pipeline::source(iterate([2_u64, 13, 10, 21, 35, 40]))
            .event_time(
                |n: &u64| EventTime::from_millis(*n as i64),
                Watermarks::ascending().every(ms(0)),
            )
            .async_flat_map("flat", outputs, options)
            .key_by(|tens| *tens)
            .aggregate(
                Windows::tumbling(ms(10)),
                |count: &mut u64, _| *count += 1,
                |late| panic!("{late} is late"),
            )
            .map(|window| (window.start.as_millis(), window.key, window.value))
            .sink(sink);
        let mut running = start(&world, job).unwrap();
        outcome(&mut running).unwrap().unwrap();
        assert_eq!(
            counts.take(),
            [(0, 0, 2), (10, 1, 3), (20, 2, 1), (30, 3, 5)]
        );
    }
}

#[test]
fn a10_the_end_of_input_drains_every_stage() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let calls = Calls::new();
    let f = calls.clone();
    (1..=3).for_each(|n: u64| log.add(n));
    log.end();
    let job = Pipeline::source(log.reader())
        .async_map("stage", move |n| f.call(n), AsyncOptions::unordered())
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    for n in [3, 1, 2] {
        assert!(outcome(&mut running).is_none());
        calls.answer(n, Answer::Output(n));
        world.run();
    }
    let report = outcome(&mut running).unwrap().unwrap();
    assert_eq!(report.written, 3);
    assert_eq!(&*report.stages[0].0, "stage");
    assert_eq!(report.stages[0].1.completed, 3);
    assert_eq!(disk.visible(), [3, 1, 2]);
    assert_eq!((world.tasks(), world.sleeps()), (0, 0));
}

#[test]
fn a11_dropping_a_running_job_stops_every_task_and_request() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let calls = Calls::new();
    let f = calls.clone();
    (1..=3).for_each(|n: u64| log.add(n));
    let folder = tempfile::tempdir().unwrap();
    let job = Pipeline::source(log.reader())
        .async_map(
            "stage",
            move |n| f.call(n),
            AsyncOptions::unordered().timeout(ms(1_000)),
        )
        .parallelism(2, |lane| lane)
        .sink(disk.sink())
        .checkpoint(every(ms(100)), folder.path());
    let running = start(&world, job).unwrap();
    assert_eq!(calls.live(), [1, 2, 3]);
    drop(running);
    world.run();
    assert_eq!(calls.live(), [0_u64; 0]);
    assert_eq!((world.tasks(), world.sleeps()), (0, 0));
    assert_eq!(disk.visible(), [0_u64; 0]);
    assert!(disk.aborted());
}

#[test]
fn a12_a_sink_that_stalls_holds_the_source_up_and_loses_nothing() {
    let (world, log) = (World::new(), Log::new());
    let calls = Calls::new();
    let f = calls.clone();
    (1..=100).for_each(|n: u64| log.add(n));
    log.end();
    let (out, taken) = collect();
    let gate = Calls::new();
    let g = gate.clone();
    // The second stage has room for one record, so it stands for the sink that stalls.
    let job = Pipeline::source(log.reader())
        .async_map(
            "first",
            move |n| f.call(n),
            AsyncOptions::ordered().capacity(4),
        )
        .async_map(
            "gate",
            move |n| g.call(n),
            AsyncOptions::ordered().capacity(1),
        )
        .sink(out);
    let mut running = start(&world, job).unwrap();
    (1..=100).for_each(|n| calls.answer(n, Answer::Output(n)));
    world.run();
    // Four in the first stage, one in the gate, and one that each looks ahead for marks.
    assert!(calls.made().len() <= 7, "{:?}", calls.made());
    for n in 1..=100 {
        gate.answer(n, Answer::Output(n));
        world.run();
    }
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 100);
    assert_eq!(taken.take(), (1..=100).collect::<Vec<u64>>());
}

#[test]
fn e02_a_failing_stage_ends_the_pipeline_and_is_named_with_its_record() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let calls = Calls::new();
    let f = calls.clone();
    let pass = |n: u64| async move { Ok::<_, Infallible>(n) };
    let job = Pipeline::source(log.reader())
        .async_map("before", pass, AsyncOptions::ordered())
        .async_map("look up", move |n| f.call(n), AsyncOptions::ordered())
        .async_map("behind", pass, AsyncOptions::unordered())
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    (1..=4).for_each(|n: u64| log.add(n));
    world.run();
    calls.answer(2, Answer::Refused);
    world.run();
    assert!(outcome(&mut running).is_none(), "1 is before it");
    calls.answer(1, Answer::Output(10));
    world.run();
    let error = outcome(&mut running).unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `look up`, record 2 (2), attempt 1: refused"
    );
    let PipelineError::Stage(error) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (error.stage(), error.record(), error.attempt()),
        ("look up", Some(2), Some(1))
    );
    assert_eq!(disk.written(), [10], "what was before it went on");
    assert_eq!(disk.visible(), [0_u64; 0], "and was not committed");
    assert!(disk.aborted());
    assert_eq!((world.tasks(), calls.live()), (0, vec![]));
}

#[test]
fn e02_a_failure_in_one_lane_ends_all() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let calls = Calls::new();
    let job = Pipeline::source(log.reader())
        .key_by(|n: &u64| n % 2)
        .parallelism(2, |lane| {
            let f = calls.clone();
            lane.async_map("look up", move |n| f.call(n), AsyncOptions::unordered())
        })
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    (1..=4).for_each(|n: u64| log.add(n));
    world.run();
    assert_eq!(calls.live().len(), 4);
    calls.answer(2, Answer::Refused);
    world.run();
    let error = outcome(&mut running).unwrap().unwrap_err().to_string();
    assert!(error.starts_with("stage `lane "), "{error}");
    assert!(error.ends_with(" (2), attempt 1: refused"), "{error}");
    assert_eq!((world.tasks(), calls.live()), (0, vec![]));
}

#[test]
fn e02_a_panic_anywhere_ends_the_pipeline_with_its_message() {
    type Broken = fn(&World) -> Result<peu_operators::pipeline::Running, PipelineError>;
    fn numbers() -> Pipeline<impl peu_operators::pipeline::Operator<Item = u64>> {
        Pipeline::source(iterate(0..3_u64))
    }
    let broken: [(&str, Broken); 6] = [
        ("source", |world| {
            start(
                world,
                Pipeline::source(generate(|_| -> Option<u64> { panic!("source") }))
                    .sink(collect().0),
            )
        }),
        ("map", |world| {
            start(
                world,
                numbers()
                    .map(|_| -> u64 { panic!("map") })
                    .sink(collect().0),
            )
        }),
        ("before a stage", |world| {
            let pass = |n: u64| async move { Ok::<_, Infallible>(n) };
            let job = numbers().inspect(|_| panic!("before a stage"));
            start(
                world,
                job.async_map("stage", pass, AsyncOptions::ordered())
                    .sink(collect().0),
            )
        }),
        ("key", |world| {
            let keyed = numbers().key_by(|_| -> u64 { panic!("key") });
            start(world, keyed.parallelism(2, |lane| lane).sink(collect().0))
        }),
        ("event time", |world| {
            let timed = numbers().event_time(|_| panic!("event time"), Watermarks::ascending());
            start(world, timed.sink(collect().0))
        }),
        ("sink", |world| {
            start(
                world,
                numbers().sink(for_each(
                    |_| -> std::future::Ready<Result<(), Infallible>> { panic!("sink") },
                )),
            )
        }),
    ];
    for (message, broken) in broken {
        let world = World::new();
        let mut running = broken(&world).unwrap();
        let error = outcome(&mut running).expect("it ends").unwrap_err();
        assert!(
            error.to_string().ends_with(&format!("panicked: {message}")),
            "{error}"
        );
        assert_eq!(world.tasks(), 0, "{message}");
    }
}

#[test]
fn e02_a_failing_sink_ends_the_pipeline() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let mut running = start(&world, Pipeline::source(log.reader()).sink(disk.sink())).unwrap();
    log.add(1_u64);
    world.run();
    disk.fail_next_write();
    log.add(2);
    world.run();
    let error = outcome(&mut running).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the sink failed: no space is left");
    assert!(disk.aborted());
    assert_eq!(world.tasks(), 0);
}

#[test]
fn e02_a_runtime_that_ends_first_is_an_error_and_no_hang() {
    let (world, log, disk) = (World::new(), Log::<u64>::new(), Disk::new());
    let mut running = start(&world, Pipeline::source(log.reader()).sink(disk.sink())).unwrap();
    world.close();
    let error = outcome(&mut running).unwrap().unwrap_err();
    assert!(matches!(error, PipelineError::Cancelled), "{error}");
}

#[test]
fn e02_a_runtime_that_drops_any_one_task_never_makes_a_part_of_the_output_pass_for_all() {
    let tasks = 5;
    for dropped in 0..tasks {
        let (world, log, disk) = (World::new(), Log::new(), Disk::new());
        let folder = tempfile::tempdir().unwrap();
        let pass = |n: u64| async move { Ok::<_, Infallible>(n) };
        let job = Pipeline::source(log.reader())
            .parallelism(2, |lane| {
                lane.async_map("pass", pass, AsyncOptions::ordered())
            })
            .sink(disk.sink())
            .checkpoint(every(ms(100)).restore(), folder.path());
        let mut running = start(&world, job).unwrap();
        (1..=4).for_each(|n: u64| log.add(n));
        world.run();
        assert_eq!(world.tasks(), tasks, "router, lanes, sink, checkpoints");
        world.drop_task(dropped);
        world.run();
        (5..=8).for_each(|n| log.add(n));
        log.end();
        world.run();
        match outcome(&mut running).expect("it ends") {
            Ok(report) => assert_eq!((report.written, disk.visible().len()), (8, 8)),
            Err(error) => assert_eq!(disk.visible().len(), 0, "{error}"),
        }
    }
}

#[test]
fn a11_dropping_a_job_whose_sink_hangs_stops_it() {
    let (world, log) = (World::new(), Log::new());
    log.add(1_u64);
    let hangs = |_| std::future::pending::<Result<(), Infallible>>();
    let calls = Calls::new();
    let f = calls.clone();
    let job = Pipeline::source(log.reader())
        .async_map("stage", move |n| f.call(n), AsyncOptions::ordered())
        .sink(for_each(hangs));
    let running = start(&world, job).unwrap();
    log.add(2);
    calls.answer(1, Answer::Output(1));
    world.run();
    assert_eq!((world.tasks(), calls.live()), (2, vec![2]));
    drop(running);
    world.run();
    assert_eq!((world.tasks(), calls.live()), (0, vec![]));
}

#[test]
fn an_operator_that_gives_nothing_for_its_records_lets_other_tasks_run() {
    fn records(seen: &Arc<AtomicUsize>) -> Pipeline<impl Operator<Item = u64>> {
        let seen = Arc::clone(seen);
        // One that never rests would take them all.
        Pipeline::source(iterate(0..100_000)).inspect(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        })
    }
    type Barren = fn(&World, &Arc<AtomicUsize>) -> Running;
    let begin = |job: usize| -> Barren {
        match job {
            0 => |world, seen| {
                let job = records(seen).filter(|_| false).sink(collect().0);
                block_on(job.start(world)).unwrap()
            },
            1 => |world, seen| {
                let job = records(seen).flat_map(|_| None::<u64>).sink(collect().0);
                block_on(job.start(world)).unwrap()
            },
            _ => |world, seen| {
                let times = |n: &u64| EventTime::from_millis(*n as i64);
                let hours = Windows::tumbling(ms(3_600_000));
                let job = records(seen).event_time(times, Watermarks::ascending());
                let job = job
                    .key_by(|_| 0_u8)
                    .aggregate(hours, |sum: &mut u64, n| *sum += n, drop);
                block_on(job.sink(collect().0).start(world)).unwrap()
            },
        }
    };
    for job in 0..3 {
        let (world, seen) = (World::new(), Arc::new(AtomicUsize::new(0)));
        let mut running = begin(job)(&world, &seen);
        assert!(world.poll_one());
        assert!(seen.load(Ordering::Relaxed) < 20_000);
        world.run();
        outcome(&mut running).expect("it ends").unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 100_000);
    }
}

#[test]
fn two_stages_of_one_name_are_refused_before_anything_begins() {
    let (world, log, disk) = (World::new(), Log::new(), Disk::new());
    let pass = |n: u64| async move { Ok::<_, Infallible>(n) };
    let job = Pipeline::source(log.reader())
        .async_map("same", pass, AsyncOptions::ordered())
        .async_map("same", pass, AsyncOptions::ordered())
        .sink(disk.sink());
    let error = start(&world, job).err().unwrap();
    assert!(
        matches!(&error, PipelineError::SameName(name) if name == "same"),
        "{error}"
    );
    assert_eq!((log.polls(), disk.opened(), world.tasks()), (0, 0, 0));
}

#[test]
fn records_of_a_key_have_one_lane_and_keep_their_order() {
    let (world, disk) = (World::new(), Disk::new());
    let job = Pipeline::source(iterate(0..1_000_u64))
        .key_by(|n| n % 10)
        .parallelism(3, |lane| {
            let double = |n: u64| async move {
                // Every other one has to wait.
                if n.is_multiple_of(2) {
                    futures_lite::future::yield_now().await;
                }
                Ok::<_, Infallible>(n)
            };
            lane.async_map("double", double, AsyncOptions::ordered().capacity(7))
        })
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 1_000);
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for n in disk.visible() {
        by_key.entry(n % 10).or_default().push(n);
    }
    assert_eq!(by_key.len(), 10);
    for (key, numbers) in by_key {
        assert_eq!(numbers, (0..100).map(|n| 10 * n + key).collect::<Vec<_>>());
    }
}

#[test]
fn lanes_in_turn_share_the_work() {
    let (world, disk) = (World::new(), Disk::new());
    let mut lanes = 0;
    let job = Pipeline::source(iterate(0..100_u64))
        .parallelism(4, |lane| {
            lanes += 1;
            let this = lanes;
            lane.map(move |_| this)
        })
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 100);
    for lane in 1..=4 {
        let share = disk.visible().into_iter().filter(|n| *n == lane).count();
        assert_eq!(share, 25, "lane {lane}");
    }
}

/// Shows what an unordered stage lets pass before `0` is done: only what no watermark keeps back.
struct Gate {
    calls: Calls,
    disk: Disk<u64>,
}

#[test]
fn watermarks_come_from_the_highest_time_less_the_disorder_and_now_and_then() {
    let (world, log) = (World::new(), Log::new());
    let gate = Gate {
        calls: Calls::new(),
        disk: Disk::new(),
    };
    let f = gate.calls.clone();
    let time_of = |n: &u64| EventTime::from_millis(*n as i64);
    let job = Pipeline::source(log.reader())
        .event_time(time_of, Watermarks::bounded(ms(10)).every(ms(200)))
        .async_map("gate", move |n| f.call(n), AsyncOptions::unordered())
        .sink(gate.disk.sink());
    let _running = start(&world, job).unwrap();
    let add = |n: u64| {
        log.add(n);
        world.run();
    };
    let done = |n: u64| {
        gate.calls.answer(n, Answer::Output(n));
        world.run();
        gate.disk.written()
    };
    add(1);
    add(2);
    assert_eq!(done(2), [2], "no watermark is between them yet");
    world.advance(ms(200));
    world.run();
    add(3);
    assert_eq!(done(3), [2], "now one is");
    assert_eq!(done(1), [2, 1, 3]);
    add(4);
    world.advance(ms(199));
    world.run();
    add(5);
    assert_eq!(done(5), [2, 1, 3, 5], "not every 199 ms");
    world.advance(ms(1));
    world.run();
    add(6);
    assert_eq!(done(6), [2, 1, 3, 5], "every 200");
    assert_eq!(done(4), [2, 1, 3, 5, 4, 6]);
    let sleeps = world.sleeps();
    world.advance(ms(10_000));
    world.run();
    assert!(sleeps <= 1);
    add(7);
    world.advance(ms(200));
    world.run();
    assert_eq!(world.sleeps(), 0, "with nothing new to say nobody is woken");
}

#[test]
fn the_watermark_of_two_streams_is_the_lower_and_an_idle_one_is_not_waited_for() {
    let (world, one, other) = (World::new(), Log::new(), Log::new());
    let gate = Gate {
        calls: Calls::new(),
        disk: Disk::new(),
    };
    let f = gate.calls.clone();
    let time_of = |n: &u64| EventTime::from_millis(*n as i64);
    let watermarks = Watermarks::ascending().every(ms(1)).idle_after(ms(1_000));
    let job = Pipeline::source(one.reader())
        .event_time(time_of, watermarks)
        .union(Pipeline::source(other.reader()).event_time(time_of, watermarks))
        .async_map("gate", move |n| f.call(n), AsyncOptions::unordered())
        .sink(gate.disk.sink());
    let _running = start(&world, job).unwrap();
    let add = |log: &Log<u64>, n: u64| {
        log.add(n);
        world.run();
        world.advance(ms(1));
        world.run();
    };
    let done = |n: u64| {
        gate.calls.answer(n, Answer::Output(n));
        world.run();
        gate.disk.written()
    };
    add(&one, 1);
    add(&one, 2);
    assert_eq!(done(2), [2], "the other stream has said nothing");
    add(&other, 5);
    add(&one, 3);
    assert_eq!(done(3), [2], "the lower of 2 and 5 is a watermark before 3");
    assert_eq!(done(1), [2, 1]);
    assert_eq!(done(5), [2, 1, 5, 3]);
    add(&one, 7);
    add(&one, 8);
    assert_eq!(
        done(8),
        [2, 1, 5, 3],
        "5 is the lower now, and between 7 and 8"
    );
    assert_eq!(done(7), [2, 1, 5, 3, 7, 8]);
    add(&one, 9);
    add(&one, 10);
    assert_eq!(
        done(10),
        [2, 1, 5, 3, 7, 8, 10],
        "5 holds the watermark back"
    );
    // Silent for a second, the other stream is not waited for.
    world.advance(ms(1_000));
    world.run();
    add(&one, 11);
    add(&one, 12);
    assert_eq!(done(12), [2, 1, 5, 3, 7, 8, 10], "a watermark is before it");
    done(9);
    assert_eq!(done(11), [2, 1, 5, 3, 7, 8, 10, 9, 11, 12]);
    // It speaks again, and is waited for.
    add(&other, 12);
    done(12);
    add(&one, 20);
    add(&one, 21);
    assert_eq!(
        done(21).last(),
        Some(&21),
        "no watermark is between 20 and 21"
    );
}

#[test]
fn async_outputs_are_flattened_with_the_time_of_their_record_and_keep_its_place() {
    let (world, disk) = (World::new(), Disk::new());
    let repeat = |n: u64| async move { Ok::<_, Infallible>(vec![n; n as usize]) };
    let job = Pipeline::source(iterate(0..4_u64))
        .async_flat_map("repeat", repeat, AsyncOptions::ordered().capacity(2))
        .sink(disk.sink());
    let mut running = start(&world, job).unwrap();
    assert_eq!(outcome(&mut running).unwrap().unwrap().written, 6);
    assert_eq!(disk.visible(), [1, 2, 2, 3, 3, 3]);
}

#[test]
fn a_pipeline_needs_nothing_of_peu_and_runs_on_threads() {
    #[allow(
        unreachable_pub,
        reason = "documentation shows it as a program of its own"
    )]
    mod threads {
        include!("../doc/threads.rs");
    }
    let (sink, numbers) = collect();
    let job = Pipeline::source(iterate(0..10_000_u64))
        .key_by(|n| n % 100)
        .parallelism(3, |lane| {
            let double = |n: u64| async move {
                if n.is_multiple_of(7) {
                    Err("seven")
                } else {
                    Ok(2 * n)
                }
            };
            lane.async_map(
                "double",
                double,
                AsyncOptions::unordered().on_error(OnError::Skip),
            )
        })
        .sink(sink);
    let report = futures_lite::future::block_on(job.run_on(&threads::Threads)).unwrap();
    let mut numbers = numbers.take();
    numbers.sort_unstable();
    let expected = (0..10_000).filter(|n| n % 7 != 0).map(|n| 2 * n);
    assert_eq!(numbers, expected.collect::<Vec<u64>>());
    let skipped: u64 = report
        .stages
        .iter()
        .map(|(_, metrics)| metrics.skipped)
        .sum();
    assert_eq!(skipped, 1_429);
}
