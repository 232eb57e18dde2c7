//! The bench: rows (a) ten mails a connection and (b) one, by STARTTLS, RSA and ECDSA; (c) ten in
//! clear; each with checks on and off.
//!
//! Arguments: seconds a row (8), and the letters of the rows to measure (`abc`); all rows come in
//! one run, so that they can be compared though the machine is never quiet.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measuring program"
)]

use postern_cli::demo::signing::Signer;
use postern_tests::bench::corpus::{Corpus, DOMAIN};
use postern_tests::bench::gateway::{CertificateKind, Gateway};
use postern_tests::bench::load::{self, Load};
use postern_tests::bench::table::{Row, table};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Connections at a time, as in the figures of the peers.
const CONNECTIONS: usize = 20;
/// Letter, certificate (none: in clear), mails a connection.
const ROWS: [(&str, Option<CertificateKind>, usize); 5] = [
    ("a", Some(CertificateKind::Rsa), 10),
    ("b", Some(CertificateKind::Rsa), 1),
    ("a", Some(CertificateKind::Ecdsa), 10),
    ("b", Some(CertificateKind::Ecdsa), 1),
    ("c", None, 10),
];
/// Idle sessions that are opened to see what one costs.
const IDLE: usize = 500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(8, |text| {
        text.parse().expect("the first argument is seconds a row")
    });
    let letters = arguments.next().unwrap_or_else(|| "abc".to_owned());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(bench(Duration::from_secs(seconds), &letters));
}

/// The release binary beside this one.
fn binary() -> PathBuf {
    let binary = std::env::current_exe()
        .expect("own path")
        .with_file_name("postern");
    assert!(
        binary.exists(),
        "{} is missing: run `make bench`",
        binary.display()
    );
    binary
}

async fn bench(duration: Duration, letters: &str) {
    let signer = Signer::generate(DOMAIN).expect("a DKIM key");
    let signed = Arc::new(Corpus::new(Some(&signer)));
    let unsigned = Arc::new(Corpus::new(None));
    println!(
        "corpus: {} mails, {:.1} kB on average; {CONNECTIONS} connections, {} s a row",
        signed.mails.len(),
        signed.mean_kb(),
        duration.as_secs()
    );
    let mut rows = Vec::new();
    for (letter, kind, mails_per_connection) in ROWS {
        if !letters.contains(letter) {
            continue;
        }
        for (checks, corpus) in [("on", &signed), ("off", &unsigned)] {
            let load = Load {
                connections: CONNECTIONS,
                mails_per_connection,
                duration,
                tls: kind.is_some(),
            };
            let key = kind.unwrap_or(CertificateKind::Ecdsa);
            let gateway = Gateway::start(&binary(), key, &signer, checks == "on").await;
            let tls = kind.map_or_else(|| "in clear".to_owned(), |kind| format!("{kind:?}"));
            let name = format!(
                "({letter}) {mails_per_connection} mails/connection {tls}, checks {checks}"
            );
            rows.push(measure(name, &gateway, corpus, load).await);
        }
    }
    print!("{}", table(&rows));
    idle_sessions(&signer).await;
}

async fn measure(name: String, gateway: &Gateway, corpus: &Arc<Corpus>, load: Load) -> Row {
    // Caches and connections to the backend are warm in the life of a gateway.
    let warm = Load {
        duration: Duration::from_millis(500),
        ..load
    };
    load::run(gateway.address(), corpus, warm).await;
    let before = gateway.cpu_seconds();
    let outcome = load::run(gateway.address(), corpus, load).await;
    if let Some(refusal) = &outcome.refusal {
        println!("refused: {refusal}");
    }
    Row {
        name,
        outcome,
        cpu_seconds: gateway.cpu_seconds() - before,
        peak_kb: gateway.memory_kb("VmHWM:"),
    }
}

/// Memory of an idle TLS session: the growth over many of them.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
async fn idle_sessions(signer: &Signer) {
    let gateway = Gateway::start(&binary(), CertificateKind::Ecdsa, signer, true).await;
    // The first ones pay for caches and the allocator's first pages.
    let first = load::idle(gateway.address(), 50).await.expect("sessions");
    let before = gateway.memory_kb("VmRSS:");
    let more = load::idle(gateway.address(), IDLE).await.expect("sessions");
    let after = gateway.memory_kb("VmRSS:");
    println!(
        "idle TLS session: {:.1} KiB",
        (after - before) / IDLE as f64
    );
    drop((first, more));
}
