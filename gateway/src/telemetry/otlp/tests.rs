//! The mapping, metric by metric.

use super::*;
use crate::telemetry::metrics::{CheckLabels, ListenerLabel, Metrics};
use std::time::Duration;

fn period() -> Period {
    Period {
        start: UNIX_EPOCH + Duration::from_secs(1),
        now: UNIX_EPOCH + Duration::from_secs(3),
    }
}

fn find(metrics: &[Metric], name: &str) -> Metric {
    let found = metrics.iter().find(|metric| metric.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn a_counter_is_a_cumulative_sum_with_its_labels() {
    let registry = Metrics::new();
    let labels = CheckLabels {
        check: "spf",
        result: "pass",
        action: "Accept",
    };
    registry.checks.get_or_create(&labels).inc_by(7);
    let metrics = metrics(&registry.text().unwrap(), period()).unwrap();
    let checks = find(&metrics, "postern_checks_total");
    assert_eq!(checks.description, "Checks by result and action.");
    let Some(Data::Sum(sum)) = checks.data else {
        panic!("{checks:?}")
    };
    assert!(sum.is_monotonic);
    assert_eq!(
        sum.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    let [point] = sum.data_points.as_slice() else {
        panic!("one point")
    };
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(7)));
    assert_eq!(point.start_time_unix_nano, 1_000_000_000);
    assert_eq!(point.time_unix_nano, 3_000_000_000);
    let names: Vec<_> = point.attributes.iter().map(|a| a.key.as_str()).collect();
    assert_eq!(names, ["check", "result", "action"]);
}

#[test]
fn a_gauge_may_be_below_zero_and_families_without_a_value_are_left_out() {
    let registry = Metrics::new();
    let listener = ListenerLabel {
        listener: "mx".to_owned(),
    };
    registry.sessions_open.get_or_create(&listener).set(-2);
    let metrics = metrics(&registry.text().unwrap(), period()).unwrap();
    let open = find(&metrics, "postern_sessions_open");
    let Some(Data::Gauge(gauge)) = open.data else {
        panic!("{open:?}")
    };
    assert_eq!(
        gauge.data_points[0].value,
        Some(number_data_point::Value::AsInt(-2))
    );
    assert!(!metrics.iter().any(|metric| metric.name.contains("refused")));
}

#[test]
fn a_histogram_has_counts_between_its_bounds() {
    let registry = Metrics::new();
    for seconds in [0.0005, 0.002, 0.0021, 1e9] {
        registry.transaction_seconds.observe(seconds);
    }
    let metrics = metrics(&registry.text().unwrap(), period()).unwrap();
    let duration = find(&metrics, "postern_transaction_duration_seconds");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = duration.data else {
        panic!("{duration:?}")
    };
    let [point] = histogram.data_points.as_slice() else {
        panic!("one point")
    };
    assert_eq!((point.count, point.explicit_bounds.len()), (4, 14));
    assert_eq!(point.bucket_counts.len(), 15);
    assert_eq!(point.bucket_counts[..3], [1, 2, 0]);
    assert_eq!(point.bucket_counts[14], 1, "beyond the last bound");
    assert!((point.sum.unwrap() - 1e9).abs() < 1.0);
    assert_eq!(point.explicit_bounds[..2], [0.001, 0.0025]);
}

#[test]
fn histograms_with_labels_are_told_apart() {
    let text = "# HELP d D.\n# TYPE d histogram\n\
        d_sum{l=\"a\"} 1.5\nd_count{l=\"a\"} 2\nd_bucket{le=\"1.0\",l=\"a\"} 1\nd_bucket{le=\"+Inf\",l=\"a\"} 2\n\
        d_sum{l=\"b\"} 0.0\nd_count{l=\"b\"} 0\nd_bucket{le=\"1.0\",l=\"b\"} 0\nd_bucket{le=\"+Inf\",l=\"b\"} 0\n# EOF\n";
    let metrics = metrics(text, period()).unwrap();
    let Some(Data::Histogram(histogram)) = find(&metrics, "d").data else {
        panic!("a histogram")
    };
    let counts: Vec<_> = histogram
        .data_points
        .iter()
        .map(|point| {
            (
                point.count,
                point.bucket_counts.clone(),
                point.attributes.len(),
            )
        })
        .collect();
    assert_eq!(counts, [(2, vec![1, 1], 1), (0, vec![0, 0], 1)]);
}

#[test]
fn label_values_may_hold_anything() {
    let text = "# HELP a A.\n# TYPE a gauge\na{l=\"x \\\"}{,\\\\ \\n\",m=\"\"} 0.25\n";
    let metrics = metrics(text, period()).unwrap();
    let Some(Data::Gauge(gauge)) = find(&metrics, "a").data else {
        panic!("a gauge")
    };
    let value = |at: usize| {
        gauge.data_points[0].attributes[at]
            .value
            .clone()
            .unwrap()
            .value
    };
    let text = |text: &str| Some(any_value::Value::StringValue(text.to_owned()));
    assert_eq!(value(0), text("x \"}{,\\ \n"));
    assert_eq!(value(1), text(""));
    assert_eq!(
        gauge.data_points[0].value,
        Some(number_data_point::Value::AsDouble(0.25))
    );
}

#[test]
fn what_is_no_openmetrics_text_is_an_error() {
    for text in [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\na{l=\"x 1\n",
        "# HELP a A.\n# TYPE a gauge\na\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\n# TYPE a summary\na 1\n",
        "# WHAT a b\n",
    ] {
        assert!(metrics(text, period()).is_err(), "{text}");
    }
}
