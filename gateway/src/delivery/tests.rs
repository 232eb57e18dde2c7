//! Delivery against real sockets: a scripted backend that refuses, hangs, cuts and talks nonsense.
//!
//! The tests are named by the sentences of docs/delivery.md.

mod asking;
mod backend;
mod delivering;
mod lmtp;
mod locating;
mod securing;

use super::*;
use backend::Scripted;
use bytes::Bytes;
use futures::future::BoxFuture;
use postern_config::backend::{
    Backend as Compiled, BackendProtocol, BackendTls, BackendTlsMode, MultipleRecipients, Target,
};
use postern_config::configz::Misconfiguration;
use postern_config::route::{Rule, VerifyRecipients, WeightedBackend};
use postern_config::{Keys, Snapshot};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::reply::Refusal;
use postern_verify::Name;
use postern_verify::resolve::{DnsError, Mx};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const MESSAGE: &str = "Subject: hello\r\n\r\nHello.\r\n.dot\r\n";

/// Names that are never asked for.
struct NoNames;

impl Names for NoNames {
    fn a<'n>(&'n self, _: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>> {
        Box::pin(async { Err(DnsError::NoRecords { nxdomain: true }) })
    }
    fn aaaa<'n>(&'n self, _: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>> {
        Box::pin(async { Err(DnsError::NoRecords { nxdomain: true }) })
    }
    fn mx<'n>(&'n self, _: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>> {
        Box::pin(async { Err(DnsError::NoRecords { nxdomain: true }) })
    }
}

/// A backend in clear at an address.
fn compiled(address: SocketAddr, protocol: BackendProtocol) -> Compiled {
    Compiled {
        display: format!("host {address}"),
        routes: vec!["acme/mail".to_owned()],
        target: Target::Addresses {
            addresses: vec![address.ip()],
            port: address.port(),
        },
        protocol,
        tls: BackendTls {
            mode: BackendTlsMode::Disabled,
            ca_pem: vec![],
            server_name: None,
        },
        credential: None,
        proxy_protocol: None,
        multiple_recipients: MultipleRecipients::Together,
        traceparent: false,
    }
}

fn snapshot(backends: impl IntoIterator<Item = (&'static str, Compiled)>) -> Snapshot {
    let config = serde_json::json!({
        "gateway": {"namespace": "mail", "name": "edge"},
        "hostname": "mx1.example.com",
        "authservId": "example.com",
        "listeners": [],
        "routes": [],
        "backends": {},
        "resolver": {"nameservers": [], "timeoutMs": 1000, "attempts": 1, "cacheEntries": 0,
                     "cacheMaxTtlS": 0},
        "telemetry": {"recipients": "Domain"},
        "drain": {"minDurationMs": 0, "timeoutMs": 0},
        "generations": {},
    });
    let mut config: postern_config::Config = serde_json::from_value(config).unwrap();
    config.backends = backends
        .into_iter()
        .map(|(id, backend)| (id.to_owned(), backend))
        .collect();
    Snapshot {
        config,
        keys: Keys::default(),
    }
}

fn rule(weights: &[(&str, u32)]) -> Rule {
    let policy = serde_json::json!({
        "rcpt": {"recipients": {"value": {}}, "limits": {"value": {"recipients": 100}}},
        "data": {
            "limits": {"value": {"messageSize": 1, "receivedHeaders": 1, "minDataRate": 1}},
            "timeouts": {"value": {"dataMs": 1}},
            "verify": {"value": {
                "spf": {"onFail": "Tag", "onSoftFail": "Tag", "onPermError": "Tag",
                        "onTempError": "Tag"},
                "dkim": {"onFail": "Tag", "maxSignatures": 8, "lengthTag": "Ignore"},
                "dmarc": {"onReject": "Reject", "onQuarantine": "Tag"},
                "iprevOnFail": "Accept", "fromOnAmbiguous": "Reject",
                "trustedForwarders": {},
            }},
            "mark": {"value": {}},
        },
    });
    Rule {
        name: "default".to_owned(),
        matches: vec![],
        verify_recipients: VerifyRecipients::Ask,
        backends: weights
            .iter()
            .map(|(id, weight)| WeightedBackend {
                backend: (*id).to_owned(),
                weight: *weight,
            })
            .collect(),
        enforced: serde_json::from_value(policy).unwrap(),
        shadow: None,
    }
}

/// Short times and no chance.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        open: Duration::from_secs(2),
        ask: Duration::from_secs(3),
        chance: Arc::new(|| 0.0),
        ..Limits::default()
    }
}

