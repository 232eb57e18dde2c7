//! What the checks of one message cost, with DNS answered at once, and what a hostile one costs at
//! most: `cargo bench -p postern-verify --features testing`.

#![expect(clippy::print_stdout, reason = "prints its table")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken bench may stop"
)]

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use postern_verify::authentication_results::{Header, Method, strip_own};
use postern_verify::zone::{Server, Zone};
use postern_verify::{
    BodyHashes, HickoryResolver, KeyCache, Message, Resolve, arc, dkim, dmarc, from, spf,
};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: u64 = 1_800_000_000;

struct Corpus {
    zone: String,
    message: String,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let corpus = corpus();
        let zone = Zone::parse(&corpus.zone).unwrap();
        println!(
            "one message of {} octets, one RSA-2048 signature",
            corpus.message.len()
        );
        steps(&zone, &corpus.message).await;
        println!("hostile messages (milliseconds)");
        hostile(&zone, &corpus).await;
        cached(&corpus).await;
    });
}

/// The same through the real resolver, every answer from its cache.
async fn cached(corpus: &Corpus) {
    let zone = Arc::new(Zone::parse(&corpus.zone).unwrap());
    let server = Server::bind(zone, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let resolver = HickoryResolver::new(&postern_verify::resolve::ResolverOptions {
        nameservers: vec![server.address()],
        ..Default::default()
    })
    .unwrap();
    let keys = KeyCache::new(1_000);
    whole(&resolver, &keys, &corpus.message).await;
    let started = Instant::now();
    for _ in 0..2_000 {
        black_box(whole(&resolver, &keys, &corpus.message).await);
    }
    println!(
        "{:>9.1} us  all checks, cached resolver",
        micros(started.elapsed(), 2_000)
    );
}

async fn whole(resolver: &impl Resolve, keys: &KeyCache, raw: &str) -> Vec<u8> {
    let message = Message::parse(raw.as_bytes()).unwrap();
    let author = from::author(&message);
    let client = "192.0.2.1".parse().unwrap();
    let path = Some(("a", "example.test"));
    let request = spf::Request::mail_from(client, "mail.example.test", path, "mx.test", NOW);
    let spf = spf::check_host(resolver, &request).await;
    let domain = author.domain();
    let signatures = dkim::Signatures::parse(&message, domain, &dkim::Options::new(NOW));
    let chain = arc::Chain::parse(&message);
    let wanted = signatures.body_keys().chain(chain.body_keys());
    let hashes = BodyHashes::compute(message.body(), wanted);
    let dkim = signatures.verify(resolver, keys, &message, &hashes).await;
    let arc = chain.verify(resolver, keys, &message, &hashes).await;
    let input = dmarc::Input::new(domain.unwrap(), Some(&spf), Some(&dkim));
    let dmarc = dmarc::evaluate(resolver, &input).await;
    assert_eq!(dmarc.result, dmarc::DmarcResult::Pass);
    let mut header = Header::new("mx.test");
    header.push(Method::from(&spf));
    header.extend(dkim.methods());
    header.push(Method::from(&arc));
    header.push(Method::from(&dmarc));
    black_box(strip_own(&message, "mx.test"));
    header.to_bytes()
}

async fn steps(zone: &Zone, raw: &str) {
    let keys = KeyCache::new(1_000);
    let message = Message::parse(raw.as_bytes()).unwrap();
    let options = dkim::Options::new(NOW);
    let author = from::author(&message);
    let signatures = dkim::Signatures::parse(&message, author.domain(), &options);
    let hashes = BodyHashes::compute(message.body(), signatures.body_keys());
    time("header scan", || Message::parse(raw.as_bytes()).unwrap());
    time("author", || from::author(&message));
    time("signatures parsed", || {
        dkim::Signatures::parse(&message, author.domain(), &options)
    });
    time("body hash", || {
        BodyHashes::compute(message.body(), signatures.body_keys())
    });
    let rounds = 2_000;
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(signatures.verify(zone, &keys, &message, &hashes).await);
    }
    println!(
        "{:>9.1} us  signature verified",
        micros(started.elapsed(), rounds)
    );
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(whole(zone, &keys, raw).await);
    }
    println!("{:>9.1} us  all checks", micros(started.elapsed(), rounds));
}

fn time<T>(what: &str, work: impl Fn() -> T) {
    let rounds = 2_000;
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(work());
    }
    println!("{:>9.1} us  {what}", micros(started.elapsed(), rounds));
}

