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
use postern_verify::signer::Signer;
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
    /// The message in the longest chain of seals.
    chain: String,
    /// The key of `big._domainkey.example.test`.
    big: Signer,
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
        println!("hostile messages (aim: at most 20 ms of CPU each)");
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

/// What one hostile message costs at most: the best of several runs, since all of it is this
/// thread's time. The first run fetches and parses the keys, as with a mail that nobody sent before.
async fn hostile(zone: &Zone, corpus: &Corpus) {
    let (signature, _) = corpus
        .message
        .split_once("\r\nReceived:")
        .expect("a signed message");
    let signed = |count| {
        let signatures = format!("{signature}\r\n").repeat(count);
        format!("{signatures}{}", corpus.message)
    };
    let fields = |count| format!("{}{}", "X-Field: value\r\n".repeat(count), corpus.message);
    let large = format!("X-Field: {}\r\n", "a  b ".repeat(18_000));
    let names = "x-field:".repeat(10);
    let eight = format!("{}{}", large.repeat(10), corpus.message);
    let eight = (0..8).fold(eight, |raw, _| {
        let tags = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test; s=big";
        corpus
            .big
            .dkim(&raw, "DKIM-Signature", &format!("{tags}; h={names}from"))
    });
    let comments = format!("From: {}", "(c)".repeat(10_000));
    for (what, raw) in [
        ("1,000 signatures", signed(1_000)),
        ("10,000 header fields", fields(9_980)),
        ("8 signatures of 4,096 bits over 900 kB of header", eight),
        ("50 ARC sets, 100 keys of 4,096 bits", corpus.chain.clone()),
        (
            "a From of 10,000 comments",
            corpus.message.replacen("From: ", &comments, 1),
        ),
    ] {
        let mut best = Duration::MAX;
        let mut asked = 0;
        for _ in 0..5 {
            let keys = KeyCache::new(1_000);
            let before = zone.asked();
            let started = Instant::now();
            whole(zone, &keys, &raw).await;
            best = best.min(started.elapsed());
            asked = zone.asked() - before;
        }
        row(best, asked, what);
    }
    let client = "192.0.2.1".parse().unwrap();
    let path = Some(("a", "tree.test"));
    let request = spf::Request::mail_from(client, "helo.test", path, "mx.test", NOW);
    let mut best = Duration::MAX;
    let mut asked = 0;
    for _ in 0..5 {
        let before = zone.asked();
        let started = Instant::now();
        black_box(spf::check_identities(zone, zone, &request).await);
        best = best.min(started.elapsed());
        asked = zone.asked() - before;
    }
    row(
        best,
        asked,
        "SPF of ten mx with ten hosts each, for MAIL FROM and HELO",
    );
}

/// The questions are bounded (docs/policy.md) and the same in every run; the time is the machine's.
fn row(took: Duration, asked: u32, what: &str) {
    assert!(asked <= 2 * 128, "{what}: {asked} questions");
    let took = took.as_secs_f64() * 1e3;
    println!("{took:>9.2} ms {asked:>4} questions  {what}");
}

/// A chain of 50 sets that passes, each field with a key of its own.
fn chain(signer: &Signer, zone: &mut String, message: &str) -> String {
    let mut raw = message.to_owned();
    for instance in 1..=50 {
        for owner in ["a", "m"] {
            // The texts differ, so that none is found parsed.
            let record = format!("n={owner}{instance}; {}", signer.record());
            let _ = writeln!(zone, "s._domainkey.{owner}{instance}.test TXT \"{record}\"");
        }
        let cv = if instance == 1 { "none" } else { "pass" };
        let tags = format!("i={instance}; a=rsa-sha256; s=s");
        raw = format!("ARC-Authentication-Results: i={instance}; x; none\r\n{raw}");
        let signed = format!("{tags}; d=m{instance}.test; c=relaxed/relaxed; h=from:to:subject");
        raw = signer.dkim(&raw, "ARC-Message-Signature", &signed);
        raw = signer.seal(
            &raw,
            instance,
            &format!("{tags}; d=a{instance}.test; cv={cv}"),
        );
    }
    raw
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
    let _ = writeln!(zone, "helo.test TXT \"{tree} -all\"");
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
    let message = sign(&pair, &message);
    let big = Signer::rsa_4096();
    let _ = writeln!(zone, "big._domainkey.example.test TXT \"{}\"", big.record());
    Corpus {
        chain: chain(&big, &mut zone, &message),
        zone,
        message,
        big,
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
