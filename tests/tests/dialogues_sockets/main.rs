//! The dialogues of `tests/dialogues` against the real binary, over sockets.
//!
//! In: every `.smtp` file of a stage that needs no driver. Each stage runs one `postern run`; files
//! with equal headers share a listener of it, with a policy that says what the header says and a
//! backend that answers as the header says. Each file is played twice: what the client sends
//! without waiting in one write, and in writes of a few octets. Out: a failure names file and line,
//! what was expected, and what the server said; or a file that is listed in [`NOT_PLAYED`] without
//! need.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a panic is how a test fails"
)]

mod backend;
mod client;
mod configuration;
mod gateway;
mod player;

use configuration::Configuration;
use gateway::Gateway;
use postern_tests::dialogue::Dialogue;
use std::path::Path;
use std::time::Duration;

/// Every wait of a dialogue ends by then.
const SOON: Duration = Duration::from_secs(10);
/// Octets that come one write at a time, when a dialogue is played again.
const PIECES: usize = 7;
/// Our name in every dialogue.
const HOSTNAME: &str = "mx.example.com";

/// Files that no configuration of the binary can play, and why. A file that can be played must not
/// stand here.
const NOT_PLAYED: [(&str, &str); 13] = [
    (
        "connection/other_codes_in_place_of_the_greeting",
        NO_SUCH_REPLY,
    ),
    ("data/bdat_refused_at_the_command", MEMORY),
    ("data/refused_at_the_command", MEMORY),
    ("data/refused_at_the_end_with_421", BACKEND_CLOSES),
    ("helo/refused_with_421", NO_SUCH_REPLY),
    ("mail/long_refusal", NO_SUCH_REPLY),
    ("mail/refused_for_now", NO_SUCH_REPLY),
    ("mail/refused_with_421", NO_SUCH_REPLY),
    (
        "mail/size_of_the_transaction",
        "the limit at MAIL is what EHLO advertises; a route's is known at RCPT only",
    ),
    (
        "mail/size_without_limit",
        "messageSize is at least 1Ki: there always is a limit",
    ),
    (
        "mail/text_is_made_safe",
        "a policy refuses with a text of the gateway's own, which is safe",
    ),
    ("rcpt/address_literal", "no route takes an address literal"),
    ("rcpt/refused_with_421", BACKEND_CLOSES),
];
const NO_SUCH_REPLY: &str = "no policy says this at this stage";
const MEMORY: &str = "memory is asked for when octets come; the command itself is never refused";
const BACKEND_CLOSES: &str = "a backend's 421 ends its own connection; the client gets 451";

#[tokio::test]
async fn connection() {
    play_stage("connection").await;
}

#[tokio::test]
async fn helo() {
    play_stage("helo").await;
}

#[tokio::test]
async fn mail() {
    play_stage("mail").await;
}

#[tokio::test]
async fn rcpt() {
    play_stage("rcpt").await;
}

#[tokio::test]
async fn data() {
    play_stage("data").await;
}

#[tokio::test]
async fn tls() {
    play_stage("tls").await;
}

/// Each name in the list is that of a file which [`play_stage`] looks at.
#[test]
fn what_is_not_played_exists() {
    for (name, _) in NOT_PLAYED {
        let path = root().join(name).with_extension("smtp");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let dialogue = Dialogue::parse(&path, &text).unwrap();
        assert!(!dialogue.needs_driver(), "{name} needs the session itself");
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dialogues"))
}

async fn play_stage(stage: &str) {
    let mut dialogues =
        Dialogue::read_folder(&root().join(stage)).unwrap_or_else(|e| panic!("{e}"));
    dialogues.retain(|dialogue| !dialogue.needs_driver());
    let configured: Vec<_> = dialogues.iter().map(Configuration::of).collect();
    let gateway = Gateway::start(stage, configured.iter().flatten()).await;
    let mut failures = Vec::new();
    for (dialogue, configuration) in dialogues.iter().zip(configured) {
        let played = match configuration {
            Ok(configuration) => match gateway.play(dialogue, &configuration, usize::MAX).await {
                // Octets behind STARTTLS would become part of the handshake.
                Ok(()) if stage != "tls" => gateway
                    .play(dialogue, &configuration, PIECES)
                    .await
                    .map_err(|failure| format!("{failure} (in pieces of {PIECES})")),
                whole => whole,
            },
            Err(why) => Err(format!("{}: {why}", dialogue.path.display())),
        };
        let name = format!(
            "{stage}/{}",
            dialogue.path.file_stem().unwrap().to_string_lossy()
        );
        let listed = NOT_PLAYED.iter().any(|(listed, _)| *listed == name);
        match played {
            Ok(()) if listed => {
                failures.push(format!("{name} can be played: take it off NOT_PLAYED"));
            }
            Err(failure) if !listed => failures.push(failure),
            Ok(()) | Err(_) => {}
        }
    }
    assert!(
        failures.is_empty(),
        "{} failed:\n{}\n{}",
        failures.len(),
        failures.join("\n"),
        gateway.last_output()
    );
}