fn micros(elapsed: Duration, rounds: u32) -> f64 {
    elapsed.as_secs_f64() * 1e6 / f64::from(rounds)
}

async fn hostile(zone: &Zone, corpus: &Corpus) {
    let (signature, _) = corpus
        .message
        .split_once("\r\nReceived:")
        .expect("a signed message");
    let signed = |count| {
        format!(
            "{}{}",
            format!("{signature}\r\n").repeat(count),
            corpus.message
        )
    };
    let fields = |count| format!("{}{}", "X-Field: value\r\n".repeat(count), corpus.message);
    let mut chain = String::new();
    for number in 1..=50 {
        let tags = format!("i={number}; a=rsa-sha256; d=example.test; s=s");
        let value = signature.split_once("b=").expect("b=").1;
        let _ = write!(
            chain,
            "ARC-Seal: {tags}; cv={}; b={value}\r\nARC-Message-Signature: {tags}; h=from; \
             bh=AA==; b=AA==\r\nARC-Authentication-Results: i={number}; x; none\r\n",
            if number == 1 { "none" } else { "pass" }
        );
    }
    for (what, raw) in [
        ("900 signatures", signed(900)),
        ("9,000 header fields", fields(9_000)),
        ("50 ARC sets", format!("{chain}{}", corpus.message)),
        ("a From of 10,000 comments", {
            let comments = "(c)".repeat(10_000);
            corpus
                .message
                .replacen("From: ", &format!("From: {comments}"), 1)
        }),
    ] {
        let keys = KeyCache::new(1_000);
        whole(zone, &keys, &raw).await;
        let started = Instant::now();
        whole(zone, &keys, &raw).await;
        println!("{:>9.2} ms  {what}", started.elapsed().as_secs_f64() * 1e3);
    }
    let client = "192.0.2.1".parse().unwrap();
    let path = Some(("a", "tree.test"));
    let request = spf::Request::mail_from(client, "h.test", path, "mx.test", NOW);
    let started = Instant::now();
    let outcome = spf::check_host(zone, &request).await;
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    println!(
        "{elapsed:>9.2} ms  SPF of ten mx with ten hosts each: {}",
        outcome.result
    );
}

fn corpus() -> Corpus {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let mut zone = format!(
        "s._domainkey.example.test TXT \"v=DKIM1; k=rsa; p={}\"\n\
         example.test TXT \"v=spf1 include:_spf.example.test mx -all\"\n\
         _spf.example.test TXT \"v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 -all\"\n\
         _dmarc.example.test TXT \"v=DMARC1; p=reject; rua=mailto:d@example.test\"\n",
        STANDARD.encode(public.as_ref())
    );
    let mut tree = "v=spf1".to_owned();
    for n in 0..10 {
        let _ = write!(tree, " mx:mx{n}.test");
        for host in 0..10 {
            let _ = writeln!(zone, "mx{n}.test MX 10 h{host}.mx{n}.test");
            let _ = writeln!(zone, "h{host}.mx{n}.test A 203.0.113.1");
        }
    }
    let _ = writeln!(zone, "tree.test TXT \"{tree} -all\"");
    let mut message = String::new();
    for hop in 0..4 {
        let _ = write!(
            message,
            "Received: from relay{hop}.example.test (relay{hop}.example.test [192.0.2.{hop}])\r\n\
             \tby mx{hop}.example.test with ESMTPS id 0123456789ABCDEF\r\n\
             \tfor <b@other.test>; Sun, 22 Nov 2026 01:00:00 +0000\r\n"
        );
    }
    message.push_str(
        "From: A Sender <a@example.test>\r\nTo: b@other.test\r\nSubject: A subject of usual \
         length\r\nDate: Sun, 22 Nov 2026 01:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
    );
    while message.len() < 17_000 {
        message
            .push_str("Some words of a text that is as long as the mails of the corpus are.\r\n");
    }
    Corpus {
        zone,
        message: sign(&pair, &message),
    }
}

fn sign(pair: &KeyPair, message: &str) -> String {
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(der.as_ref()).into();
    let signature = DkimSigner::from_key(RsaKey::<Sha256>::from_key_der(key).unwrap())
        .domain("example.test")
        .selector("s")
        .headers(["From", "To", "Subject", "Date", "Message-ID"])
        .sign(message.as_bytes())
        .unwrap();
    format!("{}{message}", signature.to_header())
}
