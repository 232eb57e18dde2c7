//! The real resolver against a real server, and the bounds of one message.

use super::*;
use crate::spf::{Request, SpfResult, check_host};
use crate::zone::{Server, Zone};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

async fn server(text: &str) -> (Arc<Zone>, Server) {
    let zone = Arc::new(Zone::parse(text).unwrap());
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(Arc::clone(&zone), address).await.unwrap();
    (zone, server)
}

fn resolver(server: &Server, change: impl FnOnce(&mut ResolverOptions)) -> HickoryResolver {
    let mut options = ResolverOptions {
        nameservers: vec![server.address()],
        timeout: Duration::from_millis(200),
        attempts: 2,
        ..ResolverOptions::default()
    };
    change(&mut options);
    HickoryResolver::new(&options).unwrap()
}

const ZONE: &str = r#"
    example.test   TXT "one; " "two"
    example.test   TXT "\255"
    example.test   A 192.0.2.1
    example.test   AAAA 2001:db8::1
    example.test   MX 20 b.example.test
    example.test   MX 10 a.example.test
    null.test      MX 0 .
    192.0.2.1      PTR mail.example.test
    2001:db8::1    PTR mail.example.test
    odd\name.test  TXT "odd"
    alias.test     CNAME other.test
    other.test     CNAME example.test
    dangling.test  CNAME nowhere.test
    loop.test      CNAME pool.test
    pool.test      CNAME loop.test
    broken.test    SERVFAIL
    slow.test      TIMEOUT
"#;

/// RFC 1035 §3.3.14 wants a string at least: a server sends an empty one.
#[tokio::test]
async fn a_text_without_strings_is_empty() {
    let mut zone = Zone::parse("null.test TXT \"v=spf1 -all\"").unwrap();
    zone.add(name("null.test"), crate::zone::Record::Txt(vec![]));
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(Arc::new(zone), address).await.unwrap();
    let texts = resolver(&server, |_| ()).txt(&name("null.test")).await;
    assert_eq!(
        *texts.unwrap(),
        [b"v=spf1 -all".as_slice().into(), [].into()]
    );
}

#[tokio::test]
async fn records_of_every_type() {
    let (_zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |_| ());
    let example = name("example.test");
    let texts = resolver.txt(&example).await.unwrap();
    assert_eq!(
        *texts,
        [b"one; two".to_vec().into(), b"\xff".to_vec().into()]
    );
    let v4: Ipv4Addr = "192.0.2.1".parse().unwrap();
    let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert_eq!(*resolver.a(&example).await.unwrap(), [v4]);
    assert_eq!(*resolver.aaaa(&example).await.unwrap(), [v6]);
    let mx = resolver.mx(&example).await.unwrap();
    let hosts: Vec<_> = mx
        .iter()
        .map(|mx| mx.exchange.clone().unwrap().to_string())
        .collect();
    assert_eq!(hosts, ["a.example.test", "b.example.test"]);
    assert_eq!(
        resolver.mx(&name("null.test")).await.unwrap()[0].exchange,
        None
    );
    for address in [v4.into(), v6.into()] {
        assert_eq!(
            *resolver.ptr(address).await.unwrap(),
            [name("mail.example.test")]
        );
    }
    assert_eq!(
        &*resolver.txt(&name("odd\\name.test")).await.unwrap()[0],
        b"odd"
    );
    assert_eq!(*resolver.a(&name("alias.test")).await.unwrap(), [v4]);
}

