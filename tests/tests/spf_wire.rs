//! RFC 7208's test suite over the wire: each case as a mail to a real gateway.
//!
//! The client's address comes by PROXY, the zone of each scenario from a real DNS server, which the
//! gateway asks without a cache. Out: the result as it stands in Authentication-Results of the
//! delivered mail; for a fail, which the policy rejects, the reply with the domain's explanation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

#[path = "../suites/spf/reader.rs"]
mod reader;

use postern_cli::demo::sink::Sink;
use postern_tests::ports::free_port;
use postern_tests::standalone::Standalone;
use postern_tests::wait::eventually;
use postern_verify::authentication_results::{ParsedMethod, parse};
use postern_verify::zone::Server;
use reader::Case;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// HELO names and reverse-paths that RFC 5321 does not permit: 501, and SPF is never asked.
const NOT_PERMITTED: [&str; 5] = [
    // A domain with an empty label (§4.1.2).
    "emptylabel",
    // No local part (§4.1.2).
    "nolocalpart",
    // A label of more than 63 octets (RFC 1035 §2.3.4).
    "toolonglabel",
    // HELO: percent signs (§4.1.1.1).
    "invalid-domain-long-via-macro",
    // HELO: a space and an apostrophe.
    "invalid-hello-macro",
];

const SOON: Duration = Duration::from_secs(20);