/// A gateway's delivery with one backend, and one session.
struct World {
    deliveries: Deliveries,
    backends: Arc<Backends>,
    leg: Leg,
    progress: Progress,
}

impl World {
    fn with(limits: Limits, compiled: Compiled, names: Arc<dyn Names>) -> Self {
        let deliveries = Deliveries::new(limits);
        let backends = deliveries
            .apply(&snapshot([("b", compiled)]), names)
            .unwrap();
        let leg = session(&deliveries);
        Self {
            deliveries,
            backends,
            leg,
            progress: Progress::default(),
        }
    }

    fn of(compiled: Compiled) -> Self {
        Self::with(limits(), compiled, Arc::new(NoNames))
    }

    fn smtp(backend: &Scripted) -> Self {
        Self::of(compiled(backend.address, BackendProtocol::Smtp))
    }

    fn lmtp(backend: &Scripted) -> Self {
        Self::of(compiled(backend.address, BackendProtocol::Lmtp))
    }

    fn destination(&self, recipient: &str) -> Destination {
        Choices::default()
            .destination(
                &self.backends,
                (0, 0),
                &rule(&[("b", 1)]),
                &mailbox(recipient),
            )
            .unwrap()
    }

    async fn deliver_to(&mut self, recipients: &[&str]) -> Outcome {
        self.deliver(&message(recipients)).await
    }

    async fn deliver(&mut self, message: &Message) -> Outcome {
        self.deliver_within(message, Duration::from_secs(10)).await
    }

    async fn deliver_within(&mut self, message: &Message, time: Duration) -> Outcome {
        let destination = self.destination(&message.recipients[0].to_string());
        self.progress = Progress::default();
        let deadline = Instant::now() + time;
        self.leg
            .deliver(&destination, message, deadline, &self.progress)
            .await
    }

    async fn ask(&mut self, recipients: &[&str]) -> Vec<String> {
        self.ask_as(&envelope(), recipients, VerifyRecipients::Ask)
            .await
    }

    async fn ask_as(
        &mut self,
        envelope: &Envelope,
        recipients: &[&str],
        verify: VerifyRecipients,
    ) -> Vec<String> {
        let destination = self.destination(recipients[0]);
        let recipients: Vec<Mailbox> = recipients.iter().map(|one| mailbox(one)).collect();
        let deadline = self.leg.ask_deadline();
        let asked = self
            .leg
            .ask(&destination, envelope, &recipients, verify, deadline)
            .await;
        asked
            .answers
            .iter()
            .map(|answer| answer.as_ref().map_or_else(codes, |()| "ok".into()))
            .collect()
    }

    fn misconfigured(&self) -> Option<Misconfiguration> {
        self.deliveries.misconfigured().remove("b")
    }
}

fn session(deliveries: &Deliveries) -> Leg {
    deliveries.leg(
        "192.0.2.1:4321".parse().unwrap(),
        "198.51.100.2:25".parse().unwrap(),
    )
}

fn mailbox(address: &str) -> Mailbox {
    address.parse().unwrap()
}

fn envelope() -> Envelope {
    Envelope {
        reverse_path: ReversePath::Mailbox(mailbox("joe@client.test")),
        size: Some(100),
        eight_bit_mime: true,
        smtputf8: false,
    }
}

fn message(recipients: &[&str]) -> Message {
    message_of(recipients, MESSAGE)
}

fn message_of(recipients: &[&str], text: &str) -> Message {
    Message {
        envelope: envelope(),
        recipients: recipients.iter().map(|address| mailbox(address)).collect(),
        prepended: vec![Bytes::from_static(b"Received: from us\r\n")],
        received: vec![Bytes::copy_from_slice(text.as_bytes())],
    }
}

/// `550 5.1.1`.
fn codes(refusal: &Refusal) -> String {
    let (class, subject, detail) = refusal.enhanced();
    format!("{} {class}.{subject}.{detail}", refusal.code())
}

/// `250`, or the refusal's codes.
fn reply(outcome: &Outcome) -> String {
    outcome
        .result
        .as_ref()
        .map_or_else(codes, |reply| reply.code.to_string())
}
