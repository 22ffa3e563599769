//! A table that is loaded anew, against its last handle, which ends the task that loads it.
//!
//! Whatever the order: the task ends, whether it sleeps or loads; and who looks something up sees the table before or the one after.
//!
//! twin: table-leave-unrung
//! twin: table-task-late

#![cfg(loom)]

use peu_loom_tests::model;
use peu_loom_tests::stages::{LIMIT, Signal, Stages};
use peu_operators::{Reload, Table};
use peu_scheduler::block_on;
use std::collections::HashMap;
use std::convert::Infallible;

/// A table of one entry, which says how often it was loaded. Later loads wait for the answer.
fn table(stages: &Stages, answer: Option<&Signal>) -> Table<(), usize> {
    let (mut loads, answer) = (0, answer.cloned());
    let load = move || {
        loads += 1;
        let number = loads;
        let wait = answer.as_ref().filter(|_| number > 1).map(Signal::wait);
        async move {
            if let Some(wait) = wait {
                wait.await;
            }
            Ok::<_, Infallible>(HashMap::from([((), number)]))
        }
    };
    let Ok(table) = block_on(Table::load(stages, Reload::every(LIMIT), load));
    table
}

#[test]
fn the_last_handle_goes_while_the_task_sleeps() {
    model(|| {
        let stages = Stages::default();
        drop(table(&stages, None));
        stages.join();
    });
}

/// Time is up at any moment.
#[test]
fn the_last_handle_goes_while_the_table_is_loaded_again() {
    model(|| {
        let stages = Stages::default();
        let table = table(&stages, None);
        let clock = stages.clone();
        stages.beside(move || clock.time_is_up());
        assert!(matches!(table.get(&()), Some(1 | 2)));
        drop(table);
        stages.join();
    });
}

/// Nothing but the last handle ends the task.
#[test]
fn the_last_handle_goes_while_a_load_hangs() {
    model(|| {
        let (stages, answer) = (Stages::default(), Signal::default());
        let table = table(&stages, Some(&answer));
        let other = table.clone();
        stages.time_is_up();
        stages.beside(move || drop(other));
        drop(table);
        stages.join();
        assert_eq!(answer.holders(), 1, "a load is left");
    });
}
