//! The life of a process that is attacked: floods of connections, clients that say nothing,
//! handshakes that stop half way or are of another age, PROXY headers that are none. Against the
//! real binary over real sockets; afterwards it serves as before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use postern_tests::standalone::Standalone;
use postern_tests::wait::eventually;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longer than anything that is expected to happen.
const DEADLINE: Duration = Duration::from_secs(30);
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Says what holds without it.
const DEFAULT: &str = "limits: {connections: 1000}";

/// A gateway whose listener and `timeouts` are as given.
async fn start(name: &str, listener: &str, policy: &str) -> Standalone {
    let objects = |port: u16| {
        format!(
            "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: edge, namespace: mail}}
spec:
  hostname: mx1.acme.test
  listeners:
  - {{name: mx, port: {port}, protocol: SMTP{listener}}}
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {{name: policy, namespace: mail}}
spec:
  targetRefs: [{{kind: MailGateway, name: edge}}]
  defaults: {{{policy}}}
"
        )
    };
    Standalone::start(name, objects, &[]).await
}

/// A connection from an address of the machine's own.
async fn connect(gateway: SocketAddr, source: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((source, 0).into()).unwrap();
    let connected = timeout(DEADLINE, socket.connect(gateway)).await;
    connected.expect("no connection in time").unwrap()
}

/// All that comes until the line ends or the connection does; a reset ends it, too.
async fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let read = async {
        while !line.ends_with(b"\n") {
            match stream.read_u8().await {
                Ok(octet) => line.push(octet),
                Err(_) => break,
            }
        }
    };
    timeout(DEADLINE, read).await.expect("no line in time");
    String::from_utf8_lossy(&line).into_owned()
}

/// All octets until the end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    let read = stream.read_to_end(&mut octets);
    // A reset is an end like any other.
    let _ = timeout(DEADLINE, read).await.expect("no end in time");
    octets
}

