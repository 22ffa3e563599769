//! Rows X11 and l05: metrics as Prometheus text.

mod kit;

use futures_lite::future::block_on;
use kit::{Answer, Bench, World, ms};
use peu_operators::{
    AsyncOptions, BatchOptions, Batcher, Cache, CacheOptions, DeadLetters, Failure, FixedLimit,
    MetricsCollector, OnError, Reload, Retry, Table,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::convert::Infallible;

/// What a scrape would be.
fn scrape(metrics: MetricsCollector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let mut text = String::new();
    encode(&mut text, &registry).expect("text has room");
    text
}

#[test]
fn x11_metrics_and_latencies_as_prometheus_text() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let bench = Bench::new(options.guard(FixedLimit::new(3)));
    let stages = [("look-up", bench.out.stream().monitor())];
    bench.push(1..=4);
    bench.advance(100);
    bench.complete(1);
    bench.answer(2, Answer::Refused);
    let text = scrape(MetricsCollector::new().stages(&stages));
    for line in [
        "# TYPE peu_stage_accepted counter",
        r#"peu_stage_accepted_total{stage="look-up"} 4"#,
        r#"peu_stage_failed_total{stage="look-up"} 1"#,
        "# TYPE peu_stage_in_flight gauge",
        r#"peu_stage_in_flight{stage="look-up"} 2"#,
        r#"peu_stage_limit{stage="look-up"} 3"#,
        "# TYPE peu_stage_latency_seconds histogram",
        r#"peu_stage_latency_seconds_count{stage="look-up"} 2"#,
        r#"peu_stage_latency_seconds_bucket{le="0.065536",stage="look-up"} 0"#,
        r#"peu_stage_latency_seconds_bucket{le="0.131072",stage="look-up"} 2"#,
        r#"peu_stage_latency_seconds_bucket{le="+Inf",stage="look-up"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// Of what the contract asks for, all that is not in the test above.
#[test]
fn x11_what_waits_is_tried_again_and_is_given_up_is_counted_as_text() {
    let options = AsyncOptions::key_ordered(|n: &u64| n % 10)
        .timeout(ms(50))
        .retry(Retry::fixed(ms(10)).max_retries(1))
        .on_error(DeadLetters(|_: Failure<u64>| {}));
    let bench = Bench::new(options);
    let stages = [("look-up", bench.out.stream().monitor())];
    bench.push([1, 11, 21, 2, 3]);
    bench.answer(2, Answer::Refused);
    bench.advance(10);
    bench.answer(2, Answer::Refused);
    bench.complete(3);
    bench.advance(40);
    let text = scrape(MetricsCollector::new().stages(&stages));
    for line in [
        // 1, 2, 3, 2 again, and 11 when 1 had timed out.
        r#"peu_stage_attempts_total{stage="look-up"} 5"#,
        r#"peu_stage_retries_total{stage="look-up"} 1"#,
        r#"peu_stage_timed_out_total{stage="look-up"} 1"#,
        r#"peu_stage_dead_letters_total{stage="look-up"} 2"#,
        r#"peu_stage_in_flight{stage="look-up"} 1"#,
        r#"peu_stage_queued{stage="look-up"} 1"#,
        r#"peu_stage_waiting{stage="look-up"} 1"#,
        r#"peu_stage_latency_seconds_count{stage="look-up"} 3"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn l05_caches_batchers_and_tables_are_collected_by_their_names() {
    let world = World::new();
    let load = |key: u64| async move { Ok::<_, Infallible>(Some(key)) };
    let caches = [(); 2].map(|()| Cache::new(&world, CacheOptions::entries(10), load));
    for key in [1, 2, 1] {
        block_on(caches[1].get(key)).expect("it can't fail");
    }
    let call = |records: Vec<u64>| async move { Ok(records.into_iter().map(Ok).collect()) };
    let batcher: Batcher<u64, u64, Infallible> =
        Batcher::new(&world, BatchOptions::new(2, ms(1)), call);
    let (one, other) = (batcher.call(1), batcher.call(2));
    block_on(one).and(block_on(other)).expect("it can't fail");
    let load = || async { Ok::<_, Infallible>(HashMap::from([(1, 1)])) };
    let table = block_on(Table::load(&world, Reload::every(ms(1)), load)).expect("it can't fail");

    let metrics = MetricsCollector::new()
        .cache("unused", &caches[0])
        .cache("prices", &caches[1])
        .batcher("rows", &batcher)
        .table("airlines", &table);
    let text = scrape(metrics);
    for line in [
        "# TYPE peu_cache_hits counter",
        r#"peu_cache_hits_total{cache="unused"} 0"#,
        r#"peu_cache_hits_total{cache="prices"} 1"#,
        r#"peu_cache_misses_total{cache="prices"} 2"#,
        r#"peu_cache_load_seconds_total{cache="prices"} 0.0"#,
        "# TYPE peu_cache_entries gauge",
        r#"peu_cache_entries{cache="prices"} 2"#,
        r#"peu_batcher_calls_total{batcher="rows"} 1"#,
        r#"peu_batcher_records_total{batcher="rows"} 2"#,
        r#"peu_table_loads_total{table="airlines"} 1"#,
        r#"peu_table_entries{table="airlines"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("peu_stage"), "there is no stage\n{text}");
}
