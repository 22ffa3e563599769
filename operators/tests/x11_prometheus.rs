//! Row X11: a stage's metrics as Prometheus text.

mod kit;

use kit::{Answer, Bench};
use peu_operators::{AsyncOptions, FixedLimit, OnError, StageCollector};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

#[test]
fn x11_metrics_and_latencies_as_prometheus_text() {
    let options = AsyncOptions::ordered().on_error(OnError::Skip);
    let bench = Bench::new(options.guard(FixedLimit::new(3)));
    let mut registry = Registry::default();
    let stages = [("look-up", bench.out.stream().monitor())];
    registry.register_collector(Box::new(StageCollector::new(stages)));
    bench.push(1..=4);
    bench.advance(100);
    bench.complete(1);
    bench.answer(2, Answer::Refused);
    let mut text = String::new();
    encode(&mut text, &registry).expect("text has room");
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