#[tokio::test]
async fn every_kind_of_no() {
    let (_zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |_| ());
    for (owner, error) in [
        ("nowhere.test", DnsError::NoRecords { nxdomain: true }),
        ("null.test", DnsError::NoRecords { nxdomain: false }),
        ("test", DnsError::NoRecords { nxdomain: false }),
        ("dangling.test", DnsError::NoRecords { nxdomain: true }),
        ("loop.test", DnsError::NoRecords { nxdomain: false }),
        ("broken.test", DnsError::Temporary(Temporary::ServFail)),
        ("slow.test", DnsError::Temporary(Temporary::Timeout)),
    ] {
        assert_eq!(resolver.a(&name(owner)).await, Err(error), "{owner}");
    }
    let counters = resolver.counters();
    assert_eq!((counters.queries, counters.no_records), (7, 5));
    assert_eq!(
        (
            counters.servfail,
            counters.timeouts,
            counters.other_failures
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_timeout_ends_in_time() {
    let (zone, server) = server("slow.test TIMEOUT").await;
    let resolver = resolver(&server, |_| ());
    let started = Instant::now();
    let answer = resolver.txt(&name("slow.test")).await;
    assert_eq!(answer, Err(DnsError::Temporary(Temporary::Timeout)));
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    assert!(zone.asked() >= 2, "{}", zone.asked());
}

#[tokio::test]
async fn nobody_there_is_temporary() {
    let (_zone, server) = server("").await;
    let resolver = resolver(&server, |_| ());
    drop(server);
    assert!(
        resolver
            .txt(&name("example.test"))
            .await
            .unwrap_err()
            .is_temporary()
    );
}

#[tokio::test]
async fn a_text_of_60_kilobytes_comes_over_tcp() {
    let long = "x".repeat(60_000);
    let (_zone, server) = server(&format!("long.test TXT \"{long}\"")).await;
    let texts = resolver(&server, |_| ())
        .txt(&name("long.test"))
        .await
        .unwrap();
    assert_eq!(&*texts[0], long.as_bytes());
}

#[tokio::test]
async fn answers_and_negative_answers_are_cached() {
    let (zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |_| ());
    for _ in 0..3 {
        resolver.txt(&name("Example.TEST.")).await.unwrap();
        resolver.txt(&name("nowhere.test")).await.unwrap_err();
    }
    assert_eq!(zone.asked(), 2);
    assert_eq!(resolver.counters().cache_hits, 4);
    // Errors are not.
    for _ in 0..2 {
        resolver.txt(&name("broken.test")).await.unwrap_err();
    }
    assert!(zone.asked() >= 4);
}

#[tokio::test]
async fn no_cache_asks_each_time() {
    let (zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |options| options.cache_entries = 0);
    for _ in 0..3 {
        resolver.a(&name("example.test")).await.unwrap();
    }
    assert_eq!(zone.asked(), 3);
}

#[tokio::test]
async fn a_ttl_of_zero_is_not_kept() {
    let zone = Arc::new(Zone::parse("example.test A 192.0.2.1").unwrap().with_ttl(0));
    let server = Server::bind(Arc::clone(&zone), "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let resolver = resolver(&server, |_| ());
    for _ in 0..2 {
        resolver.a(&name("example.test")).await.unwrap();
    }
    assert_eq!(zone.asked(), 2);
}

#[tokio::test]
async fn simultaneous_questions_are_asked_once() {
    let (zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |_| ());
    let example = name("example.test");
    let questions = (0..50).map(|_| resolver.txt(&example));
    let answers = futures::future::join_all(questions).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(zone.asked(), 1);
}

#[tokio::test]
async fn hundreds_of_questions_at_once() {
    let (_zone, server) = server(ZONE).await;
    let resolver = resolver(&server, |options| options.timeout = Duration::from_secs(5));
    let names: Vec<Name> = (0..500).map(|n| name(&format!("n{n}.test"))).collect();
    let answers = futures::future::join_all(names.iter().map(|name| resolver.a(name))).await;
    let none = Err(DnsError::NoRecords { nxdomain: true });
    assert!(
        answers.iter().all(|answer| *answer == none),
        "{:?}",
        resolver.counters()
    );
}

#[derive(Default)]
struct Notes(Mutex<Vec<Lookup>>);

impl Observe for Notes {
    fn lookup(&self, lookup: Lookup) {
        self.0.lock().unwrap().push(lookup);
    }
}

#[tokio::test]
async fn an_observer_hears_of_each_question() {
    let zone = Arc::new(Zone::parse(ZONE).unwrap());
    let notes = Arc::new(Notes::default());
    let budget = Budget::new(2, Instant::now() + Duration::from_secs(5));
    let scoped = Scoped::new(zone, Arc::clone(&budget), Some(notes.clone()));
    scoped.txt(&name("example.test")).await.unwrap();
    scoped.ptr("192.0.2.9".parse().unwrap()).await.unwrap_err();
    let spent = scoped.a(&name("example.test")).await;
    assert_eq!(spent, Err(DnsError::Temporary(Temporary::Spent)));
    assert_eq!(budget.left(), 0);
    let notes = notes.0.lock().unwrap();
    let heard: Vec<_> = notes
        .iter()
        .map(|n| (n.record_type, n.name.as_str(), n.outcome))
        .collect();
    assert_eq!(
        heard,
        [
            (RecordType::Txt, "example.test", Ok(2)),
            (
                RecordType::Ptr,
                "192.0.2.9",
                Err(DnsError::NoRecords { nxdomain: true })
            ),
            (
                RecordType::A,
                "example.test",
                Err(DnsError::Temporary(Temporary::Spent))
            ),
        ]
    );
}

/// Never answers.
struct Silent;

impl Resolve for Silent {
    async fn txt(&self, _: &Name) -> Result<Txt, DnsError> {
        std::future::pending().await
    }
    async fn a(&self, _: &Name) -> Result<Arc<[Ipv4Addr]>, DnsError> {
        std::future::pending().await
    }
    async fn aaaa(&self, _: &Name) -> Result<Arc<[Ipv6Addr]>, DnsError> {
        std::future::pending().await
    }
    async fn mx(&self, _: &Name) -> Result<Arc<[Mx]>, DnsError> {
        std::future::pending().await
    }
    async fn ptr(&self, _: IpAddr) -> Result<Arc<[Name]>, DnsError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_message_ends_its_checks() {
    let budget = Budget::new(100, Instant::now() + Duration::from_secs(20));
    let scoped = Scoped::new(Silent, budget, None);
    let client = "192.0.2.1".parse().unwrap();
    let request = Request::mail_from(client, "h.test", Some(("a", "b.test")), "mx.test", 0);
    let started = Instant::now();
    assert_eq!(
        check_host(&scoped, &request).await.result,
        SpfResult::TempError
    );
    assert_eq!(started.elapsed(), Duration::from_secs(20));
}

/// Answers each question with this code and nothing else: no SOA, no recursion available.
async fn bare_server(code: hickory_resolver::proto::op::ResponseCode) -> std::net::SocketAddr {
    use hickory_resolver::proto::op::{Message, OpCode};
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut octets).await {
            let question = Message::from_vec(&octets[..length]).unwrap();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_query(question.queries[0].clone());
            answer.metadata.response_code = code;
            let answer = answer.to_vec().unwrap();
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn servers_that_say_no_more_than_a_code() {
    use hickory_resolver::proto::op::ResponseCode;
    for (code, wanted) in [
        (
            ResponseCode::NoError,
            DnsError::NoRecords { nxdomain: false },
        ),
        (
            ResponseCode::NXDomain,
            DnsError::NoRecords { nxdomain: true },
        ),
        (
            ResponseCode::ServFail,
            DnsError::Temporary(Temporary::ServFail),
        ),
        (ResponseCode::Refused, DnsError::Temporary(Temporary::Other)),
        (ResponseCode::FormErr, DnsError::Temporary(Temporary::Other)),
        (ResponseCode::NotImp, DnsError::Temporary(Temporary::Other)),
    ] {
        let options = ResolverOptions {
            nameservers: vec![bare_server(code).await],
            timeout: Duration::from_millis(200),
            ..ResolverOptions::default()
        };
        let resolver = HickoryResolver::new(&options).unwrap();
        assert_eq!(resolver.txt(&name("a.test")).await, Err(wanted), "{code}");
        assert_eq!(resolver.a(&name("a.test")).await, Err(wanted), "{code}");
    }
}