/// A command and the last line of its reply.
async fn ask(stream: &mut TcpStream, command: &str) -> String {
    let command = format!("{command}\r\n");
    stream.write_all(command.as_bytes()).await.unwrap();
    loop {
        let line = line(stream).await;
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

/// It serves a client as on its first day.
async fn serves(gateway: &Standalone, source: Ipv4Addr) {
    eventually(DEADLINE, async || {
        let mut client = connect(gateway.address(), source).await;
        let greeting = line(&mut client).await;
        if !greeting.starts_with("220 ") {
            return Err(greeting);
        }
        let ehlo = ask(&mut client, "EHLO client.test").await;
        assert!(ehlo.starts_with("250 "), "{ehlo}");
        let quit = ask(&mut client, "QUIT").await;
        assert!(quit.starts_with("221 "), "{quit}");
        Ok(())
    })
    .await;
}

async fn metric(gateway: &Standalone, name: &str) -> u64 {
    let text = gateway.metrics().await;
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// The metric, once it has that value.
async fn counted(gateway: &Standalone, name: &str, value: u64) {
    eventually(DEADLINE, async || match metric(gateway, name).await {
        found if found == value => Ok(()),
        found => Err(format!("{name}: {found}, not {value}")),
    })
    .await;
}

/// Lines of the log about refusals of a kind.
fn told(gateway: &Standalone, reason: &str) -> usize {
    let output = gateway.program.output();
    let reason = format!("\"reason\":\"{reason}\"");
    let lines = output.lines();
    lines
        .filter(|line| line.contains("\"refused\"") && line.contains(&reason))
        .count()
}

/// Resident memory, octets.
fn memory(gateway: &Standalone) -> u64 {
    let status = format!("/proc/{}/status", gateway.program.pid());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_that_are_left_open() {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= 12_000);
    assert!(
        enough,
        "this test needs 12,000 open files: ulimit -Hn 12000"
    );
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();

    let gateway = start("flood", "", DEFAULT).await;
    serves(&gateway, LOCAL).await;
    let before = memory(&gateway);
    let mut open = Vec::with_capacity(10_000);
    let (mut greeted, mut refused) = (0, 0);
    // 20 connections of each network are within its limit; in all there may be 1,000.
    for connection in 0..10_000_u32 {
        let [_, _, high, low] = (connection / 20).to_be_bytes();
        let mut client = connect(gateway.address(), Ipv4Addr::new(127, 1, high, low)).await;
        match line(&mut client).await {
            text if text.starts_with("220 ") => greeted += 1,
            text if text.starts_with("421 4.7.0 ") => refused += 1,
            other => panic!("connection {connection}: {other:?}"),
        }
        open.push(client);
    }
    assert_eq!((greeted, refused), (1000, 9000));
    let grown = memory(&gateway).saturating_sub(before);
    assert!(grown < 32 << 20, "{} KiB for 1,000 sessions", grown >> 10);
    let reason = "postern_refused_total{listener=\"mx\",reason=\"connections\"}";
    counted(&gateway, reason, 9000).await;
    let lines = told(&gateway, "connections");
    assert!((1..=8).contains(&lines), "{lines} lines for 9,000 refusals");
    drop(open);
    serves(&gateway, LOCAL).await;
    counted(&gateway, "postern_sessions_open{listener=\"mx\"}", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_takes_no_more_than_its_part() {
    let limits = "limits: {connections: 40, connectionsPerNetwork: 20}";
    let gateway = start("network", "", limits).await;
    let mut open = Vec::new();
    for connection in 0..400 {
        let mut client = connect(gateway.address(), LOCAL).await;
        let text = line(&mut client).await;
        let expected = if connection < 20 {
            "220 "
        } else {
            "421 4.7.0 "
        };
        assert!(
            text.starts_with(expected),
            "connection {connection}: {text}"
        );
        assert!(connection < 20 || text.contains("network"), "{text}");
        open.push(client);
        // All of them stay open at the client's end, and still there is room for others.
        if connection % 50 == 49 {
            serves(&gateway, Ipv4Addr::new(127, 0, 0, 2)).await;
        }
    }
    let reason = "postern_refused_total{listener=\"mx\",reason=\"network\"}";
    counted(&gateway, reason, 380).await;
    assert_eq!(
        metric(
            &gateway,
            "postern_refused_total{listener=\"mx\",reason=\"connections\"}"
        )
        .await,
        0
    );
    assert!((1..=4).contains(&told(&gateway, "network")));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_half_a_handshake_end_in_time() {
    let tls = ", tls: {mode: Opportunistic, selfSigned: {}}";
    let gateway = start("silence", tls, "timeouts: {command: 1s}").await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect(gateway.address(), LOCAL).await);
    }
    for mut client in silent {
        assert!(line(&mut client).await.starts_with("220 "));
        assert!(line(&mut client).await.starts_with("421 4.4.2 "));
        assert!(rest(&mut client).await.is_empty());
    }
    // Half a ClientHello, and a closed writing side.
    let halves: [(&[u8], bool); 3] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", true),
        (b"", true),
    ];
    for (octets, closes) in halves {
        let mut client = starttls(&gateway).await;
        client.write_all(octets).await.unwrap();
        if closes {
            client.shutdown().await.unwrap();
        }
        assert!(rest(&mut client).await.is_empty());
    }
    let failed = "postern_tls_handshakes_total{listener=\"mx\",version=\"failed\"}";
    counted(&gateway, failed, 3).await;
    assert!((1..=2).contains(&told(&gateway, "tls")));
    serves(&gateway, LOCAL).await;
}

/// A connection after the reply to STARTTLS.
async fn starttls(gateway: &Standalone) -> TcpStream {
    let mut client = connect(gateway.address(), LOCAL).await;
    assert!(line(&mut client).await.starts_with("220 "));
    assert!(
        ask(&mut client, "EHLO client.test")
            .await
            .starts_with("250 ")
    );
    assert!(ask(&mut client, "STARTTLS").await.starts_with("220 "));
    client
}

/// A ClientHello of that version, with two cipher suites of its time.
fn hello(major: u8, minor: u8) -> Vec<u8> {
    let body = [
        [major, minor].as_slice(),
        &[7; 32],
        &[0],
        &[0, 4, 0x00, 0x2f, 0x00, 0x0a],
        &[1, 0],
    ]
    .concat();
    let length = u8::try_from(body.len()).unwrap();
    [
        &[0x16, major, minor, 0, length + 4, 1, 0, 0, length],
        body.as_slice(),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_of_another_age_are_refused_by_an_alert() {
    let tls = ", tls: {mode: Opportunistic, selfSigned: {}}";
    let gateway = start("old-tls", tls, DEFAULT).await;
    // SSL 3.0, TLS 1.0, TLS 1.1: a fatal alert, handshake_failure or protocol_version (RFC 8446 §6.2).
    for minor in 0..3 {
        let mut client = starttls(&gateway).await;
        client.write_all(&hello(3, minor)).await.unwrap();
        let answer = rest(&mut client).await;
        let refused = matches!(answer.as_slice(), [0x15, 3, _, 0, 2, 2, 40 | 70]);
        assert!(refused, "3.{minor}: {answer:x?}");
    }
    // SSL 2.0, words in clear, and a record of 16 kB of nothing: an alert or nothing, but an end.
    let sslv2 =
        b"\x80\x1c\x01\x00\x02\x00\x03\x00\x00\x00\x10\x01\x00\x80abcdefghijklmnop".to_vec();
    let nothing = [b"\x16\x03\x01\x40\x00".as_slice(), &[0; 16384]].concat();
    for octets in [sslv2, b"EHLO client.test\r\n".to_vec(), nothing] {
        let mut client = starttls(&gateway).await;
        // The end may come before all of it was taken.
        let _ = client.write_all(&octets).await;
        let answer = rest(&mut client).await;
        assert!(
            !answer.starts_with(b"2") && !answer.starts_with(b"5"),
            "{answer:x?}"
        );
    }
    let failed = "postern_tls_handshakes_total{listener=\"mx\",version=\"failed\"}";
    counted(&gateway, failed, 6).await;
    serves(&gateway, LOCAL).await;
}

/// Headers that are none, each whole or cut off.
fn malformed_headers() -> Vec<Vec<u8>> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n".as_slice();
    let v2 = |rest: &[u8]| [signature, rest].concat();
    let mut all: Vec<Vec<u8>> = [
        "EHLO client.test\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 56324 25\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 25 9\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 56324 25\r\n",
        "PROXY TCP4 192.0.2.300 198.51.100.2 56324 25\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 56324 25\r\n",
        "PROXY TCP4 192.0.2.1\u{0}198.51.100.2 56324 25\r\n",
    ]
    .iter()
    .map(|line| line.as_bytes().to_vec())
    .collect();
    all.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes());
    all.push(vec![b'P'; 100_000]);
    all.extend([
        v2(b"\x31\x11\0\x0c"),
        v2(b"\x22\x11\0\x0c"),
        v2(&[b"\x21\x12\0\x0c".as_slice(), &[1; 12]].concat()),
        v2(&[b"\x21\x11\0\x0b".as_slice(), &[1; 11]].concat()),
        v2(&[b"\x21\x21\0\x0c".as_slice(), &[1; 12]].concat()),
        v2(&[b"\x21\x31\0\xd8".as_slice(), &[1; 216]].concat()),
        v2(b"\x21\x11\xff\xff"),
    ]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_headers_that_are_none() {
    let listener = ", proxyProtocol: {trustedCIDRs: [127.0.0.1/32]}";
    let gateway = start("proxy", listener, DEFAULT).await;
    let headers = malformed_headers();
    for header in &headers {
        let mut client = connect(gateway.address(), LOCAL).await;
        // The end may come before all of it was taken.
        let _ = client.write_all(header).await;
        let answer = rest(&mut client).await;
        assert!(answer.is_empty(), "{}: {answer:?}", header.escape_ascii());
    }
    // Cut off in the middle.
    for header in [b"PROXY TCP4 192.0".as_slice(), b"\r\n\r\n\0\r\nQU", b""] {
        let mut client = connect(gateway.address(), LOCAL).await;
        client.write_all(header).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(rest(&mut client).await.is_empty());
    }
    let reason = "postern_refused_total{listener=\"mx\",reason=\"proxy\"}";
    counted(&gateway, reason, headers.len() as u64 + 3).await;
    assert!((1..=2).contains(&told(&gateway, "proxy")));

    // From others the same octets are commands that do not exist.
    for header in &headers {
        let mut client = connect(gateway.address(), Ipv4Addr::new(127, 0, 0, 2)).await;
        assert!(line(&mut client).await.starts_with("220 "));
        let _ = client.write_all(header).await;
        let _ = client.shutdown().await;
        let answer = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
        let known = ["5", "250", "421", "221"];
        for reply in answer.lines() {
            let is_known = known.iter().any(|start| reply.starts_with(start));
            assert!(is_known, "{}: {answer}", header.escape_ascii());
        }
    }
    // One octet at a time is a header like any other.
    let mut client = connect(gateway.address(), LOCAL).await;
    for octet in b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n" {
        client.write_all(&[*octet]).await.unwrap();
    }
    assert!(line(&mut client).await.starts_with("220 "));
    serves(&gateway, Ipv4Addr::new(127, 0, 0, 2)).await;
}
