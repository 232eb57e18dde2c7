//! The registry as OTLP's messages.
//!
//! The registry's OpenMetrics text goes in, the one reading of it that its library offers; metrics
//! of OTLP come out, with the names, the labels and the values of that text. The mapping is that of
//! OpenTelemetry's "Prometheus and OpenMetrics Compatibility": a counter is a cumulative monotonic
//! sum, the labels are attributes, a unit is written in UCUM.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    metric::Data, number_data_point,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A line of the text that is not what its library writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the registry's text has a line that cannot be read: {0:?}")]
pub struct Unreadable(String);

/// The time that values are of.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// When counting began.
    pub start: SystemTime,
    /// Now.
    pub now: SystemTime,
}

/// What the text says of one metric.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    unit: &'a str,
    samples: Vec<Sample<'a>>,
}

/// One line with a value.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// The metrics of an OpenMetrics text. Those without a value yet are left out.
///
/// # Errors
/// The first line that cannot be read.
pub fn metrics(text: &str, period: Period) -> Result<Vec<Metric>, Unreadable> {
    let families = families(text)?;
    let metrics = families.iter().filter(|family| !family.samples.is_empty());
    metrics.map(|family| metric(family, period)).collect()
}

fn families(text: &str) -> Result<Vec<Family<'_>>, Unreadable> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        let unreadable = || Unreadable(line.to_owned());
        if line == "# EOF" {
            break;
        }
        let Some(comment) = line.strip_prefix("# ") else {
            let family = families.last_mut().ok_or_else(unreadable)?;
            family.samples.push(sample(line).ok_or_else(unreadable)?);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (what, name, rest) = (words.next(), words.next(), words.next());
        let (Some(name), Some(rest)) = (name, rest) else {
            return Err(unreadable());
        };
        if families.last().is_none_or(|family| family.name != name) {
            families.push(Family {
                name,
                ..Family::default()
            });
        }
        let family = families.last_mut().ok_or_else(unreadable)?;
        match what {
            Some("HELP") => family.help = rest,
            Some("TYPE") => family.kind = rest,
            Some("UNIT") => family.unit = rest,
            _ => return Err(unreadable()),
        }
    }
    Ok(families)
}

/// `name{label="value",...} value`, or without labels. An exemplar behind it is left out.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, quoted) = inside.split_once("=\"")?;
            let (value, after) = quoted_value(quoted)?;
            labels.push((label, value));
            inside = after.strip_prefix(',').unwrap_or(after);
        }
        rest = inside.get(1..)?;
    }
    let value = rest.strip_prefix(' ')?.split(' ').next()?;
    Some(Sample {
        name,
        labels,
        value,
    })
}

/// A label's value up to its closing quotation mark, and what follows that.
fn quoted_value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut octets = quoted.char_indices();
    while let Some((at, octet)) = octets.next() {
        match octet {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(match octets.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

fn metric(family: &Family<'_>, period: Period) -> Result<Metric, Unreadable> {
    let numbers = || {
        let points = family.samples.iter().map(|sample| number(sample, period));
        points.collect::<Result<Vec<_>, _>>()
    };
    let data = match family.kind {
        "counter" => Data::Sum(Sum {
            data_points: numbers()?,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        "gauge" => Data::Gauge(Gauge {
            data_points: numbers()?,
        }),
        "histogram" => Data::Histogram(Histogram {
            data_points: histograms(&family.samples, period)?,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
        other => return Err(Unreadable(format!("# TYPE {} {other}", family.name))),
    };
    // A counter's sample has the suffix `_total`, and that is the name that everybody knows.
    let name = match &data {
        Data::Sum(_) => family.samples.first().map_or(family.name, |one| one.name),
        _ => family.name,
    };
    Ok(Metric {
        name: name.to_owned(),
        description: family.help.to_owned(),
        unit: ucum(family.unit).to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn number(sample: &Sample<'_>, period: Period) -> Result<NumberDataPoint, Unreadable> {
    let value = match sample.value.parse() {
        Ok(whole) => number_data_point::Value::AsInt(whole),
        Err(_) => number_data_point::Value::AsDouble(parse(sample)?),
    };
    Ok(NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: nanoseconds(period.start),
        time_unix_nano: nanoseconds(period.now),
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

/// The points of a histogram, one for each set of labels; its buckets come in their order.
fn histograms(
    samples: &[Sample<'_>],
    period: Period,
) -> Result<Vec<HistogramDataPoint>, Unreadable> {
    let mut points: Vec<HistogramDataPoint> = Vec::new();
    for sample in samples {
        let of_bucket = |(label, _): &&(&str, String)| *label == "le";
        let le = sample.labels.iter().find(of_bucket);
        let labels: Vec<_> = sample.labels.iter().filter(|l| !of_bucket(l)).collect();
        let attributes = attributes(labels.iter().copied());
        let known = points.iter().position(|p| p.attributes == attributes);
        let at = known.unwrap_or_else(|| {
            points.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano: nanoseconds(period.start),
                time_unix_nano: nanoseconds(period.now),
                ..HistogramDataPoint::default()
            });
            points.len() - 1
        });
        if let Some(point) = points.get_mut(at) {
            add(point, sample, le.map(|(_, bound)| bound.as_str()))?;
        }
    }
    Ok(points)
}

fn add(
    point: &mut HistogramDataPoint,
    sample: &Sample<'_>,
    le: Option<&str>,
) -> Result<(), Unreadable> {
    let unreadable = || Unreadable(sample.name.to_owned());
    let count = || sample.value.parse::<u64>().map_err(|_| unreadable());
    match le {
        // Text counts all up to a bound, OTLP those between two.
        Some(bound) => {
            let below: u64 = point.bucket_counts.iter().sum();
            point.bucket_counts.push(count()?.saturating_sub(below));
            if bound != "+Inf" {
                point
                    .explicit_bounds
                    .push(bound.parse().map_err(|_| unreadable())?);
            }
        }
        None if sample.name.ends_with("_sum") => point.sum = Some(parse(sample)?),
        None => point.count = count()?,
    }
    Ok(())
}

fn parse(sample: &Sample<'_>) -> Result<f64, Unreadable> {
    let fail = |_| Unreadable(format!("{} {}", sample.name, sample.value));
    sample.value.parse().map_err(fail)
}

fn attributes<'a>(labels: impl IntoIterator<Item = &'a (&'a str, String)>) -> Vec<KeyValue> {
    let attribute = |(name, value): &(&str, String)| KeyValue {
        key: (*name).to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.clone())),
        }),
        ..KeyValue::default()
    };
    labels.into_iter().map(attribute).collect()
}

/// OpenMetrics' base units as OpenTelemetry writes them (UCUM).
fn ucum(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
