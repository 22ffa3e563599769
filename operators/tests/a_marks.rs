//! Watermarks and other marks on their way through a stage: rows a03, a04, a06, a07, a14, X6 and X7.

mod kit;

use kit::marked::{Marked, latency, watermark};
use kit::{Answer, ms};
use peu_operators::{AsyncOptions, Element, EventTime, Fallback, Mark, OnError, Recovery, Retry};

/// Records whose last digit is the same have the same key.
fn last_digit(record: &u64) -> u64 {
    record % 10
}

#[test]
fn a03_no_record_crosses_a_watermark_either_way() {
    let mut stage = Marked::new(AsyncOptions::unordered());
    stage.script(&[1, 2, 0, 3, 4, 0, 5, 6]);
    stage.complete(3);
    assert_eq!(stage.take(), "");
    stage.complete(2);
    assert_eq!(stage.take(), "r2");
    stage.complete(6);
    stage.complete(4);
    assert_eq!(stage.take(), "");
    stage.complete(1);
    assert_eq!(stage.take(), "r1 W1 r3 r4 W2 r6");
    stage.complete(5);
    assert_eq!(stage.take(), "r5");
}

#[test]
fn a03_in_ordered_mode_a_watermark_keeps_its_place_too() {
    let mut stage = Marked::new(AsyncOptions::ordered());
    stage.script(&[1, 2, 0, 3, 4, 0, 5, 6]);
    for record in [3, 2, 6, 4] {
        stage.complete(record);
        assert_eq!(stage.take(), "");
    }
    stage.complete(1);
    assert_eq!(stage.take(), "r1 r2 W1 r3 r4 W2");
    stage.complete(5);
    assert_eq!(stage.take(), "r5 r6");
}

#[test]
fn a03_a_record_that_waits_for_its_key_is_before_the_watermark_that_came_after_it() {
    let mut stage = Marked::new(AsyncOptions::key_ordered(last_digit));
    stage.script(&[1, 11, 2, 0, 12, 21, 3]);
    assert_eq!(stage.calls.made(), [1, 2, 3], "11, 12 and 21 wait");
    stage.complete(3);
    stage.complete(2);
    assert_eq!(stage.take(), "r2");
    stage.complete(12);
    stage.complete(1);
    assert_eq!(stage.take(), "r1", "11 is called only now");
    assert_eq!(stage.calls.made(), [1, 2, 3, 12, 11]);
    stage.complete(11);
    assert_eq!(stage.take(), "r11 W1 r3 r12");
    stage.complete(21);
    assert_eq!(stage.take(), "r21");
}

#[test]
fn a08_results_behind_a_watermark_leave_a_place_to_what_waits_for_its_key_in_front_of_it() {
    let keyed = AsyncOptions::key_ordered(last_digit);
    let mut stage = Marked::new(keyed.capacity(3));
    stage.script(&[1, 11, 0, 3, 13, 5]);
    assert_eq!(
        stage.calls.made(),
        [1, 3],
        "11 and 13 wait, and 5 leaves a place"
    );
    stage.complete(3);
    assert_eq!(stage.calls.made(), [1, 3], "so does 13");
    stage.complete(1);
    assert_eq!(stage.take(), "r1");
    assert_eq!(
        stage.calls.made(),
        [1, 3, 11, 13],
        "11 is first, for W1 waits for it"
    );
    stage.complete(13);
    stage.complete(11);
    assert_eq!(stage.take(), "r11 W1 r3 r13");
    stage.complete(5);
    assert_eq!(stage.take(), "r5");
}

#[test]
fn a08_the_place_of_a_record_that_is_left_out_is_taken_by_what_waits_in_front_of_a_watermark() {
    let keyed = AsyncOptions::key_ordered(last_digit);
    let keyed = keyed.capacity(4).on_error(OnError::Skip);
    let mut stage = Marked::new(keyed);
    stage.script(&[1, 2, 3, 11, 12, 0, 4]);
    assert_eq!(stage.calls.made(), [1, 2, 3], "the last place is kept");
    stage.complete(1);
    stage.complete(2);
    assert_eq!(stage.calls.made(), [1, 2, 3, 11]);
    stage.calls.answer(3, Answer::Refused);
    stage.world.run();
    assert_eq!(
        stage.calls.made(),
        [1, 2, 3, 11, 12],
        "and nobody took anything"
    );
    stage.complete(11);
    stage.complete(12);
    assert_eq!(stage.take(), "r1 r2 r11 r12 W1");
}