fn objects(port: u16, dns: SocketAddr) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: edge, namespace: mail}}
spec:
  hostname: mx.acme.test
  listeners:
  - name: mx
    port: {port}
    protocol: SMTP
    proxyProtocol: {{trustedCIDRs: [127.0.0.0/8]}}
    allowedRoutes: [{{namespaces: {{from: Same}}, domains: [acme.test]}}]
  resolver: {{nameservers: [\"{dns}\"], timeout: 300ms, attempts: 1, cache: {{entries: 0}}}}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {{name: acme, namespace: mail}}
spec:
  parentRefs: [{{name: edge}}]
  recipients: [acme.test]
  rules:
  - name: default
    verifyRecipients: None
    backends: [{{service: {{name: store, port: 25}}, protocol: SMTP}}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {{name: strict, namespace: mail}}
spec:
  targetRefs: [{{kind: MailGateway, name: edge}}]
  defaults:
    verify: {{spf: {{onFail: Reject}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: store, namespace: mail}}
spec: {{ports: [{{port: 25}}]}}
"
    )
}

/// What came of a case.
#[derive(Debug)]
enum Played {
    /// The result for MAIL FROM, and the explanation of a fail.
    Result(String, Option<String>),
    /// 501 to EHLO or MAIL.
    NotPermitted,
}

struct Session(BufReader<TcpStream>);

impl Session {
    async fn open(gateway: SocketAddr, client: IpAddr) -> Self {
        let mut session = Self(BufReader::new(TcpStream::connect(gateway).await.unwrap()));
        let header = match client {
            IpAddr::V4(client) => format!("PROXY TCP4 {client} 192.0.2.25 1025 25"),
            IpAddr::V6(client) => format!("PROXY TCP6 {client} 2001:db8::25 1025 25"),
        };
        let (code, text) = session.say(&header).await;
        assert_eq!(code, 220, "{text}");
        session
    }

    /// Sends a line; the reply's code and its text without enhanced codes, lines joined by a space.
    async fn say(&mut self, line: &str) -> (u16, String) {
        let stream = self.0.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .unwrap();
        let mut texts = Vec::new();
        loop {
            let mut reply = String::new();
            let read = tokio::time::timeout(SOON, self.0.read_line(&mut reply));
            assert_ne!(read.await.expect(line).unwrap(), 0, "closed after {line}");
            let code: u16 = reply[..3].parse().unwrap();
            let text = reply[4..].trim_end();
            let (enhanced, rest) = text.split_once(' ').unwrap_or(("", text));
            let is_enhanced = enhanced.split('.').count() == 3 && enhanced.as_bytes()[1] == b'.';
            texts.push(if is_enhanced { rest } else { text }.to_owned());
            if reply.as_bytes()[3] == b' ' {
                return (code, texts.join(" "));
            }
        }
    }
}

/// The reverse-path as a client would send it: quoted where the local part is no dot-string.
fn reverse_path(case: &Case) -> String {
    let Some((local, domain)) = case.reverse_path() else {
        return String::new();
    };
    let is_atom = |atom: &str| {
        let is_atext = |o: u8| o.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&o);
        !atom.is_empty() && atom.bytes().all(is_atext)
    };
    match local.split('.').all(is_atom) {
        true => format!("{local}@{domain}"),
        false if local.is_empty() => format!("@{domain}"),
        false => {
            let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\"@{domain}")
        }
    }
}

async fn play(gateway: SocketAddr, sink: &Sink, case: &Case) -> Played {
    let mut session = Session::open(gateway, case.host).await;
    if session.say(&format!("EHLO {}", case.helo)).await.0 == 501 {
        return Played::NotPermitted;
    }
    let (code, text) = session
        .say(&format!("MAIL FROM:<{}>", reverse_path(case)))
        .await;
    match code {
        501 => return Played::NotPermitted,
        code => assert_eq!(code, 250, "{text}"),
    }
    assert_eq!(session.say("RCPT TO:<bob@acme.test>").await.0, 250);
    assert_eq!(session.say("DATA").await.0, 354);
    let mail = "From: <author@author.invalid>\r\nSubject: s\r\n\r\nHello\r\n.";
    let (code, text) = session.say(mail).await;
    match code {
        250 => {
            let mails = sink.take();
            let spf = result(&mails.first().unwrap().message);
            Played::Result(spf.result, None)
        }
        550 => {
            assert!(text.starts_with("SPF fails: "), "{text}");
            let explanation = text
                .split_once(" explains: ")
                .map(|(_, words)| words.to_owned());
            Played::Result("fail".to_owned(), explanation)
        }
        other => panic!("{other} {text}"),
    }
}

/// What Authentication-Results says of MAIL FROM. HELO has a result of its own.
fn result(message: &[u8]) -> ParsedMethod {
    let message = postern_verify::Message::parse(message).unwrap();
    let field = message
        .fields_named("Authentication-Results")
        .next()
        .unwrap();
    let parsed = parse(field.value).unwrap();
    assert_eq!(parsed.authserv_id, "mx.acme.test");
    let of = |name: &str| {
        let has = |method: &&ParsedMethod| {
            method.method == "spf" && method.properties.iter().any(|p| p.name == name)
        };
        parsed.methods.iter().find(has).cloned().unwrap()
    };
    of("helo");
    of("mailfrom")
}

#[tokio::test]
async fn every_case_that_rfc_5321_permits() {
    let sink = Sink::start(&[], true).await.unwrap();
    let dns = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let services = [("mail/store:25", sink.address())];
    let running = Standalone::start("spf-wire", |port| objects(port, dns), &services).await;
    let (mut cases, mut wrong, mut not_permitted) = (0, Vec::new(), Vec::new());
    let scenarios = reader::scenarios();
    for scenario in &scenarios {
        let zone = Arc::new(reader::zone(scenario));
        // The port of the scenario before is free again in a moment.
        let _server = eventually(SOON, async || {
            let server = Server::bind(Arc::clone(&zone), dns).await;
            server.map_err(|error| error.to_string())
        })
        .await;
        for (id, case) in &scenario.tests {
            cases += 1;
            match play(running.address(), &sink, case).await {
                Played::NotPermitted => not_permitted.push(id.as_str()),
                Played::Result(result, explanation) => {
                    if !case.is_right(&result, explanation.as_deref()) {
                        let scenario = &scenario.description;
                        wrong.push(format!("{scenario} / {id}: {result} {explanation:?}"));
                    }
                }
            }
        }
    }
    assert_eq!(cases, 203);
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(not_permitted, NOT_PERMITTED, "answered 501");
}
