//! The header fields that we add and those that we remove.
//!
//! What is known of session and transaction goes in; fields that end in CRLF come out, and the
//! received message as slices without what was removed. The body is never copied.

use super::Connection;
use super::transaction::Transaction;
use crate::checks::Reason;
use crate::telemetry::record::{RemoteParent, SpanIds};
use bytes::Bytes;
use postern_config::listener::ReceivedClient;
use postern_smtp::address::ClientName;
use postern_verify::Message;
use postern_verify::authentication_results::strip_own;
use std::net::IpAddr;
use std::ops::Range;

/// The field that says why a mail was tagged.
const VERDICT: &str = "X-Postern-Verdict";
/// W3C Trace Context in a header field.
const TRACEPARENT: &str = "Traceparent";

/// Our Received field (RFC 5321 §4.4).
pub(super) fn received(connection: &Connection, transaction: &Transaction) -> Bytes {
    let hostname = &transaction.runtime.config.hostname;
    let helo = connection.helo.as_ref();
    let name = helo.map_or_else(|| "unknown".to_owned(), |helo| helo.name.to_string());
    let from = match connection.listener.config.received_client {
        // An address literal in place of a name tells as much.
        ReceivedClient::Hide if name.starts_with('[') => "unknown".to_owned(),
        ReceivedClient::Hide => name,
        ReceivedClient::Show => format!("{name} ({})", literal(connection.client_ip(), helo)),
    };
    let with = protocol(
        helo.is_some_and(|helo| helo.extended),
        connection.log.facts.tls.is_some(),
        transaction.envelope.smtputf8,
    );
    let id = format!("{:016x}", transaction.log.ids.span_id);
    // With several recipients the field would tell each about the others (RFC 5321 §7.6).
    let recipient = match transaction.recipients.as_slice() {
        [one] => format!("\r\n\tfor <{one}>"),
        _ => String::new(),
    };
    let date = date(jiff::Timestamp::now());
    let text = format!(
        "Received: from {from}\r\n\tby {hostname} with {with} id {id}{recipient};\r\n\t{date}\r\n"
    );
    Bytes::from(text)
}

/// TCP-info (RFC 5321 §4.4): the address as a literal, unless the client's name is just that.
fn literal(client: IpAddr, helo: Option<&postern_smtp::server::Helo>) -> String {
    match helo.map(|helo| &helo.name) {
        Some(ClientName::Literal(named)) if *named == client => "as named".to_owned(),
        _ => ClientName::Literal(client).to_string(),
    }
}

/// The protocol's name (RFC 3848, RFC 6531 §4.3).
const fn protocol(extended: bool, tls: bool, smtputf8: bool) -> &'static str {
    match (extended, tls, smtputf8) {
        (true, true, true) => "UTF8SMTPS",
        (true, false, true) => "UTF8SMTP",
        (true, true, false) => "ESMTPS",
        (true, false, false) => "ESMTP",
        (false, _, _) => "SMTP",
    }
}

/// RFC 5322 §3.3, in UTC.
fn date(now: jiff::Timestamp) -> String {
    now.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// One field for each check that tagged the mail: names check and policy.
pub(super) fn verdict(reason: &Reason) -> Bytes {
    let policy = reason.policy.as_deref().unwrap_or("default");
    let text = format!(
        "{VERDICT}: Tag; check={}; result={}; policy={policy}\r\n",
        reason.check, reason.result
    );
    Bytes::from(text)
}

/// A header of `mark`. Name and value were checked when the policy was compiled; what a snapshot
/// must not smuggle in is cut all the same.
pub(super) fn mark(name: &str, value: &str) -> Bytes {
    let plain = |text: &str| text.replace(['\r', '\n', '\0'], " ");
    Bytes::from(format!("{}: {}\r\n", plain(name), plain(value)))
}

/// Our Traceparent (W3C Trace Context §3.2).
pub(super) fn traceparent(ids: SpanIds, sampled: bool) -> Bytes {
    let flags = u8::from(sampled);
    let text = format!(
        "{TRACEPARENT}: 00-{:032x}-{:016x}-{flags:02x}\r\n",
        ids.trace_id, ids.span_id
    );
    Bytes::from(text)
}

/// The Traceparent of the message, when there is exactly one and it is well-formed.
pub(super) fn remote_parent(message: &Message<'_>) -> Option<RemoteParent> {
    let mut fields = message.fields_named(TRACEPARENT);
    let (first, None) = (fields.next()?, fields.next()) else {
        return None;
    };
    let text = std::str::from_utf8(first.text()).ok()?.trim();
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else {
        return None;
    };
    let plain = text
        .bytes()
        .all(|o| matches!(o, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !plain || *version != "00" || (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(RemoteParent {
        ids: SpanIds { trace_id, span_id },
        sampled,
    })
}

/// The received message without forged results: those with our own authserv-id, verdicts, and
/// every Traceparent (a trusted one was read, and ours goes out instead). Nothing else is changed.
pub(super) fn stripped(raw: &Bytes, message: &Message<'_>, authserv_id: &str) -> Vec<Bytes> {
    let named = |name| message.fields_named(name).map(|field| field.range());
    let mut removed: Vec<Range<usize>> = strip_own(message, authserv_id);
    removed.extend(named(VERDICT).chain(named(TRACEPARENT)));
    removed.sort_by_key(|range| range.start);
    let mut kept = Vec::with_capacity(removed.len() + 1);
    let mut at = 0;
    for range in removed {
        if at < range.start {
            kept.push(raw.slice(at..range.start));
        }
        at = range.end.max(at);
    }
    kept.push(raw.slice(at.min(raw.len())..));
    kept
}

#[cfg(test)]
mod tests;