#[test]
fn r07_behind_a_watermark_that_waits_for_a_key_no_record_gives_its_place_back() {
    let keyed = AsyncOptions::key_ordered(last_digit);
    let retry = Retry::fixed(ms(10)).without_place(3);
    let mut stage = Marked::new(keyed.capacity(2).retry(retry));
    stage.script(&[1, 11]);
    stage.calls.answer(1, Answer::Refused);
    stage.world.run();
    stage.script(&[0, 3, 5]);
    assert_eq!(stage.calls.made(), [1, 3], "5 leaves the place of 1 to 11");
    stage.calls.answer(3, Answer::Refused);
    stage.world.run();
    assert_eq!(stage.calls.made(), [1, 3], "3 keeps its place");
    stage.world.advance(ms(10));
    stage.world.run();
    for record in [3, 1] {
        stage.complete(record);
    }
    assert_eq!(stage.take(), "r1");
    stage.complete(11);
    assert_eq!(stage.take(), "r11 W1 r3");
}

#[test]
fn a04_adjacent_watermarks_pass_in_order() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut stage = Marked::new(options);
        stage.script(&[1, 0, 0, 2, 0]);
        assert_eq!(stage.take(), "");
        stage.complete(1);
        assert_eq!(stage.take(), "r1 W1 W2");
        stage.complete(2);
        assert_eq!(stage.take(), "r2 W3");
    }
}

#[test]
fn a04_an_empty_stage_passes_a_watermark_at_once() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut stage = Marked::new(options);
        stage.script(&[0, 0]);
        assert_eq!(stage.take(), "W1 W2");
    }
}

#[test]
fn a05_x6_a_watermark_takes_no_place() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut stage = Marked::new(options.capacity(2));
        stage.script(&[1, 0, 0, 0, 2, 0, 3]);
        assert_eq!(stage.calls.made(), [1, 2], "four watermarks, and no place");
        stage.complete(1);
        assert_eq!(stage.calls.made(), [1, 2], "until 1 is taken");
        assert_eq!(stage.take(), "r1 W1 W2 W3");
        assert_eq!(stage.calls.made(), [1, 2, 3], "taking marks made no room");
        stage.push(4);
        assert_eq!(stage.calls.made(), [1, 2, 3]);
    }
}

#[test]
fn a06_a_full_stage_lets_watermarks_in_and_out() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut stage = Marked::new(options.capacity(2));
        stage.script(&[1, 2, 0, 0, 3, 0, 4]);
        assert_eq!(stage.feed.left(), 2, "it holds 3, and looks no further");
        assert_eq!(stage.calls.made(), [1, 2]);
        stage.complete(2);
        stage.complete(1);
        assert_eq!(stage.calls.made(), [1, 2], "outputs not taken have places");
        assert!(stage.take().ends_with(" W1 W2"));
        assert_eq!(stage.calls.made(), [1, 2, 3, 4]);
        stage.complete(4);
        stage.complete(3);
        assert_eq!(stage.take(), "r3 W3 r4");
    }
}

#[test]
fn a06_a_record_that_a_full_stage_holds_is_drained_and_counted_nowhere_twice() {
    let mut stage = Marked::new(AsyncOptions::ordered().capacity(1));
    stage.script(&[1, 2]);
    stage.feed.end();
    stage.world.run();
    let metrics = stage.out.stream().metrics();
    assert_eq!(
        (metrics.accepted, metrics.in_flight, metrics.queued),
        (1, 1, 0)
    );
    stage.complete(1);
    assert_eq!(stage.take(), "r1");
    stage.complete(2);
    assert_eq!(stage.take(), "r2");
    assert!(stage.out.is_over());
    assert_eq!(stage.world.tasks(), 0);
}

#[test]
fn a06_marks_are_bounded_while_nobody_takes_them() {
    let mut stage = Marked::new(AsyncOptions::unordered().capacity(1));
    for time in 1..=3_000 {
        stage.feed.push(Element::Mark(watermark(time)));
    }
    stage.world.run();
    assert!(stage.feed.left() > 1_000, "{} are left", stage.feed.left());
    let taken = stage.take_elements();
    let expected = (1..=3_000).map(|time| Element::Mark(watermark(time)));
    assert_eq!(taken, expected.collect::<Vec<_>>());
}

#[test]
fn a06_marks_that_wait_for_a_line_do_not_hold_the_line_up() {
    let mut stage = Marked::new(AsyncOptions::key_ordered(last_digit));
    stage.script(&[1, 11]);
    for time in 1..=2_000 {
        stage.feed.push(Element::Mark(watermark(time)));
    }
    stage.world.run();
    stage.complete(1);
    stage.complete(11);
    let taken = stage.take_elements();
    assert_eq!(
        taken.len(),
        2_002,
        "the marks fill their room, 11 is called all the same"
    );
}

#[test]
fn a07_whatever_gives_the_output_it_has_the_time_of_its_record() {
    let options = AsyncOptions::unordered()
        .timeout_with(ms(10), |_: &u64| Fallback::Output(1))
        .on_error(|_failure| Recovery::Output(2));
    let mut stage = Marked::new(options);
    (5..=7).for_each(|record| stage.push(record));
    stage.feed.push(Element::Record(8, None));
    stage.calls.answer(7, Answer::Output(3));
    stage.calls.answer(6, Answer::Refused);
    stage.calls.answer(8, Answer::Output(4));
    stage.world.run();
    stage.world.advance(ms(10));
    stage.world.run();
    let at = |millis| Some(EventTime::from_millis(millis));
    let outputs = [(4, None), (3, at(7)), (2, at(6)), (1, at(5))];
    let expected = outputs.map(|(output, time)| Element::Record(output, time));
    assert_eq!(stage.take_elements(), expected);
}

#[test]
fn a14_x7_idle_and_latency_markers_overtake_no_record() {
    for options in [AsyncOptions::ordered(), AsyncOptions::unordered()] {
        let mut stage = Marked::new(options);
        stage.push(1);
        for mark in [latency(), Mark::Idle] {
            stage.mark(mark);
        }
        stage.mark(Mark::Active);
        stage.push(2);
        stage.complete(2);
        assert_eq!(stage.take(), "");
        stage.complete(1);
        assert_eq!(stage.take(), "r1 latency idle active r2");
    }
}

#[test]
fn a10_the_end_of_input_drains_marks_as_well() {
    let mut stage = Marked::new(AsyncOptions::unordered());
    stage.script(&[1, 0, 2, 0]);
    stage.feed.end();
    stage.world.run();
    stage.complete(2);
    stage.complete(1);
    assert_eq!(stage.take(), "r1 W1 r2 W2");
    assert!(stage.out.is_over());
    assert_eq!(stage.world.tasks(), 0);
}

#[test]
fn e02_in_ordered_mode_marks_before_the_failed_record_leave_and_those_behind_it_do_not() {
    let mut stage = Marked::new(AsyncOptions::ordered());
    stage.script(&[1, 0, 2, 0, 3]);
    stage.calls.answer(2, Answer::Refused);
    stage.world.run();
    assert_eq!(stage.calls.live(), [1]);
    stage.complete(1);
    let next: Vec<_> = (0..3).map(|_| stage.out.next_now().unwrap()).collect();
    assert!(matches!(next[0], Ok(Element::Record(10, _))));
    assert!(matches!(next[1], Ok(Element::Mark(_))));
    assert_eq!(next[2].as_ref().unwrap_err().record(), Some(2));
    assert!(stage.out.is_over());
}

#[test]
fn e02_in_unordered_mode_a_failure_waits_for_no_segment() {
    let mut stage = Marked::new(AsyncOptions::unordered());
    stage.script(&[1, 0, 2]);
    stage.calls.answer(2, Answer::Refused);
    stage.world.run();
    let error = stage.out.next_now().unwrap().unwrap_err();
    assert_eq!(error.record(), Some(2));
    assert!(stage.out.is_over());
    assert_eq!(stage.calls.live(), [0_u64; 0]);
}
